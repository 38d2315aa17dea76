"""Decoded images kept on disk, so that each is read and decoded once, by whichever run comes first.

A file an image, its raw pixels, in a folder for one shape and one reader. TensorFlow reads it by itself,
without Python's lock. Python writes it under another name first, so that a run that is killed, or one beside
this one, leaves whole files or none.
"""

import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from ..errors import DataError
from .decode import READER_VERSION
from .examples import Examples
from .memory import CachingReader
from .photographs import cache_folder

_REMEDY = (
    "free some space, set TPUENS_CACHE_DIR to a folder with more, or keep decoded images in memory or not at "
    "all (cache: memory, none)"
)


def remember_on_disk(
    read: Callable[[Any], Any],
    examples: Examples,
    image_shape: tuple[int, int, int],
    folder: Path | None = None,
) -> CachingReader:
    """Returns the reader with a memory on disk, in which an image is looked for first.

    An image is known by its file's path, size and time, or by its content where it lies in memory, so that
    folds and parts of a data set share what they have in common, and a file that has changed is read anew.

    Args:
        read: From an image's index to its pixels.
        examples: What it reads.
        image_shape: Of every image, as read.
        folder: Where to keep them; None for the user's cache folder.

    Raises:
        DataError: The folder cannot be written, or the disk has no room for what is still missing.
    """
    version = f"reader-{READER_VERSION}-tensorflow-{tf.__version__}"
    shape = "x".join(map(str, image_shape))
    folder = (folder or cache_folder() / "images") / f"{examples.dataset}-{shape}-{version}"
    names = np.array(examples.image_versions(), dtype=np.str_)
    size = int(np.prod(image_shape))
    whole = _open_folder(folder, names, size)
    with tf.device("CPU:0"):
        paths = tf.constant([os.fsencode(folder / name) for name in names])
        known = tf.lookup.experimental.MutableHashTable(
            tf.int64, tf.int64, default_value=0, experimental_is_anonymous=True
        )
        known.insert(tf.constant(np.flatnonzero(whole)), tf.ones(int(whole.sum()), tf.int64))

    def read_once(index: Any) -> Any:
        def read_and_keep() -> Any:
            image = read(index)
            kept = tf.numpy_function(_keep, [paths[index], image], tf.int64)
            kept.set_shape(())
            with tf.control_dependencies([known.insert(index, kept)]):
                return tf.identity(image)

        def read_kept() -> Any:
            return tf.reshape(tf.io.decode_raw(tf.io.read_file(paths[index]), tf.uint8), image_shape)

        return tf.ensure_shape(tf.cond(known.lookup(index) > 0, read_kept, read_and_keep), image_shape)

    def count_bytes() -> int:
        return len(np.unique(names[_find_whole(folder, names, size)])) * size

    return CachingReader(read=read_once, count_bytes=count_bytes)


def _find_whole(folder: Path, names: npt.NDArray[np.str_], size: int) -> npt.NDArray[np.bool_]:
    """Returns which images lie in the folder with all of their bytes, (n,)."""
    wanted = set(names.tolist())  # what another run is still writing has another name, and may be gone by now
    with os.scandir(folder) as entries:
        found = [entry.name for entry in entries if entry.name in wanted and entry.stat().st_size == size]
    return np.isin(names, found)


def _open_folder(folder: Path, names: npt.NDArray[np.str_], size: int) -> npt.NDArray[np.bool_]:
    """Returns which images lie in the folder, (n,), once it is there and there is room for the others."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        whole = _find_whole(folder, names, size)
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise _refusal(error) from error
    missing = len(np.unique(names[~whole])) * size
    if missing > free:
        raise DataError(
            f"The cache of decoded images must fit on its disk: {_REMEDY}. "
            f"Received: {missing / 1e9:.1f} GB to be written, {free / 1e9:.1f} GB free"
        )
    return whole


def _keep(path: bytes, image: npt.NDArray[np.uint8]) -> np.int64:
    """Writes an image's pixels; returns 1."""
    target = Path(os.fsdecode(path))
    part = target.with_name(f"{target.name}.{os.getpid()}-{threading.get_ident()}.part")
    try:
        part.write_bytes(image.data)
        part.replace(target)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise _refusal(error) from error
    return np.int64(1)


def _refusal(error: OSError) -> DataError:
    return DataError(
        f"The cache of decoded images must be writable: {_REMEDY}. Received: {os.strerror(error.errno or 0)}"
    )
