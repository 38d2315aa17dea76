"""Every data set in the table, from real files."""

import gzip
import os
import pickle
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tpuens.data import photographs
from tpuens.data.augment import AUGMENTATIONS
from tpuens.data.datasets import DATASETS, load_examples
from tpuens.data.examples import FileImages
from tpuens.data.fashion_mnist import CLASS_NAMES
from tpuens.errors import ConfigurationError, DataError

# Its loader imports TensorFlow, to read TFRecords; it is tested beside the others that do.
WITH_TENSORFLOW = ("flowers",)


def test_every_data_set_says_what_a_listing_needs_and_its_factory_is_there() -> None:
    for name, row in DATASETS.items():
        assert row.name == name
        assert all([row.summary, row.classes, row.image_shape, row.source])
        assert row.default_image_size >= 28
        assert {"train", "test"} <= set(row.splits)
        assert name in WITH_TENSORFLOW or callable(row.load())


def test_listing_and_loading_import_no_tensorflow() -> None:
    source = (
        "import sys, tpuens.data.datasets, tpuens.data.augment\n"
        "assert 'numpy' not in sys.modules\n"
        "import tpuens.data.describe, tpuens.data.splits\n"
        "rows = tpuens.data.datasets.DATASETS.values()\n"
        f"[row.load() for row in rows if row.name not in {WITH_TENSORFLOW}]\n"
        "assert not {'tensorflow', 'keras', 'sklearn'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", source], check=True)
    assert "flip-horizontal" in AUGMENTATIONS


def test_an_unknown_data_set_or_split_names_those_that_would_do() -> None:
    with pytest.raises(ConfigurationError, match="Did you mean 'digits'"):
        load_examples("digit", "train")
    with pytest.raises(ConfigurationError, match="'train' or 'test'"):
        load_examples("digits", "validation")


def test_a_data_folder_is_asked_for_and_must_exist(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="--data-dir"):
        load_examples("image_folder", "train")
    with pytest.raises(DataError, match="nowhere"):
        load_examples("image_folder", "train", tmp_path / "nowhere")


def test_digits_are_scaled_exactly_and_split_the_same_way_always() -> None:
    train, test = load_examples("digits", "train"), load_examples("digits", "test")
    assert (len(train), len(test)) == (1437, 360)
    assert train.images.shape(0) == (8, 8, 1)
    assert not set(train.ids) & set(test.ids)
    assert train.class_names == test.class_names == tuple("0123456789")
    assert np.bincount(test.known_labels).min() >= 34
    values = {value for index in range(50) for value in train.images.read(index).ravel().tolist()}
    assert values <= {round(value * 255 / 16) for value in range(17)}
    assert {0, 255} <= values
    # These are what every accuracy measured on digits rests on: they must not change with a library.
    assert train.fingerprint() == "690cd1d10bc6338f"
    assert test.fingerprint() == "847b97f128821978"


# --- CIFAR-10 -----------------------------------------------------------------------------------------------


def write_cifar10(folder: Path, batch_sizes: tuple[int, ...], *, protocol: int = 2) -> None:
    """Writes the files of the python version: dictionaries whose keys are bytes, and rows of 3,072 values."""
    folder.mkdir(parents=True)

    def write(name: str, content: dict[bytes, Any]) -> None:
        (folder / name).write_bytes(pickle.dumps(content, protocol=protocol))

    write("batches.meta", {b"label_names": [b"frog", b"ship", b"truck"], b"num_vis": 3072})
    for number, size in enumerate(batch_sizes):
        name = "test_batch" if number == len(batch_sizes) - 1 else f"data_batch_{number + 1}"
        rows = np.arange(size * 3072).reshape(size, 3072) % 251
        labels = [(number + row) % 3 for row in range(size)]
        write(name, {b"data": rows.astype(np.uint8), b"labels": labels, b"batch_label": name.encode()})


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_cifar10_takes_counts_and_class_names_from_its_files(tmp_path: Path, protocol: int) -> None:
    write_cifar10(tmp_path / "cifar-10-batches-py", (4, 3, 5), protocol=protocol)
    train = load_examples("cifar10", "train", tmp_path)
    test = load_examples("cifar10", "test", tmp_path / "cifar-10-batches-py")
    assert (len(train), len(test)) == (7, 5)
    assert train.class_names == test.class_names == ("frog", "ship", "truck")
    assert train.known_labels.tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert train.ids[4] == "data_batch_2/00000"
    assert test.ids[0] == "test_batch/00000"


