"""From an encoded image, or one in memory, to uint8 pixels of the wanted shape; which ones are corrupt."""

import os
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import tensorflow as tf

from ..errors import DataError
from .examples import ArrayImages, EncodedImages, Examples, FileImages, Images
from .resize import Resize, Size, compiling_pays, make_resize
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
_RATIOS = (1, 2, 4, 8)  # by which libjpeg scales down while it decodes
_SAMPLE = 16  # images that are asked for their size
READER_VERSION = (
    2  # to be raised with every change of the pixels that `make_reader` gives: a disk may hold them
)


def decode_image(contents: Any, image_shape: ImageShape, resize: Resize | None = None) -> Any:
    """Returns an encoded image as pixels of the wanted shape; its proportions are not kept.

    A JPEG is shrunk as far as possible while it is decoded (libjpeg scales by 1/2, 1/4 or 1/8 in the
    frequency domain, at a fraction of the cost), then to size by bilinear interpolation. Any other format is
    decoded whole, and shrunk with a filter as wide as the shrinking asks for. What counts is the content:
    the file's name may say another format. Of an animation the first frame is taken; transparency and
    the camera's orientation (EXIF) are not heeded.

    Args:
        contents: Scalar string tensor: a JPEG, PNG, GIF or BMP file.
        image_shape: What to return.
        resize: Of what `make_resize` gives for this height and width, the one for JPEGs.

    Returns:
        uint8, (height, width, channels).

    Raises:
        tf.errors.InvalidArgumentError: When run, on an image that is truncated or no image.
    """
    resize = resize or make_resize(image_shape[:2])
    return tf.cond(
        tf.io.is_jpeg(contents),
        lambda: fit_image(decode_jpeg(contents, image_shape), image_shape, resize),
        lambda: fit_image(tf.io.decode_image(contents, expand_animations=False), image_shape),
    )


def decode_jpeg(contents: Any, image_shape: ImageShape) -> Any:
    """Returns a JPEG in colour, scaled down by 1, 2, 4 or 8 but never below the wanted height or width."""
    choice, _ = _choose_ratio(contents, image_shape)

    def decode(ratio: int) -> Callable[[], Any]:
        return lambda: tf.image.decode_jpeg(contents, channels=3, ratio=ratio, dct_method="INTEGER_ACCURATE")

    return tf.switch_case(choice, [decode(ratio) for ratio in _RATIOS])


def _choose_ratio(contents: Any, image_shape: ImageShape) -> tuple[Any, Any]:
    """Returns the place in `_RATIOS` by which to scale a JPEG down, and the height and width it then has."""
    size = tf.image.extract_jpeg_shape(contents)[:2]
    scaled = -(-size // tf.constant(_RATIOS)[:, tf.newaxis])  # libjpeg rounds up
    large_enough = tf.reduce_all(scaled >= tf.constant(image_shape[:2]), axis=1)
    # An image that is too small as it is has no ratio that fits: it is decoded whole.
    choice = tf.maximum(tf.reduce_sum(tf.cast(large_enough, tf.int32)) - 1, 0)
    return choice, scaled[choice]


def fit_image(image: Any, image_shape: ImageShape, resize: Resize | None = None) -> Any:
    """Returns an image with the wanted size, by bilinear interpolation, and the wanted channels.

    Args:
        image: uint8, (height, width, channels): grey or RGB, with or without alpha.
        image_shape: What to return.
        resize: To this height and width, of what `make_resize` gives; None for one that antialiases.

    Returns:
        uint8, (height, width, channels).
    """
    height, width, channels = image_shape
    if image.shape[-1] != channels:
        image = _to_colour(image)
    if image.shape[:2] != (height, width):
        resize = resize or make_resize((height, width), antialias=True)
        image = resize(image)
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
            return lambda index: fit_image(pixels[index], image_shape)
        read = _make_file_reader(images)
        size = image_shape[:2]
        usual = _find_usual_size(read, len(images), image_shape) if compiling_pays(size) else None
        resize = make_resize(size, usual)
        return lambda index: decode_image(read(index), image_shape, resize)


def _make_file_reader(images: EncodedImages | FileImages) -> Callable[[Any], Any]:
    """Returns a function from an image's index to its file's contents."""
    if isinstance(images, EncodedImages):
        contents = tf.constant(images.contents, dtype=tf.string)
        return lambda index: contents[index]
    paths = tf.constant([os.fsencode(path) for path in images.paths])
    return lambda index: tf.io.read_file(paths[index])


def _find_usual_size(read: Callable[[Any], Any], count: int, image_shape: ImageShape) -> Size | None:
    """Returns the size that most images have once decoded, by a few of them; None where none prevails."""

    def find_size(index: Any) -> Any:
        return _choose_ratio(read(index), image_shape)[1]

    sample = np.unique(np.linspace(0, count - 1, _SAMPLE).astype(np.int64))
    sizes = tf.data.Dataset.from_tensor_slices(sample).map(
        tf.autograph.experimental.do_not_convert(find_size), num_parallel_calls=len(sample)
    )
    # What is no JPEG, or cannot be read, has no say.
    found = Counter(tuple(map(int, size)) for size in untuned(sizes.ignore_errors()).as_numpy_iterator())
    size, votes = found.most_common(1)[0] if found else ((0, 0), 0)
    return (size[0], size[1]) if 2 * votes > len(sample) else None


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
