"""TFRecord files of images: the layout of the Kaggle competition Flower Classification with TPUs.

A record is a `tf.train.Example` with three features:

- ``id``: bytes, the example's id;
- ``image``: bytes, an image file (JPEG in the competition; any that the pipeline decodes will do);
- ``class``: int64. One value is the number of the example's class. Several values, always as many as there
  are classes, are 0 or 1 each: a multi-label example is of those with a 1. Absent where unlabelled.

A file is named ``NN-HEIGHTxWIDTH-COUNT.tfrec``; COUNT is the number of its records.
"""

import re
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from ..errors import DataError
from .remote import DataPath

_BUFFER_BYTES = 8 * 2**20  # from a bucket, small reads cost a round trip each
_RECORDS_AT_A_TIME = 64


@dataclass(frozen=True, kw_only=True)
class Record:
    """One example of a TFRecord file.

    Attributes:
        id: The example's id.
        label: The values of ``class``; none where unlabelled.
        image: The bytes of the image file.
    """

    id: str
    label: tuple[int, ...]
    image: bytes


@dataclass(frozen=True, kw_only=True, eq=False)
class RecordColumns:
    """The examples of many TFRecord files, in the order of the files.

    Attributes:
        ids: (n,) strings, unique.
        labels: int64, (n,) class numbers or (n, k) of 0 and 1; None where unlabelled.
        images: (n,) objects, the bytes of the image files.
    """

    ids: npt.NDArray[np.str_]
    labels: npt.NDArray[np.int64] | None
    images: npt.NDArray[np.object_]


def read_records(
    files: Sequence[DataPath], *, require_labels: bool, num_classes: int | None = None
) -> RecordColumns:
    """Returns every example of some TFRecord files, several files being read at a time.

    Args:
        files: Local files, or URLs that TensorFlow reads.
        require_labels: Whether a record without ``class`` is an error. Otherwise labels are returned where
            the records have them.
        num_classes: How many classes there are; a label beyond them is an error. None: not known.

    Raises:
        DataError: There are no files or no records; a file is missing, truncated or damaged, or holds another
            number of records than its name says; a record lacks its id, its image or a label that is needed,
            has the id of another, or a label that does not fit.
    """
    if not files:
        raise DataError("Records are read from at least one TFRecord file. Received: no file")
    with ThreadPoolExecutor() as pool:
        shards = list(pool.map(read_record_file, files))
    records = [record for shard in shards for record in shard]
    sources = [file.name for file, shard in zip(files, shards, strict=True) for _ in shard]
    _check_unique(records, sources)
    images = np.empty(len(records), dtype=object)
    images[:] = [record.image for record in records]
    return RecordColumns(
        ids=np.array([record.id for record in records]),
        labels=_stack_labels(records, sources, require_labels=require_labels, num_classes=num_classes),
        images=images,
    )


def read_record_file(file: DataPath) -> list[Record]:
    """Returns the records of one file, as many as its name says; a name without a count promises none.

    Raises:
        DataError: As `read_records`, for what one file can show.
    """
    dataset = tf.data.TFRecordDataset(str(file), buffer_size=_BUFFER_BYTES).batch(_RECORDS_AT_A_TIME)
    try:
        serialized = [content for batch in dataset.as_numpy_iterator() for content in batch]
    except tf.errors.DataLossError as error:
        raise DataError(
            "A TFRecord file must be whole: this one is truncated or damaged, so fetch or make it again. "
            f"Received: {file}: {_first_words(error)}"
        ) from error
    except tf.errors.OpError as error:
        raise DataError(
            f"A TFRecord file must be there and readable. Received: {file}: {_first_words(error)}"
        ) from error
    promised = re.search(r"-(\d+)\.tfrec$", file.name)
    if promised and int(promised[1]) != len(serialized):
        raise DataError(
            "A TFRecord file holds as many records as its name says (NN-HEIGHTxWIDTH-COUNT.tfrec): fetch it "
            f"again, or correct the name if records were left out on purpose. Received: {file.name} with "
            f"{len(serialized)} records"
        )
    if not serialized:
        raise DataError(
            f"A TFRecord file must hold records: fetch it again or remove it. Received: {file}, empty"
        )
    return [_parse(content, file.name, position) for position, content in enumerate(serialized)]


