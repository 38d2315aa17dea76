"""CIFAR-10 (Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009), python version."""

import pickle
import re
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from ..errors import DataError
from .downloads import load_with_keras
from .examples import ArrayImages, Examples
from .remote import DataPath

# The names and the size of a batch that the downloaded data set has; a folder's own are read from its files.
_DOWNLOADED_CLASSES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)
_DOWNLOADED_BATCH = 10_000
_REMEDY = (
    "Pass --data-dir with the folder that holds data_batch_1 to data_batch_5, test_batch and batches.meta "
    "(python version), or the folder above it if it is called cifar-10-batches-py."
)


def load_cifar10(split: str, data_dir: DataPath | None = None) -> Examples:
    """Returns one split of CIFAR-10: 32×32 RGB images in 10 classes.

    Class names and counts come from the files; a batch may hold any number of images.

    Args:
        split: ``"train"`` or ``"test"``.
        data_dir: The folder of the batches, or the one above it. None: Keras downloads them.

    Raises:
        DataError: A file is missing or is not what the python version of CIFAR-10 holds, or the download
            failed.
    """
    if data_dir is None:
        pixels, labels = load_with_keras("cifar10", split, _REMEDY)
        prefix = "test_batch" if split == "test" else "data_batch_{}"
        ids = [
            f"{prefix.format(index // _DOWNLOADED_BATCH + 1)}/{index % _DOWNLOADED_BATCH:05d}"
            for index in range(len(labels))
        ]
        return _examples(split, ids, labels, _DOWNLOADED_CLASSES, pixels)
    folder = data_dir / "cifar-10-batches-py"
    folder = folder if folder.is_dir() else data_dir
    names = [_text(name) for name in _field(folder / "batches.meta", "label_names")]
    files = _batch_files(folder, split)
    batches = [_read_batch(file) for file in files]
    ids = [
        f"{file.name}/{row:05d}"
        for file, (_, labels) in zip(files, batches, strict=True)
        for row in range(len(labels))
    ]
    pixels = np.concatenate([pixels for pixels, _ in batches])
    labels = np.concatenate([labels for _, labels in batches])
    return _examples(split, ids, labels, tuple(names), pixels)


def _examples(
    split: str,
    ids: list[str],
    labels: npt.NDArray[np.int64],
    class_names: tuple[str, ...],
    pixels: npt.NDArray[np.uint8],
) -> Examples:
    return Examples(
        dataset="cifar10",
        split=split,
        ids=np.array(ids),
        labels=labels,
        class_names=class_names,
        images=ArrayImages(pixels=pixels),
    )


def _batch_files(folder: DataPath, split: str) -> list[DataPath]:
    """Returns the split's files, in the order of their numbers."""
    if split == "test":
        return [folder / "test_batch"]
    numbered = [
        (int(match[1]), file)
        for file in folder.iterdir()
        if (match := re.fullmatch(r"data_batch_(\d+)", file.name))
    ]
    if not numbered:
        raise DataError(
            f"CIFAR-10 comes in numbered batches. {_REMEDY} Received: no data_batch_1 in {folder}"
        )
    return [file for _, file in sorted(numbered, key=lambda pair: pair[0])]


def _read_batch(file: DataPath) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Returns the images of a batch, (n, 32, 32, 3), and its labels."""
    rows = np.asarray(_field(file, "data"))
    labels = np.asarray(_field(file, "labels"), dtype=np.int64)
    if rows.dtype != np.uint8 or rows.shape != (len(labels), 3 * 32 * 32):
        raise DataError(
            "A CIFAR-10 batch holds one row of 3,072 uint8 values for each label. "
            f"Received: {file.name} with data of {rows.dtype}, shape {rows.shape}, and {len(labels)} labels"
        )
    # A row holds the red plane, then the green, then the blue.
    return np.ascontiguousarray(rows.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)), labels


def _field(file: DataPath, name: str) -> Any:
    """Returns one entry of a pickled dictionary, whose keys are bytes in the original and may be text."""
    try:
        with file.open("rb") as stream:
            content = _ArrayUnpickler(stream, encoding="bytes").load()
    except FileNotFoundError as error:
        raise DataError(f"A file of CIFAR-10 is missing. {_REMEDY} Received: no {file}") from error
    except DataError:
        raise
    except Exception as error:  # a broken pickle can raise nearly anything
        raise DataError(f"{file.name} is no CIFAR-10 batch: fetch it again. Received: {error}") from error
    for key in (name.encode(), name):
        if isinstance(content, dict) and key in content:
            return content[key]
    raise DataError(f"A CIFAR-10 file must hold {name!r}. {_REMEDY} Received: {file.name} without it")


def _text(name: str | bytes) -> str:
    return name.decode() if isinstance(name, bytes) else name


def _latin1(text: str, encoding: str) -> bytes:
    """Returns the bytes that Python 3 pickles as text under protocols 0 to 2."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"unexpected encoding {encoding!r}")
    return text.encode("latin1")


class _ArrayUnpickler(pickle.Unpickler):
    """Reads containers, text, numbers and NumPy arrays. A pickle may name any function to call; not here."""

    # NumPy's own functions to make an array from a pickle, whatever module this version keeps them in.
    _reconstruct: ClassVar[Any] = np.empty(0).__reduce__()[0]  # type: ignore[index]
    _frombuffer: ClassVar[Any] = np.empty(0).__reduce_ex__(5)[0]  # type: ignore[index]
    _allowed: ClassVar[dict[tuple[str, str], Any]] = {
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
        ("numpy.core.multiarray", "_reconstruct"): _reconstruct,  # written by NumPy 1
        ("numpy._core.multiarray", "_reconstruct"): _reconstruct,  # written by NumPy 2
        ("numpy.core.numeric", "_frombuffer"): _frombuffer,
        ("numpy._core.numeric", "_frombuffer"): _frombuffer,
        ("_codecs", "encode"): _latin1,
    }

    def find_class(self, module: str, name: str) -> Any:
        """Returns the few objects that an array is made of; refuses every other."""
        try:
            return self._allowed[module, name]
        except KeyError:
            raise DataError(
                "A CIFAR-10 batch holds arrays, lists and text only; this file asks to run something else, "
                f"so it is not read. Received: {module}.{name}"
            ) from None
