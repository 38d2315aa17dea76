"""Augmentations: each takes one image and a seed, and gives the same result for the same seed everywhere.

The image is uint8, (height, width, channels), going in and coming out, of static shape; the seed is int64,
(2,). Names for them are in `tpuens.data.augment`.
"""

from typing import Any

import tensorflow as tf


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


def shift(image: Any, seed: Any) -> Any:
    """Returns the image moved by up to 10 % of its height and width; what comes in mirrors the edge."""
    height, width, _ = image.shape
    rows, columns = round(height * 0.1), round(width * 0.1)
    padded = tf.pad(image, [[rows, rows], [columns, columns], [0, 0]], mode="REFLECT")
    return tf.image.stateless_random_crop(padded, image.shape, seed)
