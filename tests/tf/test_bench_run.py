"""`tpuens-bench run` with real workers: records, a killed worker, a killed launcher, and what resumes."""

import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from bench.records.store import read_folder

START = [sys.executable, "-c", "from tpuens.bench_command import main; main()"]
# Two runs of a few seconds each.
RUNS = ["train-step", "inference", "--strategy", "cpu", "--image-size", "8", "--batch-size", "4"]


ONEDNN = "TF_ENABLE_ONEDNN_OPTS"
TOLD = "1" if platform.machine().lower() in ("x86_64", "amd64") else None


def start(*arguments: str, cwd: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [*START, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=cwd,
        env={name: value for name, value in os.environ.items() if name != ONEDNN}
        | {"CUDA_VISIBLE_DEVICES": "-1"},
    )


def call(*arguments: str, cwd: Path) -> "subprocess.CompletedProcess[str]":
    process = start(*arguments, cwd=cwd)
    output, errors = process.communicate(timeout=200)
    return subprocess.CompletedProcess(arguments, process.returncode, output, errors)


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 100
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def records(folder: Path) -> list[Path]:
    return list((folder / "records").glob("*.json"))


def test_a_run_gives_a_record_a_table_and_a_report(tmp_path: Path) -> None:
    answer = call(
        "run",
        "train-epoch",
        *RUNS[2:],
        "--option",
        "examples=64",
        "--profile",
        "--results",
        "out",
        cwd=tmp_path,
    )
    assert answer.returncode == 0, answer.stderr
    assert "train-epoch" in answer.stdout
    assert "waits for input" in " ".join(answer.stdout.split())
    assert str(Path("out") / "report.html") in answer.stdout
    (record,) = read_folder(tmp_path / "out")
    assert record.status == "ok"
    assert [series.name for series in record.series] == ["compute", "input", "both"]
    both = record.series[2]
    assert both.blocked_seconds is not None
    assert sum(both.blocked_seconds) < sum(both.seconds)
    assert both.call_seconds is not None
    assert 0 < sum(both.call_seconds) + sum(both.blocked_seconds) < sum(both.seconds)
    assert sum(both.steps) >= 2 * 64 // 4
    assert [series.name for series in record.references] == ["matmul", "stream", "small-cnn"]
    assert all(min(series.seconds) > 0 for series in record.references)
    assert record.phases["references"] < 5
    assert record.flops is not None
    assert record.flops.per_example > 1e6
    assert record.phases["flops"] < 10
    assert 0 < min(record.null_step_seconds) < 0.005 * 0.05
    phases = {"process_start", "import", "strategy", "data", "build", "trace", "first_step", "steady"}
    assert phases <= set(record.phases)
    assert 0 <= record.phases["other"] < 5
    assert record.environment is not None
    assert record.environment.variables.get(ONEDNN) == TOLD
    assert record.memory is not None
    assert record.memory.peak_resident_bytes > 2**28
    assert record.memory.timeline_interval_seconds == pytest.approx(0.1)
    points = record.memory.timeline_bytes
    assert len(points) * 0.1 > 0.7 * sum(record.phases.values())
    assert points[0] < 2**28 < max(points) <= 1.05 * record.memory.peak_resident_bytes
    traces = list((tmp_path / "out" / "profiles").rglob("*.xplane.pb"))
    assert sorted(trace.relative_to(tmp_path).parts[3] for trace in traces) == [
        "00-compute",
        "01-input",
        "02-both",
    ]
    assert f"traces: {Path('out') / 'profiles'}" in answer.stdout
    assert record.phases["profile"] > 0
    for name in "report.html", "report.md", "report.csv":
        assert (tmp_path / "out" / name).stat().st_size > 500


def test_a_killed_worker_costs_one_record_and_resume_makes_it(tmp_path: Path) -> None:
    launcher = start("run", *RUNS, "--results", "out", cwd=tmp_path)
    wait_for(lambda: psutil.Process(launcher.pid).children())
    psutil.Process(launcher.pid).children()[0].send_signal(signal.SIGKILL)
    output, errors = launcher.communicate(timeout=200)
    assert launcher.returncode == 1
    assert "--resume" in errors
    assert {record.status for record in read_folder(tmp_path / "out")} == {"failed", "ok"}
    assert "SIGKILL" in output.replace("\n", " ")

    answer = call("run", "--resume", "--results", "out", cwd=tmp_path)
    assert answer.returncode == 0, answer.stderr
    made = read_folder(tmp_path / "out")
    assert sorted(record.status for record in made) == ["failed", "ok", "ok"]


@pytest.mark.skipif(sys.platform == "win32", reason="signals are told otherwise there")
def test_a_killed_launcher_loses_no_finished_record_and_takes_its_worker_along(tmp_path: Path) -> None:
    launcher = start("run", *RUNS, "--results", "out", cwd=tmp_path)
    wait_for(lambda: records(tmp_path / "out") and psutil.Process(launcher.pid).children())
    worker = psutil.Process(launcher.pid).children()[0]
    launcher.send_signal(signal.SIGKILL)
    launcher.communicate(timeout=20)
    wait_for(lambda: not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE)
    (finished,) = read_folder(tmp_path / "out")
    assert finished.status == "ok"
    assert not [path for path in (tmp_path / "out").rglob("*") if "partial" in path.name]

    answer = call("run", "--resume", "--results", "out", cwd=tmp_path)
    assert answer.returncode == 0, answer.stderr
    made = read_folder(tmp_path / "out")
    assert [record.status for record in made] == ["ok", "ok"]
    assert finished.id in {record.id for record in made}


def test_ctrl_c_keeps_what_was_finished_and_says_how_to_go_on(tmp_path: Path) -> None:
    launcher = start("run", *RUNS, "--results", "out", cwd=tmp_path)
    wait_for(lambda: psutil.Process(launcher.pid).children())
    launcher.send_signal(signal.SIGINT)
    _, errors = launcher.communicate(timeout=20)
    assert launcher.returncode == 130
    assert "tpuens-bench run --resume --results out" in errors
    assert "Traceback" not in errors


def test_an_error_in_the_worker_is_told_in_its_record(tmp_path: Path) -> None:
    answer = call(
        "run", "train-step", "--strategy", "cpu", "--image-size", "7", "--results", "o", cwd=tmp_path
    )
    assert answer.returncode == 1
    (record,) = read_folder(tmp_path / "o")
    assert record.status == "failed"
    assert "8" in (record.reason or "")


def test_a_device_that_is_not_here_ends_with_its_reason(tmp_path: Path) -> None:
    answer = call("run", "train-step", "--strategy", "gpu", "--results", "out", cwd=tmp_path)
    assert answer.returncode == 2
    assert "no GPU" in answer.stderr.replace("\n", " ")


def test_the_loops_of_others_have_tensorflow_as_it_comes(tmp_path: Path) -> None:
    answer = call("run", "train-step", *RUNS[2:], "--loop", "keras-fit", "--results", "out", cwd=tmp_path)
    assert answer.returncode == 0, answer.stderr
    (record,) = read_folder(tmp_path / "out")
    assert record.environment is not None
    assert ONEDNN not in record.environment.variables
