"""Decoded images kept on disk."""

import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tpuens.data.decode import READER_VERSION, name_corrupt_images
from tpuens.data.examples import EncodedImages, Examples, FileImages
from tpuens.data.pipeline import Pipeline, PipelineConfig
from tpuens.errors import DataError

SHAPE = (6, 5, 3)
COUNT = 12
Pixels = list[np.ndarray]


@pytest.fixture
def examples(tmp_path: Path) -> Examples:
    """Twelve PNG files of one grey each, in a folder of their own."""
    folder = tmp_path / "images"
    folder.mkdir()
    for index in range(COUNT):
        Image.new("L", (9, 8), 10 * index).save(folder / f"{index}.png")
    return Examples(
        dataset="greys",
        split="train",
        ids=np.array([str(index) for index in range(COUNT)]),
        labels=np.arange(COUNT, dtype=np.int64) % 2,
        class_names=("even", "odd"),
        images=FileImages(paths=tuple(str(folder / f"{index}.png") for index in range(COUNT))),
    )


def open_pipeline(examples: Examples, folder: Path, **options: Any) -> Pipeline:
    return Pipeline(
        examples, PipelineConfig(image_shape=SHAPE, cache="disk", cache_dir=folder / "cache", **options)
    )


def read_all(pipeline: Pipeline) -> Pixels:
    with name_corrupt_images(pipeline.examples):
        return [images for images, _ in pipeline.evaluation_batches(4).as_numpy_iterator()]


def remove_images(examples: Examples) -> None:
    """Makes the files unreadable but leaves what tells that they are the same: path, size and time."""
    for path in paths_of(examples):
        status = path.stat()
        path.write_bytes(bytes(status.st_size))
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def paths_of(examples: Examples) -> list[Path]:
    assert isinstance(examples.images, FileImages)
    return [Path(path) for path in examples.images.paths]


def kept_files(folder: Path) -> list[Path]:
    return sorted(path for path in (folder / "cache").rglob("*") if path.is_file())


def test_a_later_run_reads_the_disk_and_not_the_images(examples: Examples, tmp_path: Path) -> None:
    first = open_pipeline(examples, tmp_path)
    assert first.count_cached_bytes() == 0
    pixels = read_all(first)
    assert first.count_cached_bytes() == COUNT * 6 * 5 * 3
    assert [path.stat().st_size for path in kept_files(tmp_path)] == [6 * 5 * 3] * COUNT
    remove_images(examples)
    for pipeline in (first, open_pipeline(examples, tmp_path)):
        assert np.array_equal(read_all(pipeline), pixels)


def test_what_another_run_is_writing_is_none_of_this_ones(examples: Examples, tmp_path: Path) -> None:
    read_all(open_pipeline(examples, tmp_path))
    folder = kept_files(tmp_path)[0].parent
    (folder / "other.1-2.part").symlink_to("renamed-by-now")
    assert open_pipeline(examples, tmp_path).count_cached_bytes() == COUNT * 6 * 5 * 3


def test_the_disk_changes_no_batch(examples: Examples, tmp_path: Path) -> None:
    options: dict[str, Any] = {"augment": ("shift", "mixup"), "targets": "vector", "seed": 2}
    plain = Pipeline(examples, PipelineConfig(image_shape=SHAPE, **options))
    cached = open_pipeline(examples, tmp_path, **options)
    for epoch in (0, 1):
        batches = zip(plain.train_batches(4, epoch=epoch), cached.train_batches(4, epoch=epoch), strict=True)
        for (images, targets), (other_images, other_targets) in batches:
            assert np.array_equal(images, other_images)
            assert np.array_equal(targets, other_targets)


