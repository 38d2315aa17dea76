"""What is done to one image: augmentations, the same for the same seed everywhere, and test-time views.

The image is uint8, (height, width, 1 or 3), going in and coming out, of static shape; an augmentation's seed
is int64, (2,). Names for them are in `tpuens.data.augment`. Strengths are mild, since what decides a label (a
spot on a leaf, the colour of a petal) must still be in the picture.

Images are augmented one by one, on all cores. Written over whole batches, the same was up to 1.5 times as
fast at 32×32, no faster at 64×64, and took 1.3 to 1.9 times as long at 224×224, where a batch of floats no
longer fits the caches.
"""

import math
from typing import Any

import tensorflow as tf

MID_GREY = 128


# --- Augmentations ------------------------------------------------------------------------------------------


def flip_horizontal(image: Any, seed: Any) -> Any:
    """Returns the image, mirrored left to right with probability 1/2."""
    return tf.image.stateless_random_flip_left_right(image, seed)


def flip_vertical(image: Any, seed: Any) -> Any:
    """Returns the image, mirrored top to bottom with probability 1/2."""
    return tf.image.stateless_random_flip_up_down(image, seed)


def brightness(image: Any, seed: Any) -> Any:
    """Returns the image with up to 10 % of the full range added or taken away, cut off at black and white."""
    return tf.image.stateless_random_brightness(image, 0.1, seed)


def contrast(image: Any, seed: Any) -> Any:
    """Returns the image with its distance from its mean multiplied by a factor in 0.8..1.2."""
    return tf.image.stateless_random_contrast(image, 0.8, 1.2, seed)


def saturation(image: Any, seed: Any) -> Any:
    """Returns the image with its saturation multiplied by a factor in 0.7..1.3; a grey image has none."""
    return image if image.shape[-1] == 1 else tf.image.stateless_random_saturation(image, 0.7, 1.3, seed)


def hue(image: Any, seed: Any) -> Any:
    """Returns the image with its hue turned by up to 1/50 of the colour circle, 7°; a grey image has none.

    Enough for the white balance of another camera; at 18° the petals of a dandelion are orange.
    """
    return image if image.shape[-1] == 1 else tf.image.stateless_random_hue(image, 0.02, seed)


def shift(image: Any, seed: Any) -> Any:
    """Returns the image moved by up to 10 % of its height and width; what comes in mirrors the edge."""
    height, width, _ = image.shape
    rows, columns = round(height * 0.1), round(width * 0.1)
    padded = tf.pad(image, [[rows, rows], [columns, columns], [0, 0]], mode="REFLECT")
    return tf.image.stateless_random_crop(padded, image.shape, seed)


def rotation(image: Any, seed: Any) -> Any:
    """Returns the image turned about its centre by up to 15° either way; what comes in mirrors the edge."""
    (turn,) = _draw(seed, 1)
    return rotate(image, (2 * turn - 1) * math.radians(15))


def zoom(image: Any, seed: Any) -> Any:
    """Returns the image at 0.9..1.1 times its size about its centre; what comes in mirrors the edge."""
    (size,) = _draw(seed, 1)
    return scale(image, 0.9 + 0.2 * size)


def random_resized_crop(image: Any, seed: Any) -> Any:
    """Returns a part of the image stretched to the whole: area 1/2..1, proportions changed by 3/4..4/3.

    Szegedy et al. 2015 (Going deeper with convolutions, section 6) draw areas from 0.08 on, for the 1.2
    million images of ImageNet. Of a few thousand images, seen a few times, so small a part would often miss
    what decides the label; half the area keeps most of the subject, and their range of proportions.

    The part is cut from the image at its final size. To decode that part of the file alone would save about
    15 % of the time of reading (2048×1365 to 224×224 and 512×512, three quarters of the area), but an epoch
    out of the cache would then see other pixels than one from files.
    """
    height, width, _ = image.shape
    area, proportions, top, left = _draw(seed, 4)
    area, proportions = 0.5 + 0.5 * area, (4 / 3) ** (2 * proportions - 1)
    part_height = tf.cast(tf.round(height * tf.minimum(tf.sqrt(area / proportions), 1)), tf.int32)
    part_width = tf.cast(tf.round(width * tf.minimum(tf.sqrt(area * proportions), 1)), tf.int32)
    start = [_pixel(top, height - part_height + 1), _pixel(left, width - part_width + 1), 0]
    part = tf.slice(image, start, [part_height, part_width, -1])
    return _as_pixels(tf.image.resize(part, (height, width)), image)


