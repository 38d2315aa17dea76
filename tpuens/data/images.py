"""Where pixels come from: arrays, files of their own, or files that were read into memory."""

import functools
import hashlib
import io
import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import IO, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from ..errors import DataError
from .remote import RemotePath, is_remote

Indices: TypeAlias = Sequence[int] | npt.NDArray[np.integer]
_READS_AT_A_TIME = 16  # of small files: a disk answers several as fast as one, a bucket many


@dataclass(frozen=True, kw_only=True, eq=False)
class ArrayImages:
    """Images that lie in memory, all of one shape.

    Attributes:
        pixels: uint8, (n, height, width, channels); 1 channel is grey, 3 are RGB.
    """

    pixels: npt.NDArray[np.uint8]

    def __post_init__(self) -> None:
        if self.pixels.dtype != np.uint8 or self.pixels.ndim != 4 or self.pixels.shape[-1] not in (1, 3):
            raise DataError(
                "Images in memory must be uint8 of shape (n, height, width, 1 or 3). "
                f"Received: {self.pixels.dtype} of shape {self.pixels.shape}"
            )

    def __len__(self) -> int:
        return len(self.pixels)

    def subset(self, indices: Indices) -> "ArrayImages":
        """Returns the images at these positions, in this order."""
        return ArrayImages(pixels=self.pixels[np.asarray(indices)])

    def shape(self, index: int) -> tuple[int, int, int]:
        """Returns the height, width and channels of one image."""
        height, width, channels = self.pixels.shape[1:]
        return height, width, channels

    def read(self, index: int) -> npt.NDArray[np.uint8]:
        """Returns one image: uint8, (height, width, channels)."""
        image: npt.NDArray[np.uint8] = self.pixels[index]
        return image

    def fingerprint_parts(self) -> Iterator[bytes]:
        """Yields what tells these images from others: their shape and every pixel."""
        yield json.dumps(self.pixels.shape).encode()
        yield np.ascontiguousarray(self.pixels).tobytes()

    def versions(self) -> list[str]:
        """Returns 32 hex digits for each image, that of its pixels."""
        return [digest.hex() for digest in self.content_digests()]

    def content_digests(self) -> list[bytes]:
        """Returns 16 bytes for each image, equal where all pixels are."""
        return [_digest(np.ascontiguousarray(image).data) for image in self.pixels]


@dataclass(frozen=True, kw_only=True, eq=False)
class FileImages:
    """Images in files of their own: JPEG, PNG, GIF or BMP, of any size.

    Attributes:
        paths: Absolute, or URLs. Messages and fingerprints name an image by its example's id instead.
    """

    paths: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.paths)

    def subset(self, indices: Indices) -> "FileImages":
        """Returns the images at these positions, in this order."""
        return FileImages(paths=tuple(self.paths[index] for index in indices))

    def shape(self, index: int) -> tuple[int, int, int]:
        """Returns the height, width and channels of one image, from its file's header.

        Raises:
            OSError: The file is missing or is no image.
        """
        return _read_shape(_source(self.paths[index]))

    def read(self, index: int) -> npt.NDArray[np.uint8]:
        """Returns one image in colour: uint8, (height, width, 3).

        Raises:
            OSError: The file is missing or cannot be decoded.
        """
        return _read_pixels(_source(self.paths[index]))

    def fingerprint_parts(self) -> Iterator[bytes]:
        """Yields what tells these images from others at little cost: the size of every file.

        Raises:
            OSError: A file is missing.
        """
        with ThreadPoolExecutor(_READS_AT_A_TIME) as pool:
            # On a local disk the answers come faster than threads can pass them on.
            remote = any(map(is_remote, self.paths[:1]))
            for size in (pool.map if remote else map)(_file_size, self.paths):
                yield f"{size}\n".encode()

    def versions(self) -> list[str]:
        """Returns 32 hex digits for each image, that of its file's path, size and, on a disk, time.

        Raises:
            OSError: A file is missing.
        """
        with ThreadPoolExecutor(_READS_AT_A_TIME) as pool:
            remote = any(map(is_remote, self.paths[:1]))
            known = (pool.map if remote else map)(_file_version, self.paths)
            return [
                _digest(f"{path}\n{version}".encode()).hex()
                for path, version in zip(self.paths, known, strict=True)
            ]

    def content_digests(self) -> list[bytes]:
        """Returns 16 bytes for each image, equal where the files are; every file is read, once in a process.

        Raises:
            OSError: A file is missing.
        """
        with ThreadPoolExecutor(_READS_AT_A_TIME) as pool:
            return list(pool.map(_digest_file, self.paths))


