"""Decoded images kept in memory, so that each is read and decoded once."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import tensorflow as tf


@dataclass(frozen=True, kw_only=True)
class CachingReader:
    """A reader with a memory.

    Attributes:
        read: From an image's index, scalar int64, to its pixels, uint8, for use in tf.data.
        count_bytes: Returns how many bytes of pixels are kept by now.
    """

    read: Callable[[Any], Any]
    count_bytes: Callable[[], int]


def remember(
    read: Callable[[Any], Any], image_shape: tuple[int, int, int], most_bytes: int | None = None
) -> CachingReader:
    """Returns the reader with a memory, in which an image is looked for by its index first.

    A memory that is full takes no more, but for the images that are being read at that moment, and keeps what
    it has. To drop the oldest image for the newest would drop each one, in every epoch over a few more images
    than there is room for, before it is asked for again.

    tf.data's own cache stores images in the order of the first epoch, and whole epochs only; one that is
    addressed by index can be filled while training goes on and read in any order. An anonymous table is
    freed with the last that uses it; one with a name would outlive its pipeline.

    Args:
        read: From an image's index to its pixels.
        image_shape: Of all of them.
        most_bytes: Of pixels to keep; None: of every image.
    """
    room = None if most_bytes is None else most_bytes // math.prod(image_shape)
    with tf.device("CPU:0"):
        memory = tf.lookup.experimental.MutableHashTable(
            tf.int64, tf.string, default_value="", experimental_is_anonymous=True
        )

    def keep(index: Any, image: Any) -> Any:
        with tf.control_dependencies([memory.insert(index, tf.io.serialize_tensor(image))]):
            return tf.identity(image)

    def read_once(index: Any) -> Any:
        def read_and_keep() -> Any:
            image = read(index)
            if room is None:
                return keep(index, image)
            return tf.cond(memory.size() < room, lambda: keep(index, image), lambda: image)

        kept = memory.lookup(index)
        image = tf.cond(kept == "", read_and_keep, lambda: tf.io.parse_tensor(kept, tf.uint8))
        return tf.ensure_shape(image, image_shape)

    return CachingReader(read=read_once, count_bytes=lambda: int(memory.size()) * math.prod(image_shape))