def test_a_cifar10_row_holds_one_plane_after_the_other(tmp_path: Path) -> None:
    write_cifar10(tmp_path / "cifar", (1, 1))
    image = load_examples("cifar10", "train", tmp_path / "cifar").images.read(0)
    assert image.shape == (32, 32, 3)
    assert image[0, 1].tolist() == [1, (1024 + 1) % 251, (2048 + 1) % 251]
    assert image[1, 0, 0] == 32


def test_ten_cifar10_batches_come_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    write_cifar10(tmp_path / "cifar", (1,) * 11)
    ids = load_examples("cifar10", "train", tmp_path / "cifar").ids
    assert ids[1].startswith("data_batch_2/")
    assert ids[9].startswith("data_batch_10/")


def test_a_cifar10_batch_that_would_run_code_is_refused(tmp_path: Path) -> None:
    class Attack:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(tmp_path / "attacked"),)

    write_cifar10(tmp_path / "cifar", (1, 1))
    (tmp_path / "cifar" / "test_batch").write_bytes(pickle.dumps({b"data": Attack(), b"labels": [0]}))
    with pytest.raises(DataError, match=r"asks to run something else.*mkdir"):
        load_examples("cifar10", "test", tmp_path / "cifar")
    assert not (tmp_path / "attacked").exists()


def test_a_missing_or_broken_cifar10_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"--data-dir .* no .*batches\.meta"):
        load_examples("cifar10", "train", tmp_path)
    write_cifar10(tmp_path / "cifar", (2, 2))
    batch = tmp_path / "cifar" / "data_batch_1"
    batch.write_bytes(batch.read_bytes()[:-100])
    with pytest.raises(DataError, match="data_batch_1 is no CIFAR-10 batch"):
        load_examples("cifar10", "train", tmp_path / "cifar")
    batch.unlink()
    with pytest.raises(DataError, match="no data_batch_1"):
        load_examples("cifar10", "train", tmp_path / "cifar")
    batch.write_bytes(pickle.dumps({b"data": np.zeros((2, 10), np.uint8), b"labels": [0, 1]}))
    with pytest.raises(DataError, match=r"data_batch_1 with data of uint8, shape \(2, 10\), and 2 labels"):
        load_examples("cifar10", "train", tmp_path / "cifar")


@pytest.mark.skipif("TPUENS_DATA_DIR" not in os.environ, reason="TPUENS_DATA_DIR is not set")
def test_real_cifar10_batches_are_read() -> None:
    train = load_examples("cifar10", "train", os.environ["TPUENS_DATA_DIR"])
    assert "airplane" in train.class_names
    assert np.bincount(train.known_labels).min() > 0
    assert 100 < train.images.read(0).mean() + train.images.read(1).mean() < 400


# --- Fashion-MNIST ------------------------------------------------------------------------------------------


