"""Plant Pathology 2020, from files in its layout."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tpuens.data.datasets import load_examples
from tpuens.data.examples import FileImages
from tpuens.errors import DataError

TRAIN = """image_id,healthy,multiple_diseases,rust,scab
Train_0,0,0,0,1
Train_1,1,0,0,0
Train_2,0,1,0,0
"""
TEST = "image_id\nTest_0\nTest_1\n"
SAMPLE = """image_id,healthy,multiple_diseases,rust,scab
Test_0,0.25,0.25,0.25,0.25
Test_1,0.25,0.25,0.25,0.25
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The competition's files, with five images of 4×6 pixels."""
    (tmp_path / "train.csv").write_text(TRAIN)
    (tmp_path / "test.csv").write_text(TEST)
    (tmp_path / "sample_submission.csv").write_text(SAMPLE)
    (tmp_path / "images").mkdir()
    for index, name in enumerate(("Train_0", "Train_1", "Train_2", "Test_0", "Test_1")):
        Image.fromarray(np.full((4, 6, 3), 50 * index, np.uint8)).save(tmp_path / "images" / f"{name}.jpg")
    return tmp_path


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def test_ids_classes_and_labels_come_from_train_csv(folder: Path) -> None:
    train = load_examples("plant_pathology", "train", folder)
    assert train.ids.tolist() == ["Train_0", "Train_1", "Train_2"]
    assert train.class_names == ("healthy", "multiple_diseases", "rust", "scab")
    assert not train.is_multi_label
    assert train.known_labels.tolist() == [3, 0, 1]
    assert train.images.shape(0) == (4, 6, 3)
    assert [round(float(train.images.read(index).mean())) for index in range(3)] == [0, 50, 100]


def test_the_test_split_is_unlabelled_and_has_the_ids_of_test_csv(folder: Path) -> None:
    test = load_examples("plant_pathology", "test", folder)
    assert test.labels is None
    assert test.ids.tolist() == ["Test_0", "Test_1"]
    assert test.class_names == load_examples("plant_pathology", "train", folder).class_names
    assert round(float(test.images.read(1).mean())) == 200


@pytest.mark.parametrize("row", ["0,1,0,1", "0,0,0,0"])
def test_a_row_with_several_ones_or_none_makes_the_data_set_multi_label(folder: Path, row: str) -> None:
    edit(folder / "train.csv", "Train_2,0,1,0,0", f"Train_2,{row}")
    train = load_examples("plant_pathology", "train", folder)
    assert train.is_multi_label
    last = [int(cell) for cell in row.split(",")]
    assert train.known_labels.tolist() == [[0, 0, 0, 1], [1, 0, 0, 0], last]


def test_classes_come_in_the_order_of_a_submission(folder: Path) -> None:
    edit(
        folder / "sample_submission.csv",
        "healthy,multiple_diseases,rust,scab",
        "scab,rust,multiple_diseases,healthy",
    )
    train = load_examples("plant_pathology", "train", folder)
    assert train.class_names == ("scab", "rust", "multiple_diseases", "healthy")
    assert train.known_labels.tolist() == [0, 3, 2]
    (folder / "sample_submission.csv").unlink()
    assert load_examples("plant_pathology", "train", folder).class_names[0] == "healthy"


def test_other_programs_ways_of_writing_a_csv_are_read(folder: Path) -> None:
    text = TRAIN.replace("0,0,0,1", " 0.0,0,0,1.0").replace("Train_1", '"Train_1"').replace("\n", "\r\n")
    (folder / "train.csv").write_bytes(b"\xef\xbb\xbf" + text.encode() + b"\r\n")
    assert load_examples("plant_pathology", "train", folder).known_labels.tolist() == [3, 0, 1]


def test_columns_before_image_id_are_no_classes(folder: Path) -> None:
    lines = TRAIN.splitlines()
    numbered = [f"{number},{line}" for number, line in enumerate(lines[1:])]
    (folder / "train.csv").write_text("\n".join([f",{lines[0]}", *numbered]))
    train = load_examples("plant_pathology", "train", folder)
    assert train.class_names == ("healthy", "multiple_diseases", "rust", "scab")
    assert train.known_labels.tolist() == [3, 0, 1]


