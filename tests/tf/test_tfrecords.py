"""TFRecord files of images: what is read, and what is said of files that cannot be."""

import io
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tpuens.data.remote import RemotePath
from tpuens.data.tfrecords import Record, read_record_file, read_records, write_record_file
from tpuens.errors import DataError


def jpeg(value: int) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (8, 8), (value, 0, 255 - value)).save(stream, "JPEG")
    return stream.getvalue()


def records(
    start: int, count: int, label: Callable[[int], tuple[int, ...]] = lambda i: (i % 3,)
) -> list[Record]:
    numbers = range(start, start + count)
    return [Record(id=f"id-{i:03d}", label=label(i), image=jpeg(i)) for i in numbers]


def write(folder: Path, name: str, content: list[Record]) -> Path:
    file = folder / name
    write_record_file(file, content)
    return file


def write_raw(file: Path, **features: tf.train.Feature) -> Path:
    """Writes one record of these features."""
    example = tf.train.Example(features=tf.train.Features(feature=features))
    with tf.io.TFRecordWriter(str(file)) as writer:
        writer.write(example.SerializeToString())
    return file


def text(*values: bytes) -> tf.train.Feature:
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))


def numbers(*values: int) -> tf.train.Feature:
    return tf.train.Feature(int64_list=tf.train.Int64List(value=values))


def test_files_are_read_in_their_order_with_ids_labels_and_untouched_bytes(tmp_path: Path) -> None:
    first, second = records(0, 70), records(70, 3)  # more records than are taken at a time
    files = [write(tmp_path, "00-8x8-70.tfrec", first), write(tmp_path, "01-8x8-3.tfrec", second)]
    read = read_records(files, require_labels=True, num_classes=3)
    assert read.ids.tolist() == [record.id for record in first + second]
    assert read.labels is not None
    assert read.labels.dtype == np.int64
    assert read.labels.tolist() == [record.label[0] for record in first + second]
    assert read.images.tolist() == [record.image for record in first + second]
    turned = read_records(files[::-1], require_labels=True)
    assert turned.ids[:4].tolist() == ["id-070", "id-071", "id-072", "id-000"]


def test_the_same_records_are_the_same_bytes(tmp_path: Path) -> None:
    files = [write(tmp_path, f"{name}.tfrec", records(0, 40)) for name in ("a", "b")]
    content = files[0].read_bytes()
    assert content == files[1].read_bytes()
    # A map may be written in any order, one in each process; in that of its keys it is always the same.
    assert content.index(b"\n\x05class") < content.index(b"\n\x02id") < content.index(b"\n\x05image")


def test_records_on_a_bucket_are_read(tmp_path: Path) -> None:
    folder = RemotePath("ram://test-tfrecords")  # a file system of TensorFlow's, as gs:// is one
    tf.io.gfile.makedirs(str(folder))
    tf.io.gfile.copy(str(write(tmp_path, "00-8x8-2.tfrec", records(0, 2))), f"{folder}/00-8x8-2.tfrec", True)
    read = read_records([folder / "00-8x8-2.tfrec"], require_labels=True)
    assert read.ids.tolist() == ["id-000", "id-001"]


def test_a_name_without_a_count_promises_none(tmp_path: Path) -> None:
    assert len(read_record_file(write(tmp_path, "train.tfrec", records(0, 5)))) == 5


def test_unlabelled_records_are_read_where_labels_are_not_needed(tmp_path: Path) -> None:
    file = write(tmp_path, "00-8x8-2.tfrec", records(0, 2, lambda i: ()))
    assert read_records([file], require_labels=False).labels is None
    with pytest.raises(DataError, match=r"needs a class in every record.*'id-000' in 00-8x8-2\.tfrec"):
        read_records([file], require_labels=True)


def test_labels_that_only_some_records_have_are_refused(tmp_path: Path) -> None:
    file = write(tmp_path, "00-8x8-2.tfrec", [*records(0, 1), *records(1, 1, lambda i: ())])
    with pytest.raises(DataError, match=r"leave the record out\. Received: id 'id-001' in 00-8x8-2\.tfrec"):
        read_records([file], require_labels=False)


def test_several_values_of_class_are_a_multi_label_row(tmp_path: Path) -> None:
    rows = [(1, 0, 1), (0, 0, 0), (0, 1, 0)]
    file = write(tmp_path, "00-8x8-3.tfrec", records(0, 3, lambda i: rows[i]))
    labels = read_records([file], require_labels=True, num_classes=3).labels
    assert labels is not None
    assert labels.tolist() == [list(row) for row in rows]


