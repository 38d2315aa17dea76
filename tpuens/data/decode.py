"""From an encoded image, or one in memory, to uint8 pixels of the wanted shape; which ones are corrupt."""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import tensorflow as tf

from ..errors import DataError
from .examples import ArrayImages, EncodedImages, Examples, Images
from .streams import count_parallel_calls, untuned

_READ_ERRORS = (
    tf.errors.InvalidArgumentError,
    tf.errors.NotFoundError,
    tf.errors.DataLossError,
    tf.errors.FailedPreconditionError,
    tf.errors.PermissionDeniedError,
    tf.errors.UnknownError,
)

ImageShape = tuple[int, int, int]  # height, width, channels (1: grey, 3: RGB)
READER_VERSION = (
    1  # to be raised with every change of the pixels that `make_reader` gives: a disk may hold them
)


def decode_image(contents: Any, image_shape: ImageShape) -> Any:
    """Returns an encoded image as pixels of the wanted shape; its proportions are not kept.

    A JPEG is shrunk as far as possible while it is decoded (libjpeg scales by 1/2, 1/4 or 1/8 in the
    frequency domain, at a fraction of the cost), then to size by bilinear interpolation. Any other format is
    decoded whole, and shrunk with a filter as wide as the shrinking asks for. What counts is the content:
    the file's name may say another format. Of an animation the first frame is taken; transparency and
    the camera's orientation (EXIF) are not heeded.

    Args:
        contents: Scalar string tensor: a JPEG, PNG, GIF or BMP file.
        image_shape: What to return.

    Returns:
        uint8, (height, width, channels).

    Raises:
        tf.errors.InvalidArgumentError: When run, on an image that is truncated or no image.
    """
    return tf.cond(
        tf.io.is_jpeg(contents),
        lambda: fit_image(decode_jpeg(contents, image_shape), image_shape, antialias=False),
        lambda: fit_image(tf.io.decode_image(contents, expand_animations=False), image_shape, antialias=True),
    )