def write_record_file(file: Path, records: Iterable[Record]) -> None:
    """Writes a TFRecord file; the same records give the same bytes.

    Raises:
        tf.errors.OpError: The file cannot be written, or the disk is full.
    """
    with tf.io.TFRecordWriter(str(file)) as writer:
        for record in records:
            feature = {"id": _bytes_feature(record.id.encode()), "image": _bytes_feature(record.image)}
            if record.label:
                feature["class"] = tf.train.Feature(int64_list=tf.train.Int64List(value=record.label))
            example = tf.train.Example(features=tf.train.Features(feature=feature))
            # Protocol buffers leave the order of a map open, unless asked to fix it.
            writer.write(example.SerializeToString(deterministic=True))


def _bytes_feature(value: bytes) -> tf.train.Feature:
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))


def _first_words(error: tf.errors.OpError) -> str:
    """Returns TensorFlow's message without the names of the graph nodes round it."""
    return re.sub(r"^\{\{.*?\}\} | \[Op:.*$", "", error.message)


def _parse(content: bytes, file: str, position: int) -> Record:
    try:
        features = tf.train.Example.FromString(content).features.feature
    except DecodeError as error:
        raise DataError(
            "A record must be a tf.train.Example with id, image and class: make the file again. "
            f"Received: record {position} of {file}, which is none"
        ) from error
    ids = features["id"].bytes_list.value
    if len(ids) != 1 or not ids[0]:
        raise DataError(
            "A record must have one id (feature 'id', bytes): make the file again. "
            f"Received: record {position} of {file} with {len(ids)}"
        )
    name = ids[0].decode(errors="backslashreplace")
    images = features["image"].bytes_list.value
    if len(images) != 1 or not images[0]:
        raise DataError(
            "A record must have one image (feature 'image', bytes): make the file again. "
            f"Received: id {name!r} in {file} with {len(images)}"
        )
    return Record(id=name, label=tuple(features["class"].int64_list.value), image=images[0])


def _check_unique(records: Sequence[Record], sources: Sequence[str]) -> None:
    seen: dict[str, str] = {}
    for record, source in zip(records, sources, strict=True):
        if record.id in seen:
            raise DataError(
                "An id may stand in one record only: remove the file that is there twice. "
                f"Received: id {record.id!r} in {seen[record.id]} and in {source}"
            )
        seen[record.id] = source


def _stack_labels(
    records: Sequence[Record], sources: Sequence[str], *, require_labels: bool, num_classes: int | None
) -> npt.NDArray[np.int64] | None:
    """Returns class numbers, (n,), or rows of 0 and 1, (n, k); None when no record has a label."""
    if not require_labels and not any(record.label for record in records):
        return None
    width = len(records[0].label)
    last = "" if num_classes is None else num_classes - 1
    for record, source in zip(records, sources, strict=True):
        received = f"Received: class {list(record.label)} of id {record.id!r} in {source}"
        if not record.label:
            raise DataError(
                "A labelled part needs a class in every record (feature 'class', int64): label it, or leave "
                f"the record out. Received: id {record.id!r} in {source} without one"
            )
        if len(record.label) != width:
            raise DataError(
                f"All records must have as many values of class as the first, {width}. {received}"
            )
        if width == 1 and not 0 <= record.label[0] < (num_classes or np.inf):
            raise DataError(
                f"A class number must lie in 0..{last}, one for each class name: correct it, or add the "
                f"missing names. {received}"
            )
        if width > 1 and (num_classes not in (None, width) or not set(record.label) <= {0, 1}):
            raise DataError(
                f"Where class has several values, they must be {num_classes or width} of 0 or 1, one for "
                f"each class. {received}"
            )
    labels = np.array([record.label for record in records], dtype=np.int64)
    return labels[:, 0] if width == 1 else labels