def write_idx(path: Path, values: np.ndarray, *, kind: int = 8) -> None:
    header = bytes([0, 0, kind, values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape)
    path.write_bytes(gzip.compress(header + values.tobytes()))


def write_fashion_mnist(folder: Path) -> None:
    for prefix, count in (("train", 6), ("t10k", 4)):
        pixels = np.arange(count * 28 * 28).reshape(count, 28, 28) % 256
        write_idx(folder / f"{prefix}-images-idx3-ubyte.gz", pixels.astype(np.uint8))
        write_idx(folder / f"{prefix}-labels-idx1-ubyte.gz", np.arange(count, dtype=np.uint8))


def test_fashion_mnist_is_read_from_idx_files(tmp_path: Path) -> None:
    write_fashion_mnist(tmp_path)
    train, test = (load_examples("fashion_mnist", split, tmp_path) for split in ("train", "test"))
    assert (len(train), len(test)) == (6, 4)
    assert train.images.shape(0) == (28, 28, 1)
    assert train.images.read(1)[0, 2, 0] == (28 * 28 + 2) % 256
    assert test.known_labels.tolist() == [0, 1, 2, 3]
    assert test.class_names == CLASS_NAMES
    assert test.ids[3] == "t10k-00003"


def test_broken_fashion_mnist_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"--data-dir.*no .*train-images"):
        load_examples("fashion_mnist", "train", tmp_path)
    write_fashion_mnist(tmp_path)
    images = tmp_path / "train-images-idx3-ubyte.gz"
    whole = images.read_bytes()
    images.write_bytes(whole[:-20])
    with pytest.raises(DataError, match="cannot be unpacked"):
        load_examples("fashion_mnist", "train", tmp_path)
    images.write_bytes(gzip.compress(gzip.decompress(whole)[:-20]))
    with pytest.raises(DataError, match=r"4684 values for shape \(6, 28, 28\)"):
        load_examples("fashion_mnist", "train", tmp_path)
    write_idx(images, np.zeros((6, 28, 28), np.int32), kind=12)
    with pytest.raises(DataError, match="IDX file of unsigned bytes in 3 dimensions"):
        load_examples("fashion_mnist", "train", tmp_path)


# --- Folders of images --------------------------------------------------------------------------------------


def write_images(folder: Path, names: list[str]) -> None:
    """Writes images that are all different, also from those in other folders."""
    folder.mkdir(parents=True, exist_ok=True)
    for index, name in enumerate(names):
        pixels = np.full((6, 9, 3), index, dtype=np.uint8)
        pixels[0, 0] = list(folder.name.encode()[-3:])
        Image.fromarray(pixels).save(folder / name)


def test_a_folder_of_class_folders_is_split_by_a_fifth(tmp_path: Path) -> None:
    write_images(tmp_path / "dog", [f"{index}.png" for index in range(10)])
    write_images(tmp_path / "cat", [f"{index}.JPG" for index in range(4)] + ["4.bmp"])
    (tmp_path / "cat" / "notes.txt").write_text("not an image")
    (tmp_path / ".hidden").mkdir()
    train, test = (load_examples("image_folder", split, tmp_path) for split in ("train", "test"))
    assert train.class_names == test.class_names == ("cat", "dog")
    assert np.bincount(train.known_labels).tolist() == [4, 8]
    assert np.bincount(test.known_labels).tolist() == [1, 2]
    assert not set(train.ids) & set(test.ids)
    assert {"cat/4.bmp", "dog/9.png"} <= {*train.ids, *test.ids}
    assert isinstance(train.images, FileImages)
    assert all(Path(path).is_absolute() for path in train.images.paths)


def test_train_and_test_folders_are_taken_as_they_are(tmp_path: Path) -> None:
    for split, count in (("train", 3), ("test", 1)):
        for name in ("cat", "dog"):
            write_images(tmp_path / split / name, [f"{index}.png" for index in range(count)])
    train, test = (load_examples("image_folder", split, tmp_path) for split in ("train", "test"))
    assert (len(train), len(test)) == (6, 2)
    assert test.ids.tolist() == ["test/cat/0.png", "test/dog/0.png"]


