"""Decoded images kept in memory, so that each is read and decoded once."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf


def remember(read: Callable[[Any], Any], image_shape: tuple[int, int, int]) -> Callable[[Any], Any]:
    """Returns the reader with a memory, in which an image is looked for by its index first.

    tf.data's own cache stores images in the order of the first epoch, and whole epochs only; one that is
    addressed by index can be filled while training goes on and read in any order. An anonymous table is
    freed with the last that uses it; one with a name would outlive its pipeline.
    """
    with tf.device("CPU:0"):
        memory = tf.lookup.experimental.MutableHashTable(
            tf.int64, tf.string, default_value="", experimental_is_anonymous=True
        )

    def read_once(index: Any) -> Any:
        def read_and_keep() -> Any:
            image = read(index)
            with tf.control_dependencies([memory.insert(index, tf.io.serialize_tensor(image))]):
                return tf.identity(image)

        kept = memory.lookup(index)
        image = tf.cond(kept == "", read_and_keep, lambda: tf.io.parse_tensor(kept, tf.uint8))
        return tf.ensure_shape(image, image_shape)

    return read_once
