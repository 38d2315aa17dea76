"""The files of a run's folder: written whole, and never mixed up with another run's."""

import errno
from pathlib import Path

import pytest

from tpuens.errors import ConfigurationError, DataError
from tpuens.recipes.run_folder import RunFolder

SPLIT = {"train": ["a", "b"], "validation": ["c"], "test": ["d"], "skipped": []}


class Model:
    """Writes itself as Keras does, until the disk is full."""

    def __init__(self, room: bool) -> None:
        self.room = room

    def save(self, path: Path) -> None:
        assert path.suffix == ".keras"
        path.write_bytes(b"model" if self.room else b"mo")
        if not self.room:
            raise OSError(errno.ENOSPC, "No space left on device")


def test_the_split_of_a_resumed_run_must_be_the_one_that_it_was_begun_with(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.write_split(SPLIT)
    folder.write_split(SPLIT)
    with pytest.raises(DataError, match=r"another train and validation part.*1 new examples.* e$"):
        folder.write_split(SPLIT | {"train": ["a", "c"], "validation": ["b", "e"]})
    assert folder.read_json("split.json") == SPLIT


def test_a_model_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.write_model(Model(room=True))
    with pytest.raises(DataError, match="No space left"):
        folder.write_model(Model(room=False))
    assert [path.name for path in tmp_path.iterdir()] == ["model.keras"]
    assert folder.model.read_bytes() == b"model"


def test_a_file_is_no_folder_for_a_run(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="choose another --output"):
        RunFolder(tmp_path / "file").create()


def test_a_run_goes_on_with_as_many_replicas_as_it_was_begun_with(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.write_batch(2, 64)
    folder.write_batch(2, 64)
    with pytest.raises(ConfigurationError, match=r"resume it on 2 replicas.*took 64 examples, on 1 replicas"):
        folder.write_batch(1, 32)


def test_what_a_kill_left_half_written_is_in_no_runs_way(tmp_path: Path) -> None:
    (tmp_path / "config.json1x2.part").touch()
    RunFolder(tmp_path).create()
    (tmp_path / "notes.txt").touch()
    with pytest.raises(ConfigurationError, match="which is not empty"):
        RunFolder(tmp_path).create()


def test_a_bucket_is_no_folder_for_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError, match="a folder of this machine"):
        RunFolder(Path("gs://bucket/run")).create()
    assert not list(tmp_path.iterdir())