def decode_jpeg(contents: Any, image_shape: ImageShape) -> Any:
    """Returns a JPEG in colour, scaled down by 1, 2, 4 or 8 but never below the wanted height or width."""
    ratios = (1, 2, 4, 8)
    size = tf.image.extract_jpeg_shape(contents)[:2]
    scaled = -(-size // tf.constant(ratios)[:, tf.newaxis])  # libjpeg rounds up
    large_enough = tf.reduce_all(scaled >= tf.constant(image_shape[:2]), axis=1)
    # An image that is too small as it is has no ratio that fits: it is decoded whole.
    choice = tf.maximum(tf.reduce_sum(tf.cast(large_enough, tf.int32)) - 1, 0)

    def decode(ratio: int) -> Callable[[], Any]:
        return lambda: tf.image.decode_jpeg(contents, channels=3, ratio=ratio, dct_method="INTEGER_ACCURATE")

    return tf.switch_case(choice, [decode(ratio) for ratio in ratios])


def fit_image(image: Any, image_shape: ImageShape, *, antialias: bool) -> Any:
    """Returns an image with the wanted size, by bilinear interpolation, and the wanted channels.

    Args:
        image: uint8, (height, width, channels): grey or RGB, with or without alpha.
        image_shape: What to return.
        antialias: Whether to widen the filter when shrinking. It takes up to four times as long, and
            gains little below a factor of two.

    Returns:
        uint8, (height, width, channels).
    """
    height, width, channels = image_shape
    if image.shape[-1] != channels:
        image = _to_colour(image)
    if image.shape[:2] != (height, width):
        resized = tf.image.resize(image, (height, width), antialias=antialias)
        image = tf.cast(tf.round(resized), tf.uint8)
    if image.shape[-1] != channels:
        image = tf.image.rgb_to_grayscale(image)
    return tf.ensure_shape(image, image_shape)


def _to_colour(image: Any) -> Any:
    """Returns an image of 1 to 4 channels as RGB; the second and the fourth are alpha."""
    colours = image[..., : tf.where(tf.shape(image)[-1] < 3, 1, 3)]
    colour_image = tf.broadcast_to(colours, tf.concat([tf.shape(image)[:2], [3]], axis=0))
    return tf.ensure_shape(colour_image, (*image.shape[:2], 3))


def make_reader(images: Images, image_shape: ImageShape) -> Callable[[Any], Any]:
    """Returns a function from an image's index (scalar int64 tensor) to its pixels, for use in tf.data.

    What lies in memory stays in the host's; a path may be a URL that `tf.io.read_file` reads.
    """
    with tf.device("CPU:0"):
        if isinstance(images, ArrayImages):
            pixels = tf.constant(images.pixels)
            return lambda index: fit_image(pixels[index], image_shape, antialias=True)
        if isinstance(images, EncodedImages):
            contents = tf.constant(images.contents, dtype=tf.string)
            return lambda index: decode_image(contents[index], image_shape)
        paths = tf.constant([os.fsencode(path) for path in images.paths])
        return lambda index: decode_image(tf.io.read_file(paths[index]), image_shape)


def find_corrupt(examples: Examples) -> list[str]:
    """Returns the ids of the examples whose image is missing or cannot be decoded, by decoding every one."""
    if isinstance(examples.images, ArrayImages):
        return []
    read = make_reader(examples.images, (32, 32, 3))

    def decode(index: Any) -> tuple[Any, Any]:
        return index, read(index)[0, 0, 0]  # without a pixel of it, the image would be optimised away

    readable = np.zeros(len(examples), dtype=bool)
    indices = tf.data.Dataset.range(len(examples))
    decoded = indices.map(
        tf.autograph.experimental.do_not_convert(decode),
        num_parallel_calls=count_parallel_calls(),
        deterministic=False,
    )
    for index, _ in untuned(decoded.ignore_errors()).as_numpy_iterator():
        readable[index] = True
    return [str(name) for name in examples.ids[~readable]]


def drop_corrupt(examples: Examples) -> tuple[Examples, list[str]]:
    """Returns the examples whose images can be decoded, and the ids of the others.

    Raises:
        DataError: No image can be decoded.
    """
    corrupt = find_corrupt(examples)
    if corrupt and len(corrupt) == len(examples):
        raise DataError(
            f"No image of {examples.dataset!r} can be decoded: JPEG, PNG, GIF and BMP files are read. "
            f"Received: {len(corrupt)} images, the first of them {corrupt[0]}"
        )
    return examples.subset(np.flatnonzero(~np.isin(examples.ids, corrupt))), corrupt


@contextmanager
def name_corrupt_images(examples: Examples) -> Iterator[None]:
    """Turns TensorFlow's error over an image that cannot be read into one that names every such image.

    Wrap it round whatever consumes a pipeline. When an error comes that an image may have caused, all images
    are decoded once more to find the corrupt ones; if there are none, the error passes unchanged.

    Raises:
        DataError: Images are corrupt or missing, or a cache on disk could not be written.
    """
    try:
        yield
    except _READ_ERRORS as error:
        ours = re.search(r"DataError: (.+)", error.message)  # of Python that TensorFlow called
        if ours:
            raise DataError(ours[1]) from error
        corrupt = find_corrupt(examples)
        if not corrupt:
            raise
        shown = ", ".join(corrupt[:10]) + (f" and {len(corrupt) - 10} more" if len(corrupt) > 10 else "")
        raise DataError(
            "Every image must be a whole JPEG, PNG, GIF or BMP file: mend or remove those that are not, or "
            "leave them out (`tpuens train --data`: --on-corrupt skip). "
            f"Received: dataset={examples.dataset!r}, {len(corrupt)} of {len(examples)} images corrupt or "
            f"missing: {shown}"
        ) from error
