"""What a data set is once it is found: ids, labels, class names, and where the pixels come from."""

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from ..errors import DataError

Indices: TypeAlias = Sequence[int] | npt.NDArray[np.integer]


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


@dataclass(frozen=True, kw_only=True, eq=False)
class FileImages:
    """Images in files of their own: JPEG, PNG, GIF or BMP, of any size.

    Attributes:
        paths: Absolute. Messages and fingerprints name an image by its example's id instead.
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
        from PIL import Image

        with Image.open(self.paths[index]) as image:
            return image.height, image.width, len(image.getbands())

    def read(self, index: int) -> npt.NDArray[np.uint8]:
        """Returns one image in colour: uint8, (height, width, 3).

        Raises:
            OSError: The file is missing or cannot be decoded.
        """
        from PIL import Image

        with Image.open(self.paths[index]) as image:
            return np.asarray(image.convert("RGB"))

    def fingerprint_parts(self) -> Iterator[bytes]:
        """Yields what tells these images from others at little cost: the size of every file.

        Raises:
            OSError: A file is missing.
        """
        for path in self.paths:
            yield f"{os.stat(path).st_size}\n".encode()  # noqa: PTH116 - three times as fast, and there are many


Images: TypeAlias = ArrayImages | FileImages


@dataclass(frozen=True, kw_only=True, eq=False)
class Examples:
    """One split of a data set.

    Attributes:
        dataset: The data set's name.
        split: ``"train"`` or ``"test"``.
        ids: (n,) strings, unique, the same on every machine.
        labels: (n,) int64 in 0..k-1; None where unlabelled.
        class_names: The k classes, in the order of the labels; the same for both splits.
        images: Where the pixels come from, in the order of the ids.
    """

    dataset: str
    split: str
    ids: npt.NDArray[np.str_]
    labels: npt.NDArray[np.int64] | None
    class_names: tuple[str, ...]
    images: Images

    def __post_init__(self) -> None:
        labels = self.labels
        if len(self.ids) != len(self.images) or (labels is not None and len(labels) != len(self.ids)):
            raise DataError(
                "Every example has one id, one image and, where the data set is labelled, one label. "
                f"Received: dataset={self.dataset!r} with {len(self.ids)} ids, {len(self.images)} images, "
                f"{'no' if labels is None else len(labels)} labels"
            )
        if len(np.unique(self.ids)) != len(self.ids):
            raise DataError(f"The ids of examples must be unique. Received: dataset={self.dataset!r}")
        if labels is None or len(labels) == 0:
            return
        if not 0 <= labels.min() <= labels.max() < len(self.class_names):
            raise DataError(
                f"Labels must lie in 0..{len(self.class_names) - 1}, one for each class name. Received: "
                f"dataset={self.dataset!r} with labels from {labels.min()} to {labels.max()}"
            )

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def known_labels(self) -> npt.NDArray[np.int64]:
        """The labels, (n,) int64.

        Raises:
            DataError: The examples are unlabelled.
        """
        if self.labels is None:
            raise DataError(
                "Training and splitting need labelled examples. Received: "
                f"dataset={self.dataset!r}, split={self.split!r}, which has no labels"
            )
        return self.labels

    def subset(self, indices: Indices) -> "Examples":
        """Returns the examples at these positions, in this order; the class names stay whole."""
        chosen = np.asarray(indices, dtype=np.int64)
        return replace(
            self,
            ids=self.ids[chosen],
            labels=None if self.labels is None else self.labels[chosen],
            images=self.images.subset(chosen),
        )

    def fingerprint(self) -> str:
        """Returns 16 hex digits of a SHA-256 over ids, labels, class names and pixels or file sizes.

        The same examples have the same fingerprint on every machine and in every folder.

        Raises:
            DataError: An image file is missing.
        """
        labels = None if self.labels is None else self.labels.tolist()
        digest = hashlib.sha256(json.dumps([self.ids.tolist(), labels, list(self.class_names)]).encode())
        try:
            for part in self.images.fingerprint_parts():
                digest.update(part)
        except OSError as error:
            raise DataError(
                f"An image of {self.dataset!r} cannot be read: put it back, or pass --on-corrupt skip. "
                f"Received: {Path(error.filename).name}: {error.strerror}"
            ) from error
        return digest.hexdigest()[:16]
