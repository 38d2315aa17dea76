"""Where a data set's files are: the folder that was named, else the environment's, else the usual places."""

import importlib
import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ConfigurationError, DataError
from .remote import DataPath, make_path

if TYPE_CHECKING:  # the table calls this module
    from .datasets import Dataset

VARIABLE = "TPUENS_DATA_DIR"
_KAGGLE_INPUT = Path("/kaggle/input")


def find_data_dir(row: "Dataset", data_dir: str | DataPath | None = None) -> DataPath | None:
    """Returns the folder to read a data set from, or None where its loader brings or downloads the images.

    A folder that is named is taken, and nothing else is looked at. Otherwise the first that holds the data
    set counts, of: ``$TPUENS_DATA_DIR``; ``data`` in the current folder; Kaggle's bucket, where a TPU that
    is reached over the network must read it; Kaggle's input folder. A folder holds a data set when the
    row's `marker` lies in it, or in a sub-folder that is called as the data set is.

    Args:
        row: The data set, from `DATASETS`.
        data_dir: A local folder, or a URL such as ``gs://bucket/folder``; None to look for it.

    Raises:
        ConfigurationError: The data set is read from a folder that only the user can name.
        DataError: The folder that was named is missing, or the data set is nowhere.
    """
    if data_dir is not None:
        return _open_named(row, make_path(data_dir), str(data_dir))
    if not row.folder_names:
        if row.needs_data_dir:
            raise ConfigurationError(
                f"The data set {row.name!r} is read from a folder: pass --data-dir ({row.source}). "
                "Received: no data folder"
            )
        return None
    looked_at: list[str] = []
    for root in _roots(row, looked_at):
        found = _holder(row, root, looked_at)
        if found is not None:
            return found
    if not row.needs_data_dir:
        return None
    raise DataError(
        f"The data set {row.name!r} was not found: {_remedy(row)}. Looked at: {'; '.join(looked_at)}. "
        "Received: no --data-dir"
    )


def _open_named(row: "Dataset", folder: DataPath, received: str) -> DataPath:
    try:
        if folder.is_dir():
            return _holder(row, folder, []) or folder
    except OSError as error:  # a bucket that is not there, not ours, or out of reach
        raise DataError(
            "The data folder cannot be looked into: check its name, and who may read it. "
            f"Received: data_dir={received!r} ({error.strerror})"
        ) from error
    raise DataError(f"The data folder must be a folder that exists. Received: data_dir={received!r}")


def _roots(row: "Dataset", looked_at: list[str]) -> Iterator[DataPath]:
    """Yields the folders to look into, and notes what cannot be."""
    chosen = os.environ.get(VARIABLE)
    if chosen:
        yield make_path(chosen)
    else:
        looked_at.append(f"${VARIABLE}, which is not set")
    yield make_path("data")
    # A TPU VM reads its own disk; a TPU that is reached over the network reads nothing but buckets.
    if os.environ.get("TPU_NAME", "local") != "local" and importlib.util.find_spec("kaggle_datasets"):
        for name in row.kaggle_names:
            try:
                bucket = _find_bucket(name)
            except Exception as error:  # whatever Kaggle's service answers: the next place may do
                looked_at.append(f"Kaggle's bucket of {name} ({error})")
            else:
                yield make_path(bucket)
    yield _KAGGLE_INPUT
    yield _KAGGLE_INPUT / "competitions"


def _find_bucket(name: str) -> str:
    """Returns the bucket that Kaggle keeps a notebook's input in, as its notebooks ask for it."""
    url: str = importlib.import_module("kaggle_datasets").KaggleDatasets().get_gcs_path(name)
    return url


def _holder(row: "Dataset", root: DataPath, looked_at: list[str]) -> DataPath | None:
    """Returns the folder, or its sub-folder of a known name, that holds the data set; notes what does not."""
    try:
        if not root.is_dir():
            looked_at.append(f"{root}, which is no folder")
            return None
        for folder in (root, *(root / name for name in (*row.folder_names, *row.kaggle_names))):
            if next(iter(folder.glob(row.marker)), None) is not None:
                return folder
            looked_at.append(str(folder))
    except OSError as error:
        looked_at.append(f"{root} ({error.strerror})")
    return None


def _remedy(row: "Dataset") -> str:
    remedy = f"pass --data-dir, or set {VARIABLE}, with the folder that holds {row.marker}"
    if row.kaggle_names:
        remedy += f" (on Kaggle: `kaggle competitions download -c {row.kaggle_names[0]}`, then unzip it)"
    return remedy
