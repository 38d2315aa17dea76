"""What a data set is once it is found: ids, labels, class names, and where the pixels come from."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..errors import DataError
from .images import ArrayImages, EncodedImages, FileImages, Images, Indices, join_images

__all__ = ["ArrayImages", "EncodedImages", "Examples", "FileImages", "Images"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Examples:
    """One split of a data set.

    Attributes:
        dataset: The data set's name.
        split: ``"train"``, ``"validation"`` or ``"test"``.
        ids: (n,) strings, unique, the same on every machine.
        labels: (n,) int64 in 0..k-1, the number of each example's class; or, where an example may be of
            several classes or of none, (n, k) int64 of 0 and 1, a column a class. None where unlabelled.
        class_names: The k classes, in the order of the labels; the same for all splits.
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
        classes = len(self.class_names)
        if labels.ndim == 1:
            rule, highest = f"Labels must lie in 0..{classes - 1}, one for each class name", classes - 1
        else:
            rule, highest = f"Labels with a column a class, {classes} here, must be 0 or 1", 1
            if labels.ndim != 2 or labels.shape[1] != classes:
                raise DataError(f"{rule}. Received: dataset={self.dataset!r} with labels of {labels.shape}")
        if not 0 <= labels.min() <= labels.max() <= highest:
            raise DataError(
                f"{rule}. Received: "
                f"dataset={self.dataset!r} with labels from {labels.min()} to {labels.max()}"
            )

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def is_multi_label(self) -> bool:
        """Whether an example may be of several classes, or of none: labels are (n, k) of 0 and 1."""
        return self.labels is not None and self.labels.ndim == 2

    @property
    def known_labels(self) -> npt.NDArray[np.int64]:
        """The labels, int64: (n,), or (n, k) where `is_multi_label`.

        Raises:
            DataError: The examples are unlabelled.
        """
        if self.labels is None:
            raise DataError(
                "Training and splitting need labelled examples. Received: "
                f"dataset={self.dataset!r}, split={self.split!r}, which has no labels"
            )
        return self.labels

    @property
    def class_counts(self) -> npt.NDArray[np.int64]:
        """How many examples each class has, (k,) int64.

        Raises:
            DataError: The examples are unlabelled.
        """
        if self.is_multi_label:
            return self.known_labels.sum(axis=0)
        return np.bincount(self.known_labels, minlength=len(self.class_names))

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
        with _naming_lost_files(self.dataset):
            for part in self.images.fingerprint_parts():
                digest.update(part)
        return digest.hexdigest()[:16]

    def image_versions(self) -> list[str]:
        """Returns 32 hex digits for each image, others once it has changed, on this machine, at little cost.

        Raises:
            DataError: An image file is missing.
        """
        with _naming_lost_files(self.dataset):
            return self.images.versions()

    def content_digests(self) -> list[bytes]:
        """Returns 16 bytes for each image, equal for exact duplicates only.

        Raises:
            DataError: An image file is missing.
        """
        with _naming_lost_files(self.dataset):
            return self.images.content_digests()


@contextmanager
def _naming_lost_files(dataset: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DataError(
            f"An image of {dataset!r} cannot be read: put it back, or leave it out "
            "(`tpuens train --data`: --on-corrupt skip). "
            f"Received: {Path(error.filename).name}: {error.strerror}"
        ) from error


def join_examples(parts: Sequence[Examples]) -> Examples:
    """Returns the examples of several parts of one data set, one after the other; the split is the first's.

    Raises:
        DataError: Their class names or their kinds of labels or images differ, or an id stands in two.
    """
    first = parts[0]
    for part in parts[1:]:
        if part.class_names != first.class_names or part.is_multi_label != first.is_multi_label:
            raise DataError(
                "Parts of a data set are joined where they have the same classes. "
                f"Received: {first.split!r} and {part.split!r} of {first.dataset!r}"
            )
    return replace(
        first,
        ids=np.concatenate([part.ids for part in parts]),
        labels=np.concatenate([part.known_labels for part in parts]),
        images=join_images([part.images for part in parts]),
    )
