"""Where decoded images are kept."""

from pathlib import Path
from typing import Literal

from .decode import make_reader
from .disk import remember_on_disk
from .examples import ArrayImages, Examples
from .memory import CachingReader, remember

Cache = Literal["none", "memory", "disk"]


def open_reader(
    examples: Examples,
    image_shape: tuple[int, int, int],
    cache: Cache,
    *,
    folder: Path | None = None,
    most_bytes: int | None = None,
) -> CachingReader:
    """Returns what reads the examples' images, with the memory that is asked for.

    Images that lie in memory in the wanted shape are kept nowhere else.

    Args:
        examples: What to read.
        image_shape: Of every image, as read.
        cache: Where to keep what was read.
        folder: Of a cache on disk; None for the user's cache folder.
        most_bytes: Of pixels to keep in memory; None: of every image.

    Raises:
        DataError: The cache on disk cannot be written or has no room.
    """
    images = examples.images
    read = make_reader(images, image_shape)
    ready = isinstance(images, ArrayImages) and images.pixels.shape[1:] == image_shape
    if cache == "memory" and not ready:
        return remember(read, image_shape, most_bytes)
    if cache == "disk" and not ready:
        return remember_on_disk(read, examples, image_shape, folder)
    return CachingReader(read=read, count_bytes=lambda: 0)
