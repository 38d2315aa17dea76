"""Submission files hold what the competition's sample asks for, in its order."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tpuens.errors import ConfigurationError, DataError
from tpuens.evaluation.predictions import Predictions
from tpuens.evaluation.submissions import Kind, write_submission

LEAVES = Predictions(
    ids=np.array(["Test_0", "Test_1"]),
    probabilities=np.array([[0.1, 0.2, 0.7], [1e-9, 1 / 3, 2 / 3]], np.float32),
    labels=None,
    class_names=("rust", "healthy", "scab"),
    source="leaves",
)


def read(path: Path) -> list[list[str]]:
    with path.open(newline="") as file:
        return list(csv.reader(file))


def sample(folder: Path, text: str) -> Path:
    path = folder / "sample_submission.csv"
    path.write_text(text)
    return path


def test_probabilities_follow_the_samples_columns_and_order(tmp_path: Path) -> None:
    given = sample(tmp_path, "image_id,healthy,rust,scab\nTest_1,0.3,0.3,0.3\nTest_0,0.3,0.3,0.3\n")
    write_submission(LEAVES, given, tmp_path / "out" / "submission.csv")
    header, first, second = read(tmp_path / "out" / "submission.csv")
    assert header == ["image_id", "healthy", "rust", "scab"]
    assert (first[0], second) == ("Test_1", ["Test_0", "0.2", "0.1", "0.7"])
    assert [np.float32(value) for value in first[1:]] == LEAVES.probabilities[1, [1, 0, 2]].tolist()
    assert "e" not in "".join(first[1:])
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["submission.csv"]


def test_a_label_is_the_number_of_the_most_probable_class(tmp_path: Path) -> None:
    given = sample(tmp_path, "id,label\nTest_1,0\nTest_0,0\n")
    for kind in ("label", None):  # None: the sample's only column is named so
        write_submission(LEAVES, given, tmp_path / "s.csv", kind=kind)
        assert read(tmp_path / "s.csv") == [["id", "label"], ["Test_1", "2"], ["Test_0", "2"]]


@pytest.mark.parametrize(
    ("kind", "header", "row"),
    [
        ("label", ["id", "label"], ["Test_0", "2"]),
        ("probabilities", ["id", "rust", "healthy", "scab"], ["Test_0", "0.1", "0.2", "0.7"]),
    ],
)
def test_without_a_sample_the_predictions_own_order_is_kept(
    kind: Kind, header: list[str], row: list[str], tmp_path: Path
) -> None:
    write_submission(LEAVES, None, tmp_path / "s.csv", kind)
    assert read(tmp_path / "s.csv")[:2] == [header, row]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image_id,healthy,rust,scab\nTest_0,0,0,0\nTest_2,0,0,0\n", r"there: Test_2\).*there: Test_1\)"),
        ("image_id,healthy,rust,scab\nTest_0,0,0,0\n", r"there: none\).*there: Test_1\)"),
        ("image_id,healthy,rust\nTest_0,0,0\nTest_1,0,0\n", "not there: scab"),
        ("image_id,healthy,rust,scab,rot\nTest_0\nTest_1\n", "not predicted: rot"),
        ("", "cannot be read"),
    ],
    ids=["other ids", "too few ids", "a column too few", "a column too many", "empty"],
)
def test_a_sample_that_does_not_fit_is_refused_by_name(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message) as caught:
        write_submission(LEAVES, sample(tmp_path, text), tmp_path / "s.csv")
    assert "sample_submission.csv" in str(caught.value)
    assert not (tmp_path / "s.csv").exists()


def test_a_sample_that_is_missing_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.csv \(No such file"):
        write_submission(LEAVES, tmp_path / "none.csv", tmp_path / "s.csv")


def test_one_label_of_classes_that_do_not_exclude_each_other_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="exclude each other"):
        write_submission(replace(LEAVES, sigmoid=True), None, tmp_path / "s.csv", kind="label")


def test_a_folder_in_the_files_place_is_refused_and_nothing_is_left(tmp_path: Path) -> None:
    (tmp_path / "s.csv").mkdir()
    with pytest.raises(DataError, match="cannot be written"):
        write_submission(LEAVES, None, tmp_path / "s.csv")
    assert [file.name for file in tmp_path.iterdir()] == ["s.csv"]
