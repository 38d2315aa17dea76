"""`tpuens-bench check` on real runs of the digits data: what was planted breaks it, A/A does not."""

from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

from bench.cli import app
from bench.execution.compare_run import run_comparison
from bench.execution.launcher import launch_run
from bench.execution.limits import default_limits
from bench.execution.start import ROOT
from bench.records.record import RunRecord
from bench.records.store import write_record
from bench.suites import Request, Scenario

SMALL = Scenario(name="train-step", backbone="cifar_cnn", image_size=8, batch_size=32, seconds=12)
ENSEMBLE = Scenario(
    name="ensemble-accuracy",
    backbone="cifar_cnn",
    image_size=8,
    batch_size=16,
    options={"members": 2, "seeds": 3, "epochs": 3, "examples": 512},
)


def request_for(scenario: Scenario, planted: str | None = None) -> Request:
    return Request(suite="check", scenario=msgspec.structs.replace(scenario, planted=planted), strategy="cpu")


def hide_fault(record: RunRecord) -> RunRecord:
    """Returns the record as that of a fault that nobody knows of."""
    configuration = msgspec.structs.replace(record.configuration, planted=None)
    return msgspec.structs.replace(record, configuration=configuration)


def make_ensemble(folder: Path, planted: str | None = None) -> Path:
    request = request_for(ENSEMBLE, planted)
    record = launch_run(request, log=folder / "log", limits=default_limits())
    assert record.status == "ok", record.reason
    write_record(folder, hide_fault(record))
    return folder


def check(*arguments: object) -> tuple[int, str]:
    answer = CliRunner().invoke(app, ["check", *map(str, arguments)], catch_exceptions=False)
    return answer.exit_code, answer.output


@pytest.fixture(scope="module")
def baseline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_ensemble(tmp_path_factory.mktemp("baseline"))


def test_an_ensemble_with_one_members_weights_spoilt_breaks_the_gate(baseline: Path, tmp_path: Path) -> None:
    spoilt = make_ensemble(tmp_path / "spoilt", "spoilt-member")
    code, output = check("--results", spoilt, "--baseline", baseline)
    assert code == 1, output
    broken = [line for line in output.splitlines() if line.startswith("broken")]
    assert ["member 0" in line for line in broken].count(True) == 1
    assert all("member 1" not in line for line in broken)


@pytest.mark.slow
def test_the_same_ensemble_trained_again_keeps_quiet(baseline: Path, tmp_path: Path) -> None:
    again = make_ensemble(tmp_path / "again")
    code, output = check("--results", again, "--baseline", baseline)
    assert code == 0, output


@pytest.mark.slow
def test_a_planted_slowdown_breaks_the_gate(tmp_path: Path) -> None:
    made = tmp_path / "made"
    for record in run_comparison(
        request_for(SMALL), request_for(SMALL, "work:0.25"), made, budget_seconds=180
    ):
        write_record(tmp_path / "hidden", hide_fault(record))
    code, output = check("--results", tmp_path / "hidden")
    assert code == 1, output
    (broken,) = [line for line in output.splitlines() if line.startswith("broken")]
    assert broken.split()[1] == "speed"


@pytest.mark.slow
@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="only a clone has other commits")
def test_a_commit_against_itself_keeps_quiet(tmp_path: Path) -> None:
    small = ("--image-size", 8, "--batch-size", 32, "--strategy", "cpu")
    code, output = check(
        "train-step", "--against", "HEAD", *small, "--results", tmp_path / "out", "--budget", "3m"
    )
    assert code == 0, output
    assert "speed" in output
