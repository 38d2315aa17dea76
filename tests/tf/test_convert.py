"""Conversion to TFRecords: bit for bit, resumed, checked, and refused where it must be."""

import io
import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from sklearn.datasets import load_sample_images

from tpuens.data.checksums import verify_records
from tpuens.data.convert import convert_examples
from tpuens.data.datasets import DATASETS, load_examples
from tpuens.data.decode import decode_image
from tpuens.data.encode import Encoding
from tpuens.data.examples import ArrayImages, EncodedImages, Examples, FileImages
from tpuens.data.tfrecords import Record, write_record_file
from tpuens.errors import ConfigurationError, DataError, InterruptedRunError, RunError

AS_IT_WAS = Encoding()
NAMES = ("cat", "dog", "owl")


def photograph(width: int, height: int) -> Image.Image:
    return Image.fromarray(load_sample_images().images[0]).resize((width, height))


def write_files(folder: Path, *, same_size: bool) -> Examples:
    """Returns six image files: JPEG in colour and grey, and, unless all are of one size, a PNG and a GIF."""
    folder.mkdir()
    files = []
    for number in range(6):
        image = photograph(40 if same_size else 40 + number, 30).convert("L" if number == 1 else "RGB")
        kind = "jpeg" if same_size or number < 4 else ("png", "gif")[number - 4]
        image.save(folder / f"{number}.jpg", kind)  # the name tells nothing
        files.append(str(folder / f"{number}.jpg"))
    labels = np.array([0, 1, 2, 0, 1, 2])
    return part("train", FileImages(paths=tuple(files)), labels)


def part(
    split: str, images: FileImages | ArrayImages, labels: np.ndarray | None, prefix: str = "pet"
) -> Examples:
    return Examples(
        dataset="pets",
        split=split,
        ids=np.array([f"{prefix}/{index}.jpg" for index in range(len(images))]),
        labels=labels,
        class_names=NAMES,
        images=images,
    )


def arrays(count: int, channels: int = 3, size: int = 10) -> ArrayImages:
    pixels = np.random.default_rng(channels).integers(0, 256, (count, size, size, channels), dtype=np.uint8)
    return ArrayImages(pixels=pixels)


def contents(examples: Examples) -> list[bytes]:
    assert isinstance(examples.images, EncodedImages)
    result: list[bytes] = examples.images.contents.tolist()
    return result


def decode(content: bytes, shape: tuple[int, int, int]) -> np.ndarray:
    pixels: np.ndarray = decode_image(tf.constant(content), shape).numpy()
    return pixels


def assert_same_but_images(one: Examples, other: Examples) -> None:
    assert one.ids.tolist() == other.ids.tolist()
    assert one.class_names == other.class_names
    assert one.split == other.split
    assert (one.labels is None) == (other.labels is None)
    assert one.labels is None or np.array_equal(one.labels, other.known_labels)


def snapshot(folder: Path) -> dict[str, bytes]:
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*.*")
            if file.is_file()}  # fmt: skip


# --- Bit for bit --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 3])
def test_images_in_memory_come_back_bit_for_bit(tmp_path: Path, channels: int) -> None:
    train = part("train", arrays(7, channels), np.array([0, 1, 2, 0, 1, 2, 2]))
    test = part("test", arrays(3, channels), None, "new")
    conversion = convert_examples([train, test], tmp_path, encoding=AS_IT_WAS, shards=2)
    assert conversion.folder == tmp_path / "tfrecords-png-10x10"
    assert sorted(file.name for file in conversion.folder.glob("*/*")) == [
        "00-10x10-1.tfrec", "00-10x10-3.tfrec", "01-10x10-2.tfrec", "01-10x10-4.tfrec",
    ]  # fmt: skip
    assert (conversion.num_examples, conversion.shards_written, conversion.shards_kept) == (10, 4, 0)
    for source in (train, test):
        back = load_examples("flowers", source.split, tmp_path)
        assert_same_but_images(source, back)
        for index, content in enumerate(contents(back)):
            assert np.array_equal(decode(content, (10, 10, channels)), source.images.read(index))
            with Image.open(io.BytesIO(content)) as image:
                assert image.mode == ("L" if channels == 1 else "RGB")