def test_a_train_folder_alone_is_split_by_a_fifth(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        write_images(tmp_path / "train" / name, [f"{index}.png" for index in range(5)])
    test = load_examples("image_folder", "test", tmp_path)
    assert np.bincount(test.known_labels).tolist() == [1, 1]
    assert test.ids[0].startswith("train/cat/")


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    for name in ("train", "tram"):
        write_images(tmp_path / name, [f"{index}.png" for index in range(5)])
    assert load_examples("image_folder", "train", tmp_path).class_names == ("train", "tram")


def test_folders_that_cannot_be_used_say_why(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="one folder for each class"):
        load_examples("image_folder", "train", tmp_path)
    write_images(tmp_path / "cat", ["0.png", "1.png"])
    (tmp_path / "dog").mkdir()
    with pytest.raises(DataError, match="class 'dog'"):
        load_examples("image_folder", "train", tmp_path)
    write_images(tmp_path / "dog", ["0.png"])
    with pytest.raises(DataError, match="class 'dog' of 'image_folder' with 1 example"):
        load_examples("image_folder", "train", tmp_path)


def test_copies_of_an_image_are_all_for_training_or_all_for_testing(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        write_images(tmp_path / name, [f"{index}.png" for index in range(10)])
        for file in list((tmp_path / name).iterdir()):
            (tmp_path / name / f"copy-of-{file.name}").write_bytes(file.read_bytes())
    train, test = (load_examples("image_folder", split, tmp_path) for split in ("train", "test"))
    assert (len(train), len(test)) == (32, 8)
    assert not set(train.content_digests()) & set(test.content_digests())


def test_train_and_test_folders_must_hold_the_same_classes(tmp_path: Path) -> None:
    for folder in ("train/cat", "train/dog", "test/cat", "test/cow"):
        write_images(tmp_path / folder, ["0.png"])
    with pytest.raises(DataError, match="lacks dog and has besides cow"):
        load_examples("image_folder", "train", tmp_path)


# --- Photographs --------------------------------------------------------------------------------------------


def test_photographs_of_other_sizes_are_files_of_their_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TPUENS_CACHE_DIR", str(tmp_path))
    small, smaller = (photographs.make_photographs(width, 2) for width in (192, 96))
    assert (small.images.shape(0), smaller.images.shape(3)) == ((128, 192, 3), (64, 96, 3))
    assert small.ids.tolist() == smaller.ids.tolist()
    assert not {*small.images.paths} & {*smaller.images.paths}
    assert small.labels.tolist() == [0, 0, 1, 1]


def test_photographs_are_made_once_and_made_again_when_one_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TPUENS_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(photographs, "_CROPS", 5)
    train, test = (load_examples("photographs", split) for split in ("train", "test"))
    assert (len(train), len(test)) == (8, 2)
    assert train.class_names == ("china", "flower")
    assert train.images.shape(0) == (1365, 2048, 3)
    files = {path: path.read_bytes() for path in sorted(tmp_path.glob("photographs-pillow-*/*"))}
    assert len(files) == 10
    assert all(200_000 < len(content) < 360_000 for content in files.values())
    kept, lost = list(files)[:2]
    lost.unlink()
    written = kept.stat().st_mtime_ns
    assert load_examples("photographs", "train").fingerprint() == train.fingerprint()
    assert lost.read_bytes() == files[lost]
    assert kept.stat().st_mtime_ns == written


def test_a_cache_folder_that_cannot_be_written_is_an_error_with_a_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("TPUENS_CACHE_DIR", str(tmp_path / "file"))
    with pytest.raises(DataError, match="set TPUENS_CACHE_DIR"):
        load_examples("photographs", "train")


@pytest.mark.parametrize(
    ("platform", "variable", "expected"),
    [
        ("linux", None, ".cache/tpuens"),
        ("linux", "XDG_CACHE_HOME", "chosen/tpuens"),
        ("darwin", None, "Library/Caches/tpuens"),
        ("win32", "LOCALAPPDATA", "chosen/tpuens"),
        ("win32", None, "AppData/Local/tpuens"),
    ],
)
def test_the_cache_folder_is_the_platforms_own(
    platform: str, variable: str | None, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("TPUENS_CACHE_DIR", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    if variable:
        monkeypatch.setenv(variable, str(tmp_path / "chosen"))
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    assert photographs.cache_folder() == tmp_path / expected