@dataclass(frozen=True, kw_only=True, eq=False)
class EncodedImages:
    """Image files that were read into memory, such as those in TFRecords: JPEG, PNG, GIF or BMP, of any size.

    Attributes:
        contents: (n,) objects, each the bytes of one file.
    """

    contents: npt.NDArray[np.object_]

    def __post_init__(self) -> None:
        if self.contents.dtype != object or self.contents.ndim != 1:
            raise DataError(
                "Encoded images must be an array of objects, (n,), each the bytes of one file. "
                f"Received: {self.contents.dtype} of shape {self.contents.shape}"
            )

    def __len__(self) -> int:
        return len(self.contents)

    def subset(self, indices: Indices) -> "EncodedImages":
        """Returns the images at these positions, in this order; their bytes are shared, not copied."""
        return EncodedImages(contents=self.contents[np.asarray(indices)])

    def shape(self, index: int) -> tuple[int, int, int]:
        """Returns the height, width and channels of one image, from its header.

        Raises:
            OSError: It is no image.
        """
        return _read_shape(io.BytesIO(self.contents[index]))

    def read(self, index: int) -> npt.NDArray[np.uint8]:
        """Returns one image in colour: uint8, (height, width, 3).

        Raises:
            OSError: It cannot be decoded.
        """
        return _read_pixels(io.BytesIO(self.contents[index]))

    def fingerprint_parts(self) -> Iterator[bytes]:
        """Yields what tells these images from others: the length of each, and every byte."""
        for content in self.contents:
            yield f"{len(content)}\n".encode()
            yield content

    def versions(self) -> list[str]:
        """Returns 32 hex digits for each image, that of its bytes."""
        return [digest.hex() for digest in self.content_digests()]

    def content_digests(self) -> list[bytes]:
        """Returns 16 bytes for each image, equal where all of its bytes are."""
        return [_digest(content) for content in self.contents]


def _source(path: str) -> str | IO[bytes]:
    """Returns what Pillow can open: a local path, or the content of a file on a bucket."""
    return RemotePath(path).open() if is_remote(path) else path


def _read_shape(source: str | IO[bytes]) -> tuple[int, int, int]:
    from PIL import Image

    with Image.open(source) as image:
        return image.height, image.width, len(image.getbands())


def _read_pixels(source: str | IO[bytes]) -> npt.NDArray[np.uint8]:
    from PIL import Image

    with Image.open(source) as image:
        return np.asarray(image.convert("RGB"))


def _file_size(path: str) -> int:
    if is_remote(path):
        return RemotePath(path).stat().st_size
    return os.stat(path).st_size  # noqa: PTH116 - three times as fast, and there are many


def _file_version(path: str) -> tuple[int, int]:
    """Returns a file's size and the nanosecond of its last change; 0 on a bucket."""
    if is_remote(path):
        return _file_size(path), 0
    status = os.stat(path)  # noqa: PTH116 - as above
    return status.st_size, status.st_mtime_ns


def _digest(content: Any) -> bytes:
    """Returns 16 bytes of BLAKE2b over a buffer."""
    return hashlib.blake2b(content, digest_size=16).digest()


def _digest_file(path: str) -> bytes:
    if is_remote(path):
        return _digest_version(path, None)
    status = os.stat(path)  # noqa: PTH116 - as above
    return _digest_version(path, (status.st_size, status.st_mtime_ns))


@functools.lru_cache(maxsize=2**20)
def _digest_version(path: str, version: tuple[int, int] | None) -> bytes:
    """Returns the digest of a file that is remembered until its size or its time changes.

    Folds and parts of a data set ask for the same files again and again.
    """
    return _digest(RemotePath(path).read_bytes() if version is None else Path(path).read_bytes())


Images: TypeAlias = ArrayImages | FileImages | EncodedImages


def join_images(parts: Sequence[Images]) -> Images:
    """Returns the images of several parts, one after the other.

    Raises:
        DataError: They are of different kinds, or arrays of different shapes.
    """
    arrays = [part.pixels for part in parts if isinstance(part, ArrayImages)]
    paths = [part.paths for part in parts if isinstance(part, FileImages)]
    contents = [part.contents for part in parts if isinstance(part, EncodedImages)]
    if len(arrays) == len(parts) and len({pixels.shape[1:] for pixels in arrays}) == 1:
        return ArrayImages(pixels=np.concatenate(arrays))
    if len(paths) == len(parts):
        return FileImages(paths=tuple(chain.from_iterable(paths)))
    if len(contents) == len(parts):
        return EncodedImages(contents=np.concatenate(contents))
    raise DataError(
        "Images are joined where they are of one kind and, as arrays, of one shape. "
        f"Received: {', '.join(type(part).__name__ for part in parts)}"
    )