def test_image_files_keep_their_bytes_and_convert_to_the_same_records_again(tmp_path: Path) -> None:
    source = write_files(tmp_path / "files", same_size=True)
    folder = convert_examples([source], tmp_path / "a", encoding=AS_IT_WAS, shards=4, workers=3).folder
    assert folder.name == "tfrecords-jpeg-30x40"  # height first
    back = load_examples("flowers", "train", tmp_path / "a")
    assert_same_but_images(source, back)
    assert contents(back) == [Path(file).read_bytes() for file in source.images.paths]  # type: ignore[union-attr]
    again = convert_examples([back], tmp_path / "b", encoding=AS_IT_WAS, shards=4, workers=1).folder
    shards = {name: content for name, content in snapshot(folder).items() if name.endswith(".tfrec")}
    assert shards == {n: c for n, c in snapshot(again).items() if n.endswith(".tfrec")}
    assert len(shards) == 4


def test_files_of_several_sizes_and_formats_are_called_mixed_and_original(tmp_path: Path) -> None:
    source = write_files(tmp_path / "files", same_size=False)
    folder = convert_examples([source], tmp_path / "out", encoding=AS_IT_WAS, shards=1).folder
    assert [file.name for file in folder.glob("train/*")] == ["00-original-6.tfrec"]
    assert folder.name == "tfrecords-mixed-original"
    assert contents(load_examples("flowers", "train", tmp_path / "out")) == [
        Path(file).read_bytes()
        for file in source.images.paths  # type: ignore[union-attr]
    ]


def test_multi_label_rows_come_back(tmp_path: Path) -> None:
    rows = np.array([[1, 0, 1], [0, 0, 0], [1, 1, 1], [0, 1, 0]])
    convert_examples([part("train", arrays(4), rows)], tmp_path, encoding=AS_IT_WAS)
    back = load_examples("flowers", "train", tmp_path)
    assert back.is_multi_label
    assert back.known_labels.tolist() == rows.tolist()


# --- Resized and encoded anew -------------------------------------------------------------------------------


def test_resized_images_look_like_what_the_pipeline_makes_of_the_file(tmp_path: Path) -> None:
    source = write_files(tmp_path / "files", same_size=False)
    folder = convert_examples([source], tmp_path, encoding=Encoding(image_size=16, image_format="png")).folder
    assert folder.name == "tfrecords-png-16x16"
    back = contents(load_examples("flowers", "train", tmp_path))
    for path, content in zip(source.images.paths, back, strict=True):  # type: ignore[union-attr]
        expected = decode(Path(path).read_bytes(), (16, 16, 3)).astype(float)
        assert np.abs(decode(content, (16, 16, 3)) - expected).mean() < 8
    with Image.open(io.BytesIO(back[1])) as grey:
        assert (grey.mode, grey.size) == ("L", (16, 16))


def test_resized_images_are_jpeg_of_the_asked_quality_unless_told_otherwise(tmp_path: Path) -> None:
    source = part("train", ArrayImages(pixels=np.asarray(photograph(64, 64))[np.newaxis]), np.array([2]))
    sizes = []
    for quality in (20, 95):
        output = tmp_path / str(quality)
        folder = convert_examples([source], output, encoding=Encoding(image_size=32, quality=quality)).folder
        assert folder.name == "tfrecords-jpeg-32x32"
        (content,) = contents(load_examples("flowers", "train", output))
        assert content[:2] == b"\xff\xd8"
        sizes.append(len(content))
    assert sizes[0] < 0.7 * sizes[1]


# --- Stopped, resumed, checked ------------------------------------------------------------------------------


@pytest.fixture
def source() -> Examples:
    return part("train", arrays(40), np.arange(40) % 3)


@pytest.fixture
def whole(source: Examples, tmp_path: Path) -> dict[str, bytes]:
    """What an undisturbed conversion writes."""
    convert_examples([source], tmp_path / "whole", encoding=AS_IT_WAS, shards=4)
    return snapshot(tmp_path / "whole")


def test_ctrl_c_keeps_the_finished_shards_and_the_same_call_goes_on(
    source: Examples, whole: dict[str, bytes], tmp_path: Path
) -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it

    def press_ctrl_c(done: int, total: int) -> None:
        if done == 25:
            signal.raise_signal(signal.SIGINT)

    output = tmp_path / "out"
    with pytest.raises(InterruptedRunError, match="2 of 4 shards are written"):
        convert_examples([source], output, encoding=AS_IT_WAS, shards=4, on_progress=press_ctrl_c)
    signal.signal(signal.SIGINT, before)
    with pytest.raises(DataError, match="No TFRecords of any size"):
        load_examples("flowers", "train", output)  # a part is never taken for the whole
    seen: list[tuple[int, int]] = []
    conversion = convert_examples(
        [source], output, encoding=AS_IT_WAS, shards=4, on_progress=lambda *counts: seen.append(counts)
    )
    assert (conversion.shards_written, conversion.shards_kept) == (2, 2)
    assert seen == [(done, 40) for done in range(21, 41)]
    assert snapshot(output) == whole


