"""Bilinear interpolation to a size: TensorFlow's, and one that XLA compiles for images of one known size.

TensorFlow's kernel takes one value after the other, and writes float32 that two more operations round and
cast. Compiled, rows and columns are mixed in integers, in vector instructions, and no float image lies
between: of the time for a 2048×1365 JPEG to 512×512, read and batched, a fifth is saved (6.2 ms of CPU time
an image to 4.9, on an EPYC with AVX-512); of 256×256 to 224×224 a twelfth. A call of what is compiled costs
0.1 ms, so below some 200×200 pixels nothing is saved; and compiling takes 0.05 s for each size, so sizes
that are rare stay with TensorFlow's kernel.
"""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

Size = tuple[int, int]  # height, width
Resize = Callable[[Any], Any]
_BITS = 11  # of a share of a pixel: two of them and a pixel's 8 fit into an int32
_ONE = 1 << _BITS
_LEAST_PIXELS = 200 * 200


def make_resize(size: Size, usual: Size | None = None, *, antialias: bool = False) -> Resize:
    """Returns a function from uint8 (h, w, channels) to uint8 (height, width, channels).

    Args:
        size: Height and width of what comes out.
        usual: Of most images that come in: of RGB, these take the compiled way, which never antialiases.
            None where no size is usual. Pixels of the two ways differ by 1 at most, where a value lies
            about half-way between two integers.
        antialias: Whether to widen the filter when shrinking. It takes up to four times as long, and gains
            little below a factor of two.
    """

    def resize(image: Any) -> Any:
        return tf.cast(tf.round(tf.image.resize(image, size, antialias=antialias)), tf.uint8)

    if antialias or usual is None or usual == size:
        return resize
    compiled = _compile(usual, size)
    if compiled is None:
        return resize
    shape = (*usual, 3)

    def choose(image: Any) -> Any:
        return tf.cond(
            tf.reduce_all(tf.shape(image) == tf.constant(shape)),
            lambda: compiled(tf.ensure_shape(image, shape)),
            lambda: resize(image),
        )

    return choose


def compiling_pays(size: Size) -> bool:
    """Returns whether images of this size are so large that what is compiled is faster."""
    return size[0] * size[1] >= _LEAST_PIXELS


@functools.cache
def _compile(source: Size, size: Size) -> Resize | None:
    """Returns the function from images of one size to another; None where XLA cannot compile it here."""
    (rows, columns), (height, width) = source, size
    above, below, down = _find_neighbours(rows, height)
    left, right, across = _find_neighbours(columns, width)

    def resize(image: Any) -> Any:
        lines = tf.reshape(image, (rows, 3 * columns))
        first, second = (tf.cast(tf.gather(lines, place), tf.int32) for place in (above, below))
        lines = _mix(first, second, down)
        if columns % width:
            pixels = tf.reshape(lines, (height, columns, 3))
            first, second = (tf.gather(pixels, place, axis=1) for place in (left, right))
        else:  # strides, which are faster than places one by one
            step = columns // width
            pixels = tf.reshape(lines, (height, width, step, 3))
            first, second = pixels[:, :, left[0]], pixels[:, :, min(right[0], step - 1)]
        mixed = _mix(first, second, across)
        return tf.cast(tf.bitwise.right_shift(mixed + _ONE * _ONE // 2, 2 * _BITS), tf.uint8)

    compiled: Resize = tf.function(resize, jit_compile=True, autograph=False)
    try:
        with tf.device("CPU:0"):
            compiled(tf.zeros((rows, columns, 3), tf.uint8))
    except tf.errors.OpError:
        return None
    return compiled


def _find_neighbours(
    source: int, size: int
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Returns between which two places each new one lies, and how far from the first: a column, 0 to `_ONE`.

    Centres lie on centres, as `tf.image.resize` has them.
    """
    places = (np.arange(size) + 0.5) * source / size - 0.5
    first = np.floor(places)
    neighbours = [np.clip(first + step, 0, source - 1).astype(np.int32) for step in (0, 1)]
    shares = np.rint((places - first) * _ONE).astype(np.int32)
    return neighbours[0], neighbours[1], shares[:, np.newaxis]


def _mix(first: Any, second: Any, share: npt.NDArray[np.int32]) -> Any:
    """Returns the weighted sum, `_ONE` times as large."""
    return first * (_ONE - share) + second * share
