"""Plant Pathology 2020 (Thapa et al., Applications in Plant Sciences 8(9), 2020) as Kaggle has it."""

import csv
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..errors import DataError
from .examples import Examples, FileImages
from .remote import DataPath

ID_COLUMN = "image_id"
EXTENSIONS = (".jpg", ".jpeg", ".png")  # the first that is there counts
_VALUES = {"0": 0, "1": 1, "0.0": 0, "1.0": 1}  # pandas writes a column that had gaps as 1.0
_REMEDY = (
    "Pass --data-dir with the folder that holds train.csv, test.csv, sample_submission.csv and the folder "
    "images, as the competition plant-pathology-2020-fgvc7 distributes them."
)


@dataclass(frozen=True, kw_only=True)
class _Rows:
    """A CSV file with a column image_id.

    Attributes:
        file: Where it was read.
        columns: Those after image_id.
        ids: The image_id of each row.
        cells: The other columns of each row, in their order.
    """

    file: DataPath
    columns: tuple[str, ...]
    ids: list[str]
    cells: list[list[str]]


def load_plant_pathology(split: str, data_dir: DataPath) -> Examples:
    """Returns one split of Plant Pathology 2020, or of any data set laid out as it is.

    ``train`` is read from train.csv: an image_id and a column of 0 and 1 for every class. Where every row
    has exactly one 1, labels are class numbers; otherwise the data set is multi-label, and a label is the
    row. ``test`` is the unlabelled part, from test.csv. The classes are the columns, in the order that
    sample_submission.csv gives them, or train.csv where that file is not there. The image of an id lies in
    images/IMAGE_ID.jpg (or .jpeg, or .png).

    Args:
        split: ``"train"`` or ``"test"``.
        data_dir: The folder of the files, local or on a bucket.

    Raises:
        DataError: A file or a class column is missing, a cell is neither 0 nor 1, an image_id has no image
            or stands twice, or there are no rows.
    """
    train = _read_rows(data_dir / "train.csv")
    class_names = _class_names(train, data_dir / "sample_submission.csv")
    labels = None
    if split == "train":
        rows, labels = train, _read_labels(train, class_names)
    else:
        rows = _read_rows(data_dir / "test.csv")
    return Examples(
        dataset="plant_pathology",
        split=split,
        ids=np.array(rows.ids),
        labels=labels,
        class_names=class_names,
        images=_find_images(rows, data_dir / "images"),
    )


def _read_rows(file: DataPath) -> _Rows:
    """Returns the rows of a CSV file, once they are known to be whole and their ids unique."""
    try:
        content = file.read_bytes().decode("utf-8-sig")
    except FileNotFoundError as error:
        raise DataError(f"A file of Plant Pathology is missing. {_REMEDY} Received: no {file}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file} cannot be read as text: fetch it again. Received: {error}") from error
    reader = csv.reader(io.StringIO(content, newline=""))
    header = [name.strip() for name in next(reader, [])]
    if ID_COLUMN not in header:
        raise DataError(
            f"The first line of {file} must name a column {ID_COLUMN!r}: mend it or fetch the file again. "
            f"Received: columns {', '.join(header) or '(none)'}"
        )
    first = header.index(ID_COLUMN)
    ids, cells = [], []
    for row in reader:
        if not row:  # a blank line
            continue
        if len(row) != len(header):
            raise DataError(
                f"Every row of {file} must have as many cells as its first line, {len(header)}: mend it. "
                f"Received: {len(row)} cells in line {reader.line_num}"
            )
        ids.append(row[first].strip())
        cells.append(row[first + 1 :])
    if not ids:
        raise DataError(f"{file} must have a row for every image: fetch it again. Received: no rows")
    repeated = [name for name, count in Counter(ids).items() if count > 1]
    if repeated:
        raise DataError(
            f"An {ID_COLUMN} may stand only once in {file}: remove the repeated rows. "
            f"Received: {_first_few(repeated)} more than once"
        )
    return _Rows(file=file, columns=tuple(header[first + 1 :]), ids=ids, cells=cells)


def _class_names(train: _Rows, sample_file: DataPath) -> tuple[str, ...]:
    """Returns the classes, in the order of a submission's columns."""
    if not train.columns or "" in train.columns or len(set(train.columns)) != len(train.columns):
        raise DataError(
            f"{train.file} must have a column for every class after {ID_COLUMN}, each with its own name: "
            f"fetch it again. Received: columns {', '.join(map(repr, train.columns)) or '(none)'}"
        )
    if not sample_file.exists():
        return train.columns
    wanted = _read_rows(sample_file).columns
    missing = [name for name in wanted if name not in train.columns]
    unknown = [name for name in train.columns if name not in wanted]
    if missing or unknown:
        raise DataError(
            f"train.csv and {sample_file.name} must have the same class columns: mend the wrong one, or "
            f"fetch both again. Received: {train.file}, which lacks {', '.join(missing) or 'none'} and has "
            f"besides {', '.join(unknown) or 'none'}"
        )
    return wanted


def _read_labels(train: _Rows, class_names: tuple[str, ...]) -> npt.NDArray[np.int64]:
    """Returns class numbers, (n,), or where a row has no or several ones, the rows, (n, k)."""
    places = [train.columns.index(name) for name in class_names]
    labels = np.empty((len(train.ids), len(places)), dtype=np.int64)
    for number, (image_id, cells) in enumerate(zip(train.ids, train.cells, strict=True)):
        for column, place in enumerate(places):
            value = _VALUES.get(cells[place].strip())
            if value is None:
                raise DataError(
                    f"A class column of {train.file} must hold 0 or 1: mend the cell. "
                    f"Received: {cells[place]!r} for {image_id} in column {class_names[column]!r}"
                )
            labels[number, column] = value
    return labels.argmax(axis=1) if (labels.sum(axis=1) == 1).all() else labels


def _find_images(rows: _Rows, folder: DataPath) -> FileImages:
    """Returns the image of every row; the folder is listed once, which is quicker than asking for each."""
    try:
        files = {file.name: file for file in folder.iterdir()}
    except OSError as error:
        raise DataError(
            f"The images of Plant Pathology are missing. {_REMEDY} Received: no folder {folder}"
        ) from error
    by_id: dict[str, str] = {}
    for extension in reversed(EXTENSIONS):
        by_id |= {
            name[: -len(extension)]: str(file)
            for name, file in files.items()
            if name.lower().endswith(extension)
        }
    lost = [image_id for image_id in rows.ids if image_id not in by_id]
    if lost:
        raise DataError(
            f"Every {ID_COLUMN} in {rows.file} needs an image {folder}/IMAGE_ID.jpg: put it there, or remove "
            f"the row. Received: {len(lost)} of {len(rows.ids)} without one: {_first_few(lost)}"
        )
    return FileImages(paths=tuple(by_id[image_id] for image_id in rows.ids))


def _first_few(names: Sequence[str], count: int = 5) -> str:
    rest = len(names) - count
    return ", ".join(names[:count]) + (f" and {rest} more" if rest > 0 else "")
