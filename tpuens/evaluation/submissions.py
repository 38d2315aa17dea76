"""Submission files for Kaggle: predictions of the unlabelled part as CSV."""

import csv
import io
from pathlib import Path
from typing import Literal

import numpy as np

from ..data.remote import DataPath
from ..errors import ConfigurationError, DataError
from ..whole import whole_file
from .predictions import Predictions

Kind = Literal["probabilities", "label"]


def write_submission(
    predictions: Predictions, sample: DataPath | None, path: Path, kind: Kind | None = None
) -> None:
    """Writes a submission file, whole or not at all.

    Args:
        predictions: Of all the examples that the competition asks for; labels are not needed.
        sample: The competition's sample_submission.csv: its header, columns and order of ids are kept. None
            for a column ``id``, the classes' own order, and the order of the predictions.
        path: The CSV to write.
        kind: ``"probabilities"``: a column a class (Plant Pathology); ``"label"``: one column ``label`` with
            the number of the most probable class (Flower Classification). None: what the sample's columns
            ask for, and probabilities without one.

    Raises:
        ConfigurationError: One label was asked for where classes do not exclude each other, or of ranks.
        DataError: The sample cannot be read, or its columns or ids are not those of the predictions; or the
            file cannot be written.
    """
    asked = None if sample is None else _read_sample(sample)
    if kind is None:
        kind = "label" if asked is not None and asked[0][1:] == ["label"] else "probabilities"
    if kind == "label" and predictions.is_multi_label:
        raise ConfigurationError(
            "A submission of one label an example needs classes that exclude each other. "
            f"Received: {predictions.source}, which gives every class a probability of its own"
        )
    if kind == "label" and predictions.ranks:
        raise ConfigurationError(
            "Ranks order the examples of a class, and tell no class of an example: combine by another "
            f"--method for labels. Received: {predictions.source}, which holds ranks"
        )
    columns = list(predictions.class_names) if kind == "probabilities" else ["label"]
    ids: list[str] = [str(one) for one in predictions.ids]
    header, wanted = asked or (["id", *columns], ids)
    if sample is not None:
        _check_columns(sample, header[1:], columns)
        _check_ids(sample, wanted, ids, predictions.source)
    place = {one: index for index, one in enumerate(ids)}
    rows = predictions.probabilities[[place[one] for one in wanted]]
    if kind == "label":
        cells = [[str(number)] for number in rows.argmax(axis=1)]
    else:
        order = [columns.index(name) for name in header[1:]]
        cells = [[_format(value) for value in row] for row in rows[:, order]]
    lines = [header, *([one, *values] for one, values in zip(wanted, cells, strict=True))]
    refusal = "The submission cannot be written: make room or choose another file."
    with whole_file(path, refusal) as part, part.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows(lines)


def _read_sample(sample: DataPath) -> tuple[list[str], list[str]]:
    """Returns the header of a sample submission and the ids in its first column."""
    try:
        text = io.StringIO(sample.read_text(encoding="utf-8-sig"), newline="")
        header, *rows = [row for row in csv.reader(text) if row]
    except (OSError, UnicodeDecodeError, csv.Error, ValueError) as error:
        raise DataError(
            "Expected the competition's sample submission, a CSV with a header; this one cannot be read. "
            f"Received: {sample} ({getattr(error, 'strerror', None) or error})"
        ) from error
    return header, [row[0] for row in rows]


def _check_columns(sample: DataPath, given: list[str], ours: list[str]) -> None:
    if sorted(given) != sorted(ours):
        raise DataError(
            "A submission has the columns of the sample. Received: "
            f"{sample} with columns that were not predicted: {_first(set(given) - set(ours))}; "
            f"predicted, but not there: {_first(set(ours) - set(given))}"
        )


def _check_ids(sample: DataPath, wanted: list[str], ours: list[str], source: str) -> None:
    if len(set(wanted)) != len(wanted) or set(wanted) != set(ours):
        raise DataError(
            "A submission has exactly the ids of the sample, each once: predict the part that it names. "
            f"Received: {sample} with {len(wanted)} rows (only there: {_first(set(wanted) - set(ours))}) and "
            f"{source} with {len(ours)} (only there: {_first(set(ours) - set(wanted))})"
        )


def _first(names: set[str]) -> str:
    return ", ".join(sorted(names)[:3]) or "none"


def _format(value: np.float32) -> str:
    """Returns the shortest decimal that reads back as the same float32."""
    return np.format_float_positional(value, trim="-")
