"""`run --tune` with real workers: settings are chosen by trials, written down, and kept for the next run."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from bench.cli import app
from bench.records.record import RunRecord
from bench.records.store import read_folder

SMALL = ("--strategy", "cpu", "--backbone", "cifar_cnn", "--image-size", "8")


def tune(results: Path) -> RunRecord:
    answer = CliRunner().invoke(
        app, ["run", "train-step", *SMALL, "--tune", "--results", str(results)], catch_exceptions=False
    )
    assert answer.exit_code == 0, answer.output
    (record,) = (one for one in read_folder(results) if one.workload.scenario == "train-step")
    return record


@pytest.mark.slow
def test_settings_are_chosen_by_real_trials_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TPUENS_CACHE_DIR", str(tmp_path / "cache"))
    first = tune(tmp_path / "first")
    assert first.tuning is not None
    assert {"batch_size", "jit", "steps_per_execution"} <= set(first.tuning.chosen)
    assert first.configuration.per_replica_batch_size == first.tuning.chosen["batch_size"]
    assert len(first.tuning.trials) > 5
    assert len(list((tmp_path / "first" / "logs").glob("tuning-*.log"))) > 5
    second = tune(tmp_path / "second")
    assert second.tuning == first.tuning
    assert not list((tmp_path / "second" / "logs").glob("tuning-*.log"))