def test_images_may_have_another_extension_and_a_jpg_comes_first(folder: Path) -> None:
    images = folder / "images"
    (images / "Train_0.jpg").rename(images / "Train_0.PNG")
    (images / "Train_1.jpg").rename(images / "Train_1.jpeg")
    (images / "Train_2.png").write_bytes(b"")
    paths = load_examples("plant_pathology", "train", folder).images
    assert isinstance(paths, FileImages)
    assert [Path(path).name for path in paths.paths] == ["Train_0.PNG", "Train_1.jpeg", "Train_2.jpg"]


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        (
            "train.csv",
            "image_id",
            "id",
            r"first line of .*train\.csv must name a column 'image_id'.*columns id, he",
        ),
        ("test.csv", TEST, "", r"first line of .*test\.csv must name.*\(none\)"),
        ("test.csv", TEST, "image_id\n", r"test\.csv must have a row for every image.*no rows"),
        (
            "train.csv",
            "rust",
            "dust",
            r"same class columns.*train\.csv, which lacks rust and has besides dust",
        ),
        ("train.csv", "rust", "scab", r"each with its own name"),
        ("train.csv", "Train_1,1,0", "Train_1,1,2", r"0 or 1.*'2' for Train_1 in column 'multiple_diseases'"),
        ("train.csv", "Train_1,1,0", "Train_1,-1,0", r"0 or 1.*'-1' for Train_1 in column 'healthy'"),
        ("train.csv", "Train_1,1,0", "Train_1,,0", r"0 or 1.*'' for Train_1"),
        ("train.csv", "Train_1,1,0", "Train_1,0", r"as many cells as its first line, 5.*4 cells in line 3"),
        ("train.csv", "Train_1", "Train_0", r"only once in .*train\.csv.*Train_0 more than once"),
        ("test.csv", "Test_1", "Test_0", r"only once in .*test\.csv.*Test_0 more than once"),
        ("test.csv", "Test_1", "Test_7", r"needs an image .*IMAGE_ID\.jpg.*1 of 2 without one: Test_7"),
    ],
)
def test_files_that_cannot_be_used_are_named_with_what_is_wrong(
    folder: Path, file: str, old: str, new: str, message: str
) -> None:
    edit(folder / file, old, new)
    with pytest.raises(DataError, match=message):
        load_examples("plant_pathology", file.removesuffix(".csv"), folder)


def test_missing_files_are_named(folder: Path) -> None:
    for name, split in (("test.csv", "test"), ("train.csv", "train")):
        (folder / name).unlink()
        with pytest.raises(DataError, match=rf"--data-dir .* no .*{name}"):
            load_examples("plant_pathology", split, folder)


def test_a_missing_folder_of_images_and_many_lost_images_are_told_in_short(folder: Path) -> None:
    rows = "".join(f"Train_{index},1,0,0,0\n" for index in range(3, 20))
    (folder / "train.csv").write_text(TRAIN + rows)
    with pytest.raises(DataError, match=r"17 of 20 without one: Train_3, .*, Train_7 and 12 more"):
        load_examples("plant_pathology", "train", folder)
    (folder / "images").rename(folder / "pictures")
    with pytest.raises(DataError, match=r"no folder .*images"):
        load_examples("plant_pathology", "train", folder)


@pytest.mark.skipif("TPUENS_DATA_DIR" not in os.environ, reason="TPUENS_DATA_DIR is not set")
def test_real_leaves_are_found_and_read() -> None:
    train, test = (load_examples("plant_pathology", split) for split in ("train", "test"))
    assert len(train.class_names) == 4
    assert train.class_counts.min() > 0
    assert test.labels is None
    assert not set(train.ids) & set(test.ids)
    assert train.images.shape(len(train) - 1)[2] == 3
    assert train.images.read(0).std() > 0