KILLED = """
import os, signal, sys
from pathlib import Path
from tpuens.data.convert import convert_examples
from tpuens.data.datasets import load_examples
from tpuens.data.encode import Encoding
def kill(done, total):
    if done == 200:
        os.kill(os.getpid(), signal.SIGKILL)
convert_examples([load_examples("digits", "test")], Path(sys.argv[1]), encoding=Encoding(), on_progress=kill)
"""


def test_a_conversion_that_was_killed_is_finished_by_the_same_call(tmp_path: Path) -> None:
    code = subprocess.run([sys.executable, "-c", KILLED, tmp_path / "out"], capture_output=True, check=False)
    assert code.returncode == -signal.SIGKILL, code.stderr
    digits = [load_examples("digits", "test")]
    conversion = convert_examples(digits, tmp_path / "out", encoding=AS_IT_WAS)
    assert conversion.shards_kept == 8  # of 16, with 22 or 23 images each
    convert_examples(digits, tmp_path / "whole", encoding=AS_IT_WAS)
    assert snapshot(tmp_path / "out") == snapshot(tmp_path / "whole")


def test_a_shard_that_has_changed_is_found_and_made_again(
    source: Examples, whole: dict[str, bytes], tmp_path: Path
) -> None:
    folder = tmp_path / "whole" / "tfrecords-png-10x10"
    assert verify_records(folder) == 4
    changed, lost = sorted(folder.glob("*/*.tfrec"))[1:3]
    content = bytearray(changed.read_bytes())
    content[100] ^= 1
    changed.write_bytes(content)
    lost.unlink()
    (folder / "train" / "04-10x10-9.tfrec").write_bytes(b"not ours")
    with pytest.raises(DataError) as caught:
        verify_records(folder)
    assert str(caught.value).endswith(
        f"train/{lost.name} is missing, train/04-10x10-9.tfrec is not listed, "
        f"train/{changed.name} has changed"
    )
    (folder / "train" / "04-10x10-9.tfrec").unlink()
    conversion = convert_examples([source], tmp_path / "whole", encoding=AS_IT_WAS, shards=4)
    assert (conversion.shards_written, conversion.shards_kept) == (2, 2)
    assert snapshot(tmp_path / "whole") == whole


# --- Refused ------------------------------------------------------------------------------------------------


def test_a_folder_with_other_records_is_refused(source: Examples, whole: object, tmp_path: Path) -> None:
    output = tmp_path / "whole"
    other = part("train", arrays(40), np.arange(40)[::-1] % 3)
    with pytest.raises(DataError, match=r"give another --output.* where source differ"):
        convert_examples([other], output, encoding=AS_IT_WAS, shards=4)
    with pytest.raises(DataError, match=r"tfrecords-png-10x10, where shards differ"):
        convert_examples([source], output, encoding=AS_IT_WAS, shards=5)
    with pytest.raises(DataError, match=r"tfrecords-png-10x10, where encoding differ"):
        convert_examples([source], output, encoding=Encoding(image_size=10, image_format="png"), shards=4)
    (output / "classes.txt").write_text("one\ntwo\nthree\n")
    with pytest.raises(DataError, match=r"classes\.txt, which names other classes"):
        convert_examples([source], output, encoding=Encoding(image_size=12), shards=4)


def test_records_that_were_not_converted_here_are_never_touched(source: Examples, tmp_path: Path) -> None:
    folder = tmp_path / "tfrecords-png-10x10" / "train"
    folder.mkdir(parents=True)
    (folder / "00-10x10-40.tfrec").write_bytes(b"precious")
    with pytest.raises(DataError, match=r"have a checksums\.json beside them"):
        convert_examples([source], tmp_path, encoding=AS_IT_WAS, shards=1)
    assert snapshot(tmp_path) == {"tfrecords-png-10x10/train/00-10x10-40.tfrec": b"precious"}