@pytest.mark.parametrize(
    ("rows", "num_classes", "message"),
    [
        ([(0,), (5,)], 3, r"must lie in 0\.\.2, .*class \[5\] of id 'id-001' in 00-8x8-2\.tfrec"),
        ([(0,), (-1,)], None, r"must lie in 0\.\., .*class \[-1\] of id 'id-001'"),
        ([(1, 0), (2, 0)], 2, r"must be 2 of 0 or 1.*class \[2, 0\] of id 'id-001'"),
        ([(1, 0), (0, 1)], 3, r"must be 3 of 0 or 1.*class \[1, 0\] of id 'id-000'"),
        ([(1, 0), (0, 1, 1)], None, r"as many values of class as the first, 2.*\[0, 1, 1\] of id 'id-001'"),
    ],
)
def test_labels_that_do_not_fit_are_named(
    tmp_path: Path, rows: list[tuple[int, ...]], num_classes: int | None, message: str
) -> None:
    file = write(tmp_path, "00-8x8-2.tfrec", records(0, 2, lambda i: rows[i]))
    with pytest.raises(DataError, match=message):
        read_records([file], require_labels=True, num_classes=num_classes)


@pytest.mark.parametrize("cut", [0.3, 0.999])
def test_a_truncated_file_is_named(tmp_path: Path, cut: float) -> None:
    file = write(tmp_path, "00-8x8-9.tfrec", records(0, 9))
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * cut)])
    with pytest.raises(
        DataError, match=r"truncated or damaged, so fetch.*/00-8x8-9\.tfrec: truncated record"
    ):
        read_records([file], require_labels=True)


def test_a_damaged_byte_is_found(tmp_path: Path) -> None:
    file = write(tmp_path, "00-8x8-9.tfrec", records(0, 9))
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(DataError, match=r"truncated or damaged.*00-8x8-9\.tfrec: corrupted record"):
        read_records([file], require_labels=True)


def test_a_file_with_another_number_of_records_than_its_name_says_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path, "00-8x8-9.tfrec", records(0, 8))
    with pytest.raises(DataError, match=r"as its name says.*Received: 00-8x8-9\.tfrec with 8 records"):
        read_records([file], require_labels=True)


def test_missing_and_empty_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"must be there and readable.*none\.tfrec; No such file"):
        read_records([tmp_path / "none.tfrec"], require_labels=False)
    (tmp_path / "empty.tfrec").touch()
    with pytest.raises(DataError, match=r"must hold records.*empty\.tfrec, empty"):
        read_records([tmp_path / "empty.tfrec"], require_labels=False)
    with pytest.raises(DataError, match="no file"):
        read_records([], require_labels=False)


def test_records_that_lack_an_id_or_an_image_or_are_none_are_named(tmp_path: Path) -> None:
    file = write_raw(tmp_path / "a.tfrec", image=text(jpeg(0)))
    with pytest.raises(DataError, match=r"must have one id .*record 0 of a\.tfrec"):
        read_record_file(file)
    for image in (text(), text(b""), numbers(1)):
        file = write_raw(tmp_path / "b.tfrec", id=text(b"flower"), image=image)
        with pytest.raises(DataError, match=r"must have one image .*id 'flower' in b\.tfrec"):
            read_record_file(file)
    with tf.io.TFRecordWriter(str(tmp_path / "c.tfrec")) as writer:
        writer.write(b"\xff\xff\xff")
    with pytest.raises(DataError, match=r"must be a tf\.train\.Example .*record 0 of c\.tfrec"):
        read_record_file(tmp_path / "c.tfrec")


def test_a_file_that_is_there_twice_is_named(tmp_path: Path) -> None:
    files = [write(tmp_path, name, records(0, 2)) for name in ("00-8x8-2.tfrec", "00-8x8-2 (1).tfrec")]
    message = r"id 'id-000' in 00-8x8-2\.tfrec and in 00-8x8-2 \(1\)\.tfrec"
    with pytest.raises(DataError, match=message):
        read_records(files, require_labels=True)


@pytest.mark.skipif("TPUENS_DATA_DIR" not in os.environ, reason="TPUENS_DATA_DIR is not set")
def test_a_real_file_cut_short_is_named(tmp_path: Path) -> None:
    real = sorted(Path(os.environ["TPUENS_DATA_DIR"]).rglob("val/*.tfrec"))[0]
    whole = read_record_file(real)
    cut = tmp_path / real.name
    cut.write_bytes(real.read_bytes()[:-100])
    assert real.name.endswith(f"-{len(whole)}.tfrec")
    with pytest.raises(DataError, match=f"truncated or damaged.*{real.name}"):
        read_record_file(cut)
