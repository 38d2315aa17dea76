"""Checksums of converted records, as `tpuens data verify` holds the files against them."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from tpuens.commands.data import data_app
from tpuens.data.checksums import Manifest, hash_file, write_manifest
from tpuens.errors import DataError


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    """The one shard of a conversion."""
    shard = tmp_path / "train" / "00-8x8-3.tfrec"
    shard.parent.mkdir()
    shard.write_bytes(b"three images")
    checksums = {"train/00-8x8-3.tfrec": hash_file(shard)}
    write_manifest(tmp_path, Manifest(source={"train": "ab"}, encoding="png", sha256=checksums))
    return shard


def test_whole_shards_are_counted(shard: Path) -> None:
    answer = CliRunner().invoke(data_app, ["verify", str(shard.parents[1])])
    assert answer.exit_code == 0
    assert answer.output.startswith("1 shards are as they were written")


def test_a_changed_shard_is_named(shard: Path) -> None:
    shard.write_bytes(b"three imagos")
    answer = CliRunner().invoke(data_app, ["verify", str(shard.parents[1])])
    assert isinstance(answer.exception, DataError)
    assert "train/00-8x8-3.tfrec has changed" in str(answer.exception)
    assert answer.exception.exit_code == 2


def test_a_folder_without_checksums_is_refused(tmp_path: Path) -> None:
    answer = CliRunner().invoke(data_app, ["verify", str(tmp_path)])
    assert "give the folder that holds it" in str(answer.exception)
