"""Decoding of real image files, and the search for corrupt ones."""

import io
import os
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from sklearn.datasets import load_sample_images

from tpuens.data.datasets import load_examples
from tpuens.data.decode import decode_image, drop_corrupt, find_corrupt, fit_image, make_reader
from tpuens.data.examples import EncodedImages, Examples, FileImages
from tpuens.data.remote import RemotePath
from tpuens.data.resize import make_resize
from tpuens.errors import DataError


@pytest.fixture(scope="module")
def photograph() -> Image.Image:
    """A sharp photograph, 640×427."""
    return Image.fromarray(load_sample_images().images[0])


def encode(image: Image.Image, kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def decode(contents: bytes, image_shape: tuple[int, int, int]) -> np.ndarray:
    image = decode_image(tf.constant(contents), image_shape)
    assert image.dtype == tf.uint8
    assert image.shape == image_shape
    pixels: np.ndarray = image.numpy()
    return pixels


def error_against_pillow(contents: bytes, image_shape: tuple[int, int, int]) -> float:
    """Returns the mean absolute difference from Pillow's own decoding and bilinear resizing, in 0..255."""
    mode = "L" if image_shape[2] == 1 else "RGB"
    with Image.open(io.BytesIO(contents)) as image:
        height, width, _ = image_shape
        expected = np.asarray(image.convert(mode).resize((width, height), Image.Resampling.BILINEAR))
    difference = decode(contents, image_shape) - expected.reshape(image_shape).astype(float)
    return float(np.abs(difference).mean())


@pytest.mark.parametrize(
    ("kind", "image_shape", "bound"),
    [
        ("PNG", (224, 224, 3), 0.5),
        ("PNG", (50, 80, 1), 0.7),
        ("BMP", (100, 100, 3), 0.5),
        ("JPEG", (427, 640, 3), 0.5),  # as it is
        ("JPEG", (600, 700, 3), 0.7),  # enlarged
        ("JPEG", (224, 224, 3), 7.5),  # just too small for a half: the worst case, with no help from libjpeg
        ("JPEG", (107, 160, 1), 4.5),  # decoded at a quarter
        ("JPEG", (32, 32, 3), 6.0),  # decoded at an eighth
    ],
)
def test_images_are_resized_much_as_pillow_does(
    photograph: Image.Image, kind: str, image_shape: tuple[int, int, int], bound: float
) -> None:
    assert error_against_pillow(encode(photograph, kind), image_shape) < bound


@pytest.mark.parametrize(
    ("image_shape", "ratio"),
    [((54, 80, 3), 8), ((55, 80, 3), 4), ((54, 81, 3), 4), ((107, 160, 3), 4), ((300, 20, 3), 1)],
)
def test_a_jpeg_is_decoded_at_the_largest_scale_that_is_not_too_small(
    photograph: Image.Image, image_shape: tuple[int, int, int], ratio: int
) -> None:
    contents = encode(photograph, "JPEG")  # 427 / 8 = 53.4, which libjpeg rounds up
    shrunk = tf.image.decode_jpeg(contents, ratio=ratio, dct_method="INTEGER_ACCURATE")
    expected = fit_image(shrunk, image_shape, make_resize(image_shape[:2]))
    assert np.array_equal(decode(contents, image_shape), expected)


def test_a_file_is_read_by_its_content_not_its_name(photograph: Image.Image, tmp_path: Path) -> None:
    path = tmp_path / "really-a-png.jpg"
    path.write_bytes(encode(photograph, "PNG"))
    assert decode(path.read_bytes(), (427, 640, 3)).tobytes() == photograph.tobytes()


@pytest.mark.parametrize("mode", ["L", "P", "LA", "RGBA", "1", "RGB"])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_kind_of_png_becomes_grey_or_rgb(photograph: Image.Image, mode: str, channels: int) -> None:
    contents = encode(photograph.resize((40, 30)).convert(mode), "PNG")
    assert error_against_pillow(contents, (30, 40, channels)) < 1


def test_grey_stays_the_same_grey_in_colour_and_back() -> None:
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16)
    contents = encode(Image.fromarray(ramp), "PNG")
    assert np.array_equal(decode(contents, (16, 16, 1))[..., 0], ramp)
    assert np.array_equal(decode(contents, (16, 16, 3)), np.stack([ramp] * 3, axis=-1))