@pytest.mark.parametrize("encoding", [AS_IT_WAS, Encoding(image_size=8)])
def test_a_truncated_image_is_named(tmp_path: Path, encoding: Encoding) -> None:
    source = write_files(tmp_path / "files", same_size=True)
    broken = tmp_path / "files" / "4.jpg"
    broken.write_bytes(broken.read_bytes()[:-200])
    with pytest.raises(DataError, match=r"mend or remove.*pet/4\.jpg of 'pets': image file is truncated"):
        convert_examples([source], tmp_path / "out", encoding=encoding, shards=1)
    assert not list(tmp_path.rglob("*.part"))
    broken.write_bytes(b"no image")
    with pytest.raises(DataError, match=r"pet/4\.jpg of 'pets': cannot identify"):
        convert_examples([source], tmp_path / "out", encoding=encoding, shards=1)
    photograph(40, 30).save(broken)  # mended, it is no longer in the way
    assert convert_examples([source], tmp_path / "out", encoding=encoding, shards=1).shards_written == 1


# No file may grow beyond 4 KB, as on a disk that is nearly full; in a process of its own, as the limit holds
# for whatever pytest's output goes to as well.
SMALL_DISK = """
import resource, sys
from pathlib import Path
from tpuens.data.convert import convert_examples
from tpuens.data.datasets import load_examples
from tpuens.data.encode import Encoding
from tpuens.errors import RunError
examples = load_examples("digits", "test")
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
try:
    convert_examples([examples], Path(sys.argv[1]), encoding=Encoding(), shards=4)
except RunError as error:
    print("ERROR", error)
"""


def test_a_full_disk_is_one_clear_error(tmp_path: Path) -> None:
    code = subprocess.run(
        [sys.executable, "-c", SMALL_DISK, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert re.search(r"ERROR .*free some space.*after the 0 of 4 shards.*\.partial: .", code.stdout), (
        code.stderr
    )
    assert not list(tmp_path.rglob("*.tfrec"))


def test_a_disk_that_gives_back_something_else_is_noticed(
    source: Examples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_falsely(file: Path, records: Sequence[Record]) -> None:
        write_record_file(file, [*records[1:], records[0]])

    monkeypatch.setattr("tpuens.data.convert.write_record_file", write_falsely)
    with pytest.raises(RunError, match=r"read back must be what was written.*00-10x10-10\.tfrec"):
        convert_examples([source], tmp_path, encoding=AS_IT_WAS, shards=4)
    assert not list(tmp_path.rglob("*.tfrec"))


def test_class_names_and_labels_that_would_not_come_back_are_refused(tmp_path: Path) -> None:
    lonely = Examples(
        dataset="pets",
        split="train",
        ids=np.array(["a"]),
        labels=np.array([[1]]),
        class_names=("cat",),
        images=arrays(1),
    )
    with pytest.raises(DataError, match="at least two classes"):
        convert_examples([lonely], tmp_path, encoding=AS_IT_WAS)
    two_lines = Examples(
        dataset="pets",
        split="train",
        ids=np.array(["a"]),
        labels=np.array([0]),
        class_names=("cat\nor dog",),
        images=arrays(1),
    )
    with pytest.raises(DataError, match=r"a line each.*cat\\nor dog"):
        convert_examples([two_lines], tmp_path, encoding=AS_IT_WAS)
    with pytest.raises(DataError, match="Received: none in 'train'"):
        convert_examples([two_lines.subset([])], tmp_path, encoding=AS_IT_WAS)


@pytest.mark.parametrize("bad", [{"image_size": 0}, {"quality": 101}, {"image_format": "webp"}])
def test_encodings_that_cannot_be_are_refused(bad: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError, match=r"Received: (image_size=0|quality=101|format='webp')"):
        Encoding(**bad)  # type: ignore[arg-type]


@pytest.mark.skipif("TPUENS_DATA_DIR" not in os.environ, reason="TPUENS_DATA_DIR is not set")
@pytest.mark.parametrize("dataset", ["flowers", "plant_pathology"])
def test_real_photographs_come_back_bit_for_bit(dataset: str, tmp_path: Path) -> None:
    sources = [load_examples(dataset, split).subset(range(100)) for split in DATASETS[dataset].splits]
    convert_examples(sources, tmp_path, encoding=AS_IT_WAS, shards=3)
    for source in sources:
        back = load_examples("flowers", source.split, tmp_path)
        assert_same_but_images(source, back)
        assert back.images.content_digests() == source.images.content_digests()
