"""The flowers layout: which folder is read, what the classes are called, and which split is what."""

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tpuens.data.datasets import load_examples
from tpuens.data.examples import EncodedImages, Examples
from tpuens.data.tfrecords import Record, RecordColumns, read_records, write_record_file
from tpuens.errors import DataError

LABELS = {"train": (0, 1, 2, 1), "val": (2, 0), "test": ()}


def jpeg(size: int) -> bytes:
    stream = io.BytesIO()
    Image.new("L", (size, size), 99).save(stream, "JPEG")
    return stream.getvalue()


def write_size(
    folder: Path, name: str, size: int = 8, labels: dict[str, tuple[int, ...]] | None = None
) -> Path:
    """Writes two files of train, one of val and one of an unlabelled test."""
    parts = labels or LABELS
    for part, values in parts.items():
        (folder / name / part).mkdir(parents=True)
        rows = [(value,) for value in values] or [(), (), ()]
        content = [
            Record(id=f"{part}-{index}", label=row, image=jpeg(size)) for index, row in enumerate(rows)
        ]
        shards = [content[:1], content[1:]] if part == "train" else [content]
        for number, shard in enumerate(shards):
            write_record_file(folder / name / part / f"{number:02d}-{size}x{size}-{len(shard)}.tfrec", shard)
    return folder / name


def load(split: str, folder: Path | str) -> Examples:
    return load_examples("flowers", split, folder)


def height(examples: Examples) -> int:
    return examples.images.shape(0)[0]


def test_the_splits_are_train_val_and_an_unlabelled_test(tmp_path: Path) -> None:
    write_size(tmp_path, "tfrecords-jpeg-8x8")
    (tmp_path / "classes.txt").write_text("rose\r\ndaisy\r\n tulip\n\n")
    train, validation, test = (load(split, tmp_path) for split in ("train", "validation", "test"))
    assert train.ids.tolist() == ["train-0", "train-1", "train-2", "train-3"]
    assert train.known_labels.tolist() == [0, 1, 2, 1]
    assert validation.known_labels.tolist() == [2, 0]
    assert validation.split == "validation"
    assert test.labels is None
    assert len(test) == 3
    assert {part.class_names for part in (train, validation, test)} == {("rose", "daisy", "tulip")}
    assert isinstance(train.images, EncodedImages)


def test_without_classes_txt_classes_are_numbered_as_the_train_part_has_them(tmp_path: Path) -> None:
    write_size(tmp_path, "tfrecords-jpeg-8x8", labels={"train": (0, 3), "val": (1,), "test": ()})
    for split in ("train", "validation", "test"):
        assert load(split, tmp_path).class_names == ("class 0", "class 1", "class 2", "class 3")


def test_the_train_part_is_read_once_for_the_numbers_of_its_classes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_size(tmp_path, "tfrecords-jpeg-8x8")
    read: list[str] = []

    def read_and_tell(files: list[Path], **options: Any) -> RecordColumns:
        read.append(files[0].parent.name)
        return read_records(files, **options)

    monkeypatch.setattr("tpuens.data.flowers.read_records", read_and_tell)
    for split in ("train", "validation", "test"):
        load(split, tmp_path)
    assert read == ["train", "val", "test"]


def test_a_class_that_train_does_not_have_is_refused(tmp_path: Path) -> None:
    write_size(tmp_path, "tfrecords-jpeg-8x8", labels={"train": (0, 1), "val": (2,), "test": ()})
    with pytest.raises(DataError, match=r"must lie in 0\.\.1.*class \[2\] of id 'val-0'"):
        load("validation", tmp_path)


def test_a_label_without_a_name_is_refused(tmp_path: Path) -> None:
    write_size(tmp_path, "tfrecords-jpeg-8x8")
    (tmp_path / "classes.txt").write_text("rose\ndaisy\n")
    with pytest.raises(DataError, match=r"add the missing names.*class \[2\] of id 'train-2' in 01-8x8-3"):
        load("train", tmp_path)


def test_a_name_that_stands_twice_is_refused(tmp_path: Path) -> None:
    write_size(tmp_path, "tfrecords-jpeg-8x8")
    (tmp_path / "classes.txt").write_text("rose\ndaisy\nrose\n")
    with pytest.raises(DataError, match=r"classes\.txt with 3 names, 2 of them different"):
        load("train", tmp_path)


def test_the_largest_size_is_read_unless_the_folder_of_one_is_named(tmp_path: Path) -> None:
    small = write_size(tmp_path, "tfrecords-jpeg-8x8", 8)
    write_size(tmp_path, "tfrecords-jpeg-16x16", 16)
    write_size(tmp_path, "tfrecords-jpeg-100x100.partial", 32)  # a conversion that was stopped
    (tmp_path / "classes.txt").write_text("rose\ndaisy\ntulip\n")
    assert height(load("train", tmp_path)) == 16
    named = load("train", small)
    assert height(named) == 8
    assert named.class_names == ("rose", "daisy", "tulip")


def test_images_as_they_were_come_before_any_size_and_png_before_jpeg(tmp_path: Path) -> None:
    write_size(tmp_path, "tfrecords-jpeg-8x8", 8)
    write_size(tmp_path, "tfrecords-png-8x8", 9)
    assert height(load("train", tmp_path)) == 9
    write_size(tmp_path, "tfrecords-jpeg-original", 12)
    assert height(load("train", tmp_path)) == 12


def test_a_bucket_is_read_as_a_folder_is(tmp_path: Path) -> None:
    folder = write_size(tmp_path, "tfrecords-jpeg-8x8")
    url = "ram://test-flowers"  # a file system of TensorFlow's, as gs:// is one
    tf.io.gfile.makedirs(url)
    with tf.io.gfile.GFile(f"{url}/classes.txt", "w") as file:
        file.write("rose\ndaisy\ntulip\n")
    for file in folder.rglob("*.tfrec"):
        place = f"{url}/{file.relative_to(tmp_path).as_posix()}"
        tf.io.gfile.makedirs(os.path.dirname(place))  # noqa: PTH120 - a URL is no path
        tf.io.gfile.copy(str(file), place, overwrite=True)
    (tmp_path / "classes.txt").write_text("rose\ndaisy\ntulip\n")
    for where in (url, f"{url}/tfrecords-jpeg-8x8/"):
        assert load("train", where).fingerprint() == load("train", tmp_path).fingerprint()


def test_a_folder_without_records_says_what_is_expected(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"No TFRecords of any size .*Pass --data-dir .*Received: /"):
        load("train", tmp_path)
    write_size(tmp_path, "tfrecords-jpeg-8x8", labels={"train": (0, 1)})
    with pytest.raises(DataError, match=r"The part 'validation' has no file.*no \*\.tfrec in .*/val"):
        load("validation", tmp_path)


@pytest.mark.skipif("TPUENS_DATA_DIR" not in os.environ, reason="TPUENS_DATA_DIR is not set")
def test_the_real_flowers_have_the_counts_of_their_file_names() -> None:
    folder = Path(os.environ["TPUENS_DATA_DIR"]) / "flowers"
    parts = {split: load(split, folder) for split in ("train", "validation", "test")}
    names = folder.glob("tfrecords-*/*/*.tfrec")
    assert sum(map(len, parts.values())) == sum(int(name.stem.split("-")[-1]) for name in names)
    assert parts["test"].labels is None
    for split in ("train", "validation"):
        assert set(np.unique(parts[split].known_labels)) == set(range(len(parts[split].class_names)))
