"""Flower Classification with TPUs, a Kaggle competition, and any data set in the layout of its TFRecords."""

import math
import re
from collections.abc import Sequence

import numpy as np

from ..errors import DataError, MissingSplitError
from .examples import EncodedImages, Examples
from .remote import DataPath
from .tfrecords import RecordColumns, read_records

FOLDERS = {"train": "train", "validation": "val", "test": "test"}
CLASS_NAMES_FILE = "classes.txt"
_SIZE_FOLDER = re.compile(r"tfrecords-[a-z0-9]+-(?:(\d+)x(\d+)|original)")
# Names of numbered classes by the files of the train part: from a bucket, reading them once more for each of
# the other splits would take minutes.
_numbered: dict[tuple[str, ...], tuple[str, ...]] = {}
_REMEDY = (
    "Pass --data-dir with the folder that holds tfrecords-jpeg-HEIGHTxWIDTH/{train,val,test}/*.tfrec, or "
    "one folder of that kind."
)


def load_flowers(split: str, data_dir: DataPath) -> Examples:
    """Returns one split of a data set in the flowers layout; its image files are read into memory.

    The folder holds ``classes.txt``, a name a line, and a folder for each size that the images were stored
    in: ``tfrecords-jpeg-HEIGHTxWIDTH/{train,val,test}/NN-HEIGHTxWIDTH-COUNT.tfrec``. The largest size that is
    there is read (``original``, images as they were, before any number), unless `data_dir` is itself the
    folder of a size; then ``classes.txt`` may lie in it or above it. Without ``classes.txt``, which the
    competition does not have, the classes are called "class 0", "class 1" and so on up to the highest number
    in the train part, which a process reads once for that, whichever splits are asked for. The records are
    described in `tpuens.data.tfrecords`.

    Args:
        split: ``"train"``, ``"validation"`` (the folder val) or ``"test"``, which may be unlabelled.
        data_dir: The folder, local or on a bucket.

    Raises:
        MissingSplitError: The split's files are not there.
        DataError: They are broken, or have labels without a name.
    """
    folder = _size_folder(data_dir)
    names = _read_class_names(folder)
    if names is None and split != "train":
        names = _find_numbered(_files(folder, "train"))
    files = _files(folder, split)
    records = read_records(
        files, require_labels=split != "test", num_classes=None if names is None else len(names)
    )
    if names is None:
        names = _numbered[tuple(map(str, files))] = _number_classes(records)
    return Examples(
        dataset="flowers",
        split=split,
        ids=records.ids,
        labels=records.labels,
        class_names=names,
        images=EncodedImages(contents=records.images),
    )


def parse_class_names(text: str) -> tuple[str, ...]:
    """Returns the names in a classes.txt: a name a line, empty lines and outer blanks not counted."""
    return tuple(line.strip() for line in text.splitlines() if line.strip())


def _size_folder(data_dir: DataPath) -> DataPath:
    """Returns the folder itself if it holds train, val or test, else the one of the largest images in it."""
    children = {child.name: child for child in data_dir.iterdir()}
    if not children.keys().isdisjoint(FOLDERS.values()):
        return data_dir
    sizes = [match for name in sorted(children) if (match := _SIZE_FOLDER.fullmatch(name))]
    if not sizes:
        raise DataError(f"No TFRecords of any size are there. {_REMEDY} Received: {data_dir}")
    # Of two of one size the last by name: png, which keeps every pixel, comes after jpeg.
    largest = max(reversed(sizes), key=lambda match: int(match[1]) * int(match[2]) if match[1] else math.inf)
    return children[largest[0]]


def _files(folder: DataPath, split: str) -> list[DataPath]:
    """Returns the split's files, sorted by name."""
    part = folder / FOLDERS[split]
    files = [file for file in part.iterdir() if file.name.endswith(".tfrec")] if part.is_dir() else []
    if not files:
        raise MissingSplitError(f"The part {split!r} has no file. {_REMEDY} Received: no *.tfrec in {part}")
    return sorted(files, key=lambda file: file.name)


def _read_class_names(folder: DataPath) -> tuple[str, ...] | None:
    for file in (folder / CLASS_NAMES_FILE, folder.parent / CLASS_NAMES_FILE):
        if file.is_file():
            names = parse_class_names(file.read_text(encoding="utf-8"))
            if not names or len(set(names)) != len(names):
                raise DataError(
                    f"classes.txt must hold the name of every class once, a name a line. Received: {file} "
                    f"with {len(names)} names, {len(set(names))} of them different"
                )
            return names
    return None


def _find_numbered(files: Sequence[DataPath]) -> tuple[str, ...]:
    """Returns the names of the classes that the train part numbers, read once in a process."""
    key = tuple(map(str, files))
    if key not in _numbered:
        _numbered[key] = _number_classes(read_records(files, require_labels=True))
    return _numbered[key]


def _number_classes(records: RecordColumns) -> tuple[str, ...]:
    labels = records.labels
    assert labels is not None  # they were required
    count = labels.shape[1] if labels.ndim == 2 else int(np.max(labels)) + 1
    return tuple(f"class {number}" for number in range(count))
