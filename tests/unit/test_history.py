"""One scenario over commits and dates."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from bench.analysis.history import collect_history
from bench.cli import app
from bench.records.store import write_record
from bench.reporting.history_chart import history_sentences
from tpuens.errors import ConfigurationError

SECONDS = (1.0, 1.01, 0.99, 1.0, 1.02, 1.25, 1.24, 1.26, 1.25)


def make_runs(records, seconds=SECONDS, machine=None):
    """Returns a run folder's records for each: a train-step of so many seconds a block, a commit each."""
    return [
        [
            records.record(
                series=(records.series(seconds=(one,) * 3),),
                references=(records.series("matmul", examples=(0, 0, 0), seconds=(slow,) * 3),),
                environment=records.environment(git_commit=f"{number:07x}"),
            )
        ]
        for number, (one, slow) in enumerate(zip(seconds, machine or [1.0] * len(seconds), strict=True))
    ]


def test_a_change_of_level_is_found_where_it_happened(records):
    (line,), _ = collect_history(make_runs(records), "train-step")
    assert [change.at for change in line.changes] == [5]
    assert line.changes[0].ratio == pytest.approx(1 / 1.25, rel=0.02)
    assert line.points[5].commit == "0000005"
    (sentence,) = history_sentences([line])
    assert "9 runs" in sentence
    assert "-20.0% between" in sentence
    assert "(0000004)" in sentence


def test_noise_alone_changes_no_level(records):
    (line,), _ = collect_history(make_runs(records, (1.0, 1.02, 0.98, 1.01, 0.99, 1.0, 1.02)), "train-step")
    assert line.changes == ()
    assert "no change of level" in history_sentences([line])[0]


def test_what_the_machine_did_stands_beside_a_change(records):
    runs = make_runs(records, machine=[1.0] * 5 + [1.25] * 4)
    (line,), _ = collect_history(reversed(runs), "train-step")
    assert line.points[0].machine_speed == 1
    assert "the machine itself -20.0%" in history_sentences([line])[0]


def test_few_runs_say_that_they_are_few(records):
    (line,), _ = collect_history(make_runs(records, (1.0, 2.0)), "train-step")
    assert "too few runs" in history_sentences([line])[0]


def test_a_scenario_without_a_result_is_refused(records):
    with pytest.raises(ConfigurationError, match="inference"):
        collect_history(make_runs(records), "inference")


def test_the_command_draws_a_folder_of_run_folders(records, tmp_path: Path):
    for number, run in enumerate(make_runs(records)):
        write_record(tmp_path / "runs" / f"{number}", run[0])
    output = tmp_path / "history.svg"
    answer = CliRunner().invoke(
        app, ["history", "train-step", str(tmp_path / "runs"), "--output", str(output)]
    )
    assert answer.exit_code == 0, answer.output
    assert "9 runs" in answer.output
    assert output.read_text().startswith("<svg xmlns=")
    assert "-20%" in output.read_text().replace("\u2212", "-")