def test_the_first_frame_of_an_animation_is_taken() -> None:
    frames = [Image.new("RGB", (20, 10), colour) for colour in ("red", "blue")]
    contents = encode(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert decode(contents, (10, 20, 3))[5, 5].tolist() == [255, 0, 0]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("mode", ["CMYK", "L"])
def test_cmyk_and_grey_jpegs_are_read(photograph: Image.Image, mode: str, channels: int) -> None:
    contents = encode(photograph.resize((40, 30)).convert(mode), "JPEG")
    assert error_against_pillow(contents, (30, 40, channels)) < 1.5


# --- Corrupt images -----------------------------------------------------------------------------------------


def write_folder(folder: Path, photograph: Image.Image) -> dict[str, bytes]:
    """Writes four whole images and returns the content of those that are not."""
    small = photograph.resize((64, 48))
    whole = encode(small, "JPEG")
    png = encode(small, "PNG")
    broken = {
        "cat/cut-at-the-end.jpg": whole[:-2],
        "cat/cut-in-half.jpg": whole[: len(whole) // 2],
        "dog/cut.png": png[: len(png) // 2],
        "dog/empty.jpg": b"",
        "dog/text.gif": b"not an image",
        "dog/progressive.jpg": encode(small, "JPEG", progressive=True)[:-40],
    }
    good = {"cat/1.jpg": whole, "cat/2.png": png, "dog/1.jpg": whole, "dog/2.gif": encode(small, "GIF")}
    for name, contents in (good | broken).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(contents)
    return broken


def every_example(folder: Path) -> Examples:
    train, test = (load_examples("image_folder", split, folder) for split in ("train", "test"))
    assert isinstance(train.images, FileImages)
    assert isinstance(test.images, FileImages)
    return Examples(
        dataset="image_folder",
        split="train",
        ids=np.concatenate([train.ids, test.ids]),
        labels=np.concatenate([train.known_labels, test.known_labels]),
        class_names=train.class_names,
        images=FileImages(paths=train.images.paths + test.images.paths),
    )


def test_truncated_empty_and_missing_images_are_found_and_whole_ones_kept(
    photograph: Image.Image, tmp_path: Path
) -> None:
    broken = write_folder(tmp_path, photograph)
    examples = every_example(tmp_path)
    (tmp_path / "dog" / "1.jpg").unlink()
    assert set(find_corrupt(examples)) == {*broken, "dog/1.jpg"}
    kept, dropped = drop_corrupt(examples)
    assert set(dropped) == {*broken, "dog/1.jpg"}
    assert sorted(kept.ids) == ["cat/1.jpg", "cat/2.png", "dog/2.gif"]
    labels = dict(zip(kept.ids.tolist(), kept.known_labels.tolist(), strict=True))
    assert labels == {"cat/1.jpg": 0, "cat/2.png": 0, "dog/2.gif": 1}


def test_a_data_set_of_corrupt_images_only_is_an_error(photograph: Image.Image, tmp_path: Path) -> None:
    broken = write_folder(tmp_path, photograph)
    examples = every_example(tmp_path)
    only_broken = examples.subset(np.flatnonzero(np.isin(examples.ids, list(broken))))
    with pytest.raises(DataError, match="6 images, the first of them"):
        drop_corrupt(only_broken)


def test_images_in_memory_are_never_corrupt() -> None:
    digits = load_examples("digits", "test")
    assert find_corrupt(digits) == []
    assert drop_corrupt(digits)[0].fingerprint() == digits.fingerprint()


def read_into_memory(examples: Examples) -> Examples:
    """Returns the examples with the bytes of their files in place of the paths."""
    assert isinstance(examples.images, FileImages)
    contents = [Path(path).read_bytes() for path in examples.images.paths]
    return replace(examples, images=EncodedImages(contents=np.array(contents, dtype=object)))


def test_images_in_memory_are_decoded_as_their_files_are(photograph: Image.Image, tmp_path: Path) -> None:
    broken = write_folder(tmp_path, photograph)
    on_disk = every_example(tmp_path)
    in_memory = read_into_memory(on_disk)
    assert set(find_corrupt(in_memory)) == set(broken)
    kept, dropped = drop_corrupt(in_memory)
    assert set(dropped) == set(broken)
    read_file = make_reader(drop_corrupt(on_disk)[0].images, (20, 30, 3))
    read_memory = make_reader(kept.images, (20, 30, 3))
    indices = tf.data.Dataset.range(len(kept))
    for ours, theirs in zip(indices.map(read_memory), indices.map(read_file), strict=True):
        assert np.array_equal(ours, theirs)


# --- Buckets (TensorFlow's file system in memory is reached by URL, as Google's is) -------------------------


def copy_to_memory(folder: Path, url: str) -> str:
    for file in folder.rglob("*"):
        if file.is_file():
            target = f"{url}/{file.relative_to(folder).as_posix()}"
            tf.io.gfile.makedirs(target.rpartition("/")[0])
            with tf.io.gfile.GFile(target, "wb") as stream:
                stream.write(file.read_bytes())
    return url


def write_leaves(folder: Path, photograph: Image.Image) -> Path:
    rows = [f"Train_{index},{index % 2},{1 - index % 2}" for index in range(4)]
    (folder / "images").mkdir(parents=True)
    (folder / "train.csv").write_text("\n".join(["image_id,healthy,rust", *rows]))
    (folder / "test.csv").write_text("image_id\nTest_0\n")
    for index, name in enumerate([*(row.split(",")[0] for row in rows), "Test_0"]):
        (folder / "images" / f"{name}.jpg").write_bytes(encode(photograph.resize((40 + index, 30)), "JPEG"))
    return folder


def test_a_data_set_reads_from_a_bucket_as_from_a_folder(photograph: Image.Image, tmp_path: Path) -> None:
    folder = write_leaves(tmp_path / "leaves", photograph)
    url = copy_to_memory(folder, "ram://bucket/plant_pathology")
    for split in ("train", "test"):
        local, remote = (load_examples("plant_pathology", split, place) for place in (folder, url))
        assert isinstance(remote.images, FileImages)
        assert remote.images.paths[0].startswith(f"{url}/images/T")
        assert remote.fingerprint() == local.fingerprint()
        assert remote.content_digests() == local.content_digests()
        assert remote.images.shape(0) == local.images.shape(0)
        assert np.array_equal(remote.images.read(0), local.images.read(0))
        ours, theirs = (make_reader(part.images, (20, 30, 3)) for part in (remote, local))
        assert np.array_equal(ours(tf.constant(0)), theirs(tf.constant(0)))


def test_an_image_that_has_gone_from_a_bucket_is_named(photograph: Image.Image, tmp_path: Path) -> None:
    folder = write_leaves(tmp_path / "leaves", photograph)
    url = copy_to_memory(folder, "ram://shrinking/plant_pathology")
    train = load_examples("plant_pathology", "train", "ram://shrinking")
    tf.io.gfile.remove(f"{url}/images/Train_2.jpg")
    assert find_corrupt(train) == ["Train_2"]
    with pytest.raises(DataError, match=r"Received: Train_2\.jpg: no such file"):
        train.fingerprint()
    with pytest.raises(DataError, match="without one: Train_2"):
        load_examples("plant_pathology", "train", url)


def test_class_folders_and_cifar_batches_are_read_from_a_bucket(
    photograph: Image.Image, tmp_path: Path
) -> None:
    for name in ("cat", "dog"):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for index in range(5):
            image = photograph.rotate(30 * index).resize((9, 9 + len(name) + ord(name[0]) % 2))
            (tmp_path / "pets" / name / f"{index}.png").write_bytes(encode(image, "PNG"))
    url = copy_to_memory(tmp_path / "pets", "ram://pets")
    remote, local = (load_examples("image_folder", "test", place) for place in (url, tmp_path / "pets"))
    assert remote.fingerprint() == local.fingerprint()
    batch = {b"data": np.zeros((2, 3072), np.uint8), b"labels": [1, 0]}
    for name, content in (("batches.meta", {b"label_names": [b"ship", b"frog"]}), ("data_batch_1", batch)):
        (tmp_path / "cifar").mkdir(exist_ok=True)
        (tmp_path / "cifar" / name).write_bytes(pickle.dumps(content))
    examples = load_examples("cifar10", "train", copy_to_memory(tmp_path / "cifar", "ram://small/cifar10"))
    assert examples.ids.tolist() == ["data_batch_1/00000", "data_batch_1/00001"]
    with pytest.raises(DataError, match=r"no ram://small/cifar10/test_batch"):
        load_examples("cifar10", "test", "ram://small")


def test_a_bucket_that_is_not_there_or_out_of_reach_is_a_clear_error() -> None:
    with pytest.raises(DataError, match=r"must be a folder that exists.*ram://nowhere"):
        load_examples("plant_pathology", "train", "ram://nowhere")
    with pytest.raises(DataError, match=r"cannot be looked into.*unknown://bucket.*scheme"):
        load_examples("plant_pathology", "train", "unknown://bucket")


def test_a_remote_path_has_the_parts_of_a_local_one() -> None:
    path = RemotePath("gs://bucket/leaves/") / "train.csv"
    assert (path.name, path.stem, path.suffix) == ("train.csv", "train", ".csv")
    assert str(path.parent) == "gs://bucket/leaves"
    assert sorted([path, path.parent]) == [path.parent, path]
    with pytest.raises(ValueError, match="to read bytes"):
        path.open("w")


# --- Real images --------------------------------------------------------------------------------------------


@pytest.mark.skipif("TPUENS_DATA_DIR" not in os.environ, reason="TPUENS_DATA_DIR is not set")
def test_real_photographs_are_whole_and_decode_as_pillow_does() -> None:
    paths = sorted(Path(os.environ["TPUENS_DATA_DIR"]).rglob("*.jpg"))[:40]
    examples = Examples(
        dataset="real",
        split="train",
        ids=np.array([str(index) for index in range(len(paths))]),
        labels=None,
        class_names=(),
        images=FileImages(paths=tuple(str(path) for path in paths)),
    )
    assert find_corrupt(examples) == []
    assert max(error_against_pillow(path.read_bytes(), (224, 224, 3)) for path in paths[:10]) < 4


# --- Downloads (they need Keras, so they are here) ----------------------------------------------------------


@pytest.fixture
def without_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves nothing to be found, so that Keras is asked."""
    monkeypatch.delenv("TPUENS_DATA_DIR", raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("without_data")
@pytest.mark.parametrize("name", ["cifar10", "fashion_mnist"])
def test_a_failed_download_says_what_to_do(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise Exception("URL fetch failure")

    monkeypatch.setattr(getattr(keras.datasets, name), "load_data", fail)
    with pytest.raises(DataError, match=r"could not be downloaded\. Pass --data-dir .* URL fetch failure"):
        load_examples(name, "train")


@pytest.mark.usefixtures("without_data")
def test_downloaded_cifar10_has_the_ids_of_its_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    train = np.zeros((10_002, 32, 32, 3), np.uint8), np.ones((10_002, 1), np.uint8)
    test = np.zeros((3, 32, 32, 3), np.uint8), np.full((3, 1), 9, np.uint8)
    monkeypatch.setattr(keras.datasets.cifar10, "load_data", lambda: (train, test))
    examples = load_examples("cifar10", "train")
    assert examples.ids[9_999] == "data_batch_1/09999"
    assert examples.ids[10_001] == "data_batch_2/00001"
    assert examples.known_labels.tolist() == [1] * 10_002
    assert load_examples("cifar10", "test").class_names[9] == "truck"