def test_parts_of_a_data_set_share_what_they_have_in_common(examples: Examples, tmp_path: Path) -> None:
    read_all(open_pipeline(examples.subset(range(8)), tmp_path))
    other = open_pipeline(examples.subset(range(11, 3, -1)), tmp_path)
    assert other.count_cached_bytes() == 4 * 6 * 5 * 3
    assert np.concatenate(read_all(other))[:, 0, 0, 0].tolist() == [10 * index for index in range(11, 3, -1)]


def test_a_file_that_changed_and_another_reader_or_shape_are_read_anew(
    examples: Examples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_all(open_pipeline(examples, tmp_path))
    path = paths_of(examples)[3]
    size, seen = path.stat().st_size, path.stat().st_mtime_ns
    Image.new("L", (9, 8), 99).save(path)
    os.utime(path, ns=(seen + 1, seen + 1))
    assert path.stat().st_size == size, "told apart by its time alone"
    changed = open_pipeline(examples, tmp_path)
    assert changed.count_cached_bytes() == (COUNT - 1) * 6 * 5 * 3
    assert read_all(changed)[0][3, 0, 0, 0] == 99
    monkeypatch.setattr("tpuens.data.disk.READER_VERSION", READER_VERSION + 1)
    assert open_pipeline(examples, tmp_path).count_cached_bytes() == 0
    wider = PipelineConfig(image_shape=(5, 6, 3), cache="disk", cache_dir=tmp_path / "cache")
    assert Pipeline(examples, wider).count_cached_bytes() == 0


def test_images_in_memory_are_known_by_their_content(examples: Examples, tmp_path: Path) -> None:
    contents = np.array([path.read_bytes() for path in paths_of(examples)], dtype=object)
    read_all(open_pipeline(replace(examples, images=EncodedImages(contents=contents)), tmp_path))
    turned = replace(examples, images=EncodedImages(contents=contents[::-1].copy()))
    pipeline = open_pipeline(turned, tmp_path)
    assert pipeline.count_cached_bytes() == COUNT * 6 * 5 * 3
    assert np.concatenate(read_all(pipeline))[:, 0, 0, 0].tolist() == [10 * i for i in range(11, -1, -1)]


def test_what_a_killed_run_left_is_not_taken_for_an_image(examples: Examples, tmp_path: Path) -> None:
    pixels = read_all(open_pipeline(examples, tmp_path))
    whole = kept_files(tmp_path)
    whole[0].write_bytes(whole[0].read_bytes()[:-1])
    whole[1].rename(whole[1].with_name(f"{whole[1].name}.1-1.part"))
    again = open_pipeline(examples, tmp_path)
    assert again.count_cached_bytes() == (COUNT - 2) * 6 * 5 * 3
    assert np.array_equal(read_all(again), pixels)
    assert again.count_cached_bytes() == COUNT * 6 * 5 * 3


def test_a_full_disk_is_said_before_anything_is_read(
    examples: Examples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=COUNT * 6 * 5 * 3 - 1))
        with pytest.raises(DataError, match=r"must fit on its disk: free some space, set TPUENS_CACHE_DIR"):
            open_pipeline(examples, tmp_path)
    read_all(open_pipeline(examples, tmp_path))
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=0))
    read_all(open_pipeline(examples, tmp_path))  # nothing more is to be written


def test_a_disk_that_fills_up_stops_the_run_with_the_remedy_and_leaves_no_part(
    examples: Examples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = open_pipeline(examples, tmp_path)

    def refuse(path: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(DataError, match=r"must be writable: free some space.*No space left on device$"):
        read_all(pipeline)
    assert kept_files(tmp_path) == []


def test_a_folder_that_cannot_be_made_is_refused(examples: Examples, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(DataError, match=r"must be writable: .*TPUENS_CACHE_DIR"):
        open_pipeline(examples, tmp_path)


def test_a_missing_image_is_named(examples: Examples, tmp_path: Path) -> None:
    paths_of(examples)[5].unlink()
    with pytest.raises(DataError, match=r"'greys' cannot be read: .*Received: 5\.png"):
        open_pipeline(examples, tmp_path)