def cutout(image: Any, seed: Any) -> Any:
    """Returns the image with a mid-grey square of half its shorter side, centred anywhere on it.

    DeVries & Taylor 2017 (Improved regularization of convolutional neural networks with cutout): part of the
    square may lie outside, so that some images stay mostly whole; 16 of 32 pixels is their size for CIFAR-10.
    Their fill is the data set's mean.
    """
    height, width, _ = image.shape
    side = min(height, width) // 2
    row, column = _draw(seed, 2)
    rows = within_span(_pixel(row, height), side, height)
    columns = within_span(_pixel(column, width), side, width)
    hole = rows[:, tf.newaxis, tf.newaxis] & columns[tf.newaxis, :, tf.newaxis]
    return tf.where(hole, tf.constant(MID_GREY, tf.uint8), image)


# --- Views --------------------------------------------------------------------------------------------------


def unchanged(image: Any) -> Any:
    """Returns the image."""
    return image


def mirror_columns(image: Any) -> Any:
    """Returns the image with left and right swapped."""
    return tf.reverse(image, axis=[1])


def mirror_rows(image: Any) -> Any:
    """Returns the image with top and bottom swapped."""
    return tf.reverse(image, axis=[0])


def mirror_both(image: Any) -> Any:
    """Returns the image turned by half a circle."""
    return tf.reverse(image, axis=[0, 1])


# --- What they are made of ----------------------------------------------------------------------------------


def rotate(image: Any, radians: Any) -> Any:
    """Returns the image turned anticlockwise about its centre, of the same shape; bilinear, edge mirrored."""
    cos, sin = tf.cos(radians), tf.sin(radians)
    return _warp(image, cos, -sin, sin, cos)


def scale(image: Any, factor: Any) -> Any:
    """Returns the image enlarged by a factor about its centre, of the same shape; bilinear, edge mirrored."""
    inverse = tf.cast(1 / factor, tf.float32)
    return _warp(image, inverse, 0.0, 0.0, inverse)


def within_span(centre: Any, length: Any, size: int) -> Any:
    """Returns which of `size` positions lie in a span of a length round a centre, cut off at both ends.

    Args:
        centre: int32, any shape: the position in the middle, or the later of two.
        length: int32, of a shape that fits: how many positions the span has before it is cut off.
        size: How many positions there are.

    Returns:
        bool, (..., size).
    """
    start = centre - length // 2
    positions = tf.range(size)
    return (positions >= start[..., tf.newaxis]) & (positions < (start + length)[..., tf.newaxis])


def _draw(seed: Any, count: int) -> list[Any]:
    """Returns `count` uniform numbers, each a float32 scalar in 0..1, without 1."""
    drawn: list[Any] = tf.unstack(tf.random.stateless_uniform((count,), seed))
    return drawn


def _pixel(share: Any, size: Any) -> Any:
    """Returns a share in 0..1 as one of `size` positions, int32."""
    return tf.cast(share * tf.cast(size, tf.float32), tf.int32)


def _warp(image: Any, a: Any, b: Any, c: Any, d: Any) -> Any:
    """Returns the image whose pixel (x, y) from the centre is the given one's (ax + by, cx + dy)."""
    height, width, _ = image.shape
    x, y = (width - 1) / 2, (height - 1) / 2
    warped = tf.raw_ops.ImageProjectiveTransformV3(
        images=tf.cast(image, tf.float32)[tf.newaxis],
        transforms=[[a, b, x - a * x - b * y, c, d, y - c * x - d * y, 0.0, 0.0]],
        output_shape=(height, width),
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="REFLECT",
    )
    return _as_pixels(warped[0], image)


def _as_pixels(values: Any, image: Any) -> Any:
    """Returns float values in 0..255 as uint8 of the image's static shape."""
    return tf.ensure_shape(tf.cast(tf.round(values), tf.uint8), image.shape)
