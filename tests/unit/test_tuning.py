"""`run --tune`: what is offered, tried in workers that are a few lines of Python, kept, and used again."""

import os
import signal
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner

from bench.cli import app
from bench.commands import run
from bench.execution import tuning
from bench.execution.launcher import launch_run
from bench.execution.limits import Limits
from bench.execution.messages import Progress
from bench.execution.search import Axis
from bench.execution.suite_run import load_plan
from bench.execution.tuning import Tuner, TuningObserver, list_axes
from bench.records.record import Trial, Tuning
from bench.records.store import RecordError
from bench.records.tunings import KeptTuning, load_tuning, save_tuning, tuning_state
from bench.suites import Request, Scenario, Timing
from tpuens.errors import InterruptedRunError

NOW = datetime(2026, 11, 25, tzinfo=timezone.utc)
VERSIONS = {"python": "3.11.2", "tensorflow": "2.21.0", "keras": "3.15.0", "tpuens": "0.1.0"}
SCENARIO = Scenario(name="train-step", backbone="cifar_cnn", image_size=32, batch_size=16)
REQUEST = Request(suite="quick", scenario=SCENARIO, strategy="cpu")
KEPT = KeptTuning(
    fingerprint="f" * 16,
    key="k" * 12,
    created="2026-11-20T10:00:00Z",
    versions=VERSIONS,
    tuning=Tuning(trials=(Trial(settings={"jit": True}, reason="no XLA"),), chosen={"jit": False}, why="so"),
)
LIMITS = Limits(seconds=20.0, memory_bytes=2**33)

# Takes half as long a step with XLA, and by itself says what it was asked for.
WORKER = """
import json, os, sys
def send(kind, **fields):
    print(json.dumps({"type": kind, **fields}), flush=True)
request = json.loads(sys.stdin.readline())
scenario = request["scenario"]
send("progress", phase="build")
if scenario["seed"] == 1:
    send("refused", reason="no such device", skipped=True)
    sys.exit()
pace = 0.02 if scenario["jit"] else 0.04
pace *= 1 + (os.environ.get("TF_NUM_INTRAOP_THREADS") == "1")
probe = {"name": "compute", "sample": "block", "min_steps": 1, "max_block_steps": 100}
probe["examples_per_call"] = scenario["batch_size"]
send("ready", probes=[probe])
taken = 0
for line in sys.stdin:
    order = json.loads(line)
    if order["type"] == "warm-up":
        send("warmed", step_seconds=[pace] * order["steps"])
    else:
        taken += 1
        send("taken", seconds=pace * order["steps"] * (1 + taken % 3 / 1000))
"""


def tuner(tmp_path: Path, **fields: Any) -> Tuner:
    given: dict[str, Any] = {
        "fingerprint": "f" * 16,
        "versions": VERSIONS,
        "logs": tmp_path / "logs",
        "make_limits": lambda: LIMITS,
        "typed": ("batch_size", "steps_per_execution", "intra_op_threads"),
        "kept_in": tmp_path / "kept",
        "command": [sys.executable, "-S", "-c", WORKER],
    }
    return Tuner(**{**given, **fields})


def names(axes: tuple[Axis, ...]) -> list[str]:
    return [axis.setting for axis in axes]


def test_what_is_chosen_goes_into_the_request_and_the_reason_with_it(tmp_path: Path) -> None:
    told: list[str] = []
    observer = TuningObserver(
        on_progress=lambda request, settings, progress: told.append(f"{settings} {progress.phase}"),
        on_end=lambda request, what: told.append(what),
    )
    (tuned,) = tuner(tmp_path, observer=observer).tune([REQUEST])
    assert tuned.scenario == msgspec.structs.replace(SCENARIO, jit=True)
    assert tuned.tuning is not None
    assert tuned.tuning.chosen == {"jit": True}
    assert "jit becomes on (on faster)" in tuned.tuning.why
    before, after = tuned.tuning.trials
    assert (before.examples, after.examples) == (6 * 16, 12 * 16)  # a quarter of a second each
    assert told[:2] == ["{'jit': False} build", "{'jit': True} build"]
    assert told[-1] == tuned.tuning.why


def test_threads_are_a_variable_of_the_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        tuning, "list_axes", lambda *given: (Axis(setting="intra_op_threads", present="auto", others=(1, 4)),)
    )
    (tuned,) = tuner(tmp_path).tune([REQUEST])
    assert tuned.variables == {}
    assert tuned.tuning is not None
    assert "intra_op_threads stays auto (1 slower, 4 no gain)" in tuned.tuning.why


def test_what_was_found_is_used_again_by_repeats_and_the_next_time(tmp_path: Path) -> None:
    first = tuner(tmp_path).tune([REQUEST, msgspec.structs.replace(REQUEST, repeat=1)])
    assert first[0].tuning == first[1].tuning
    assert len(list((tmp_path / "logs").iterdir())) == 2
    longer = msgspec.structs.replace(SCENARIO, timing=Timing(blocks=20))
    (again,) = tuner(tmp_path, command=["false"]).tune([msgspec.structs.replace(REQUEST, scenario=longer)])
    assert again.tuning == first[0].tuning


@pytest.mark.parametrize("change", [{"retune": True}, {"versions": VERSIONS | {"tensorflow": "2.22.0"}}])
def test_it_is_tried_again_where_it_is_asked_for_or_stale(tmp_path: Path, change: dict[str, Any]) -> None:
    tuner(tmp_path).tune([REQUEST])
    tuner(tmp_path, **change, logs=tmp_path / "again").tune([REQUEST])
    assert len(list((tmp_path / "again").iterdir())) == 2


def test_another_machine_or_batch_is_another_search(tmp_path: Path) -> None:
    tuner(tmp_path).tune([REQUEST])
    other = msgspec.structs.replace(REQUEST, scenario=msgspec.structs.replace(SCENARIO, batch_size=8))
    (tuned,) = tuner(tmp_path, command=["false"]).tune([other])
    assert tuned == other
    (tuned,) = tuner(tmp_path, command=["false"], fingerprint="0" * 16).tune([REQUEST])
    assert tuned == REQUEST


def test_a_request_that_cannot_run_is_left_to_its_run(tmp_path: Path) -> None:
    told: list[str] = []
    request = msgspec.structs.replace(REQUEST, scenario=msgspec.structs.replace(SCENARIO, seed=1))
    observer = TuningObserver(on_end=lambda request, what: told.append(what))
    assert tuner(tmp_path, observer=observer).tune([request]) == [request]
    assert told == ["nothing chosen. no such device"]
    assert not (tmp_path / "kept").exists()


def test_ctrl_c_keeps_nothing_half(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(request: Request, settings: dict[str, Any], progress: Progress) -> None:
        if settings["jit"]:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(InterruptedRunError, match="nothing is kept"):
        tuner(tmp_path, observer=TuningObserver(on_progress=interrupt)).tune([REQUEST])
    assert not (tmp_path / "kept").exists()


def test_a_cpu_is_offered_threads_and_a_gpu_more_steps_a_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TF_NUM_INTRAOP_THREADS", raising=False)
    cpu = {axis.setting: axis for axis in list_axes(REQUEST, (), 2.0)}
    assert list(cpu) == ["batch_size", "jit", "intra_op_threads", "steps_per_execution"]
    assert (cpu["intra_op_threads"].present, cpu["intra_op_threads"].others) == ("auto", (1, 4))
    assert cpu["steps_per_execution"].others == (8,)
    gpu = {axis.setting: axis for axis in list_axes(replace_strategy("gpu:0"), (), 2.0)}
    assert list(gpu) == ["batch_size", "jit", "steps_per_execution"]
    assert gpu["steps_per_execution"].others == (8, 32)
    assert "jit" not in names(list_axes(replace_strategy("tpu"), (), 2.0))


def replace_strategy(strategy: str) -> Request:
    return msgspec.structs.replace(REQUEST, strategy=strategy)


def test_what_was_given_by_hand_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "3")
    assert names(list_axes(REQUEST, ("jit", "batch_size"), 2.0)) == ["steps_per_execution"]


def test_only_what_means_something_is_offered() -> None:
    epoch = msgspec.structs.replace(SCENARIO, name="train-epoch", loop="keras-fit")
    found = list_axes(msgspec.structs.replace(REQUEST, scenario=epoch), ("intra_op_threads",), 2.0)
    assert names(found) == ["batch_size", "jit", "num_parallel_calls"]
    assert (found[-1].present, found[-1].others) == (2, (1, 4))
    accuracy = msgspec.structs.replace(SCENARIO, name="time-to-accuracy")
    assert list_axes(msgspec.structs.replace(REQUEST, scenario=accuracy), (), 2.0) == ()


def test_the_record_of_a_run_says_how_its_settings_were_chosen(tmp_path: Path) -> None:
    request = msgspec.structs.replace(REQUEST, tuning=KEPT.tuning)
    record = launch_run(request, log=tmp_path / "log", limits=LIMITS, command=["false"])
    assert record.tuning == KEPT.tuning
    assert record.request_key == REQUEST.key  # it names what was run, and not why


def test_a_kept_tuning_is_read_back_from_the_users_cache_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TPUENS_CACHE_DIR", str(tmp_path))
    assert save_tuning(KEPT).is_relative_to(tmp_path)
    assert load_tuning(KEPT.fingerprint, KEPT.key) == KEPT
    assert load_tuning("0" * 16, KEPT.key) is None


def test_a_broken_file_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    save_tuning(KEPT, tmp_path).write_text("{")
    with pytest.raises(RecordError, match="--retune"):
        load_tuning(KEPT.fingerprint, KEPT.key, tmp_path)


def test_a_tuning_is_stale_after_a_month_and_under_other_versions() -> None:
    assert tuning_state(None, VERSIONS, NOW) == "missing"
    assert tuning_state(KEPT, VERSIONS, NOW) == "fresh"
    assert tuning_state(KEPT, VERSIONS, NOW + timedelta(days=60)) == "stale: tuned 64 days ago"
    assert tuning_state(KEPT, VERSIONS | {"keras": "4"}, NOW) == "stale: tuned with keras 3.15.0, not 4"


def test_the_plan_of_a_run_holds_the_settings_that_were_chosen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tuners: list[Tuner] = []

    def tune(self: Tuner, requests: list[Request]) -> list[Request]:
        tuners.append(self)
        return [msgspec.structs.replace(request, tuning=KEPT.tuning) for request in requests]

    monkeypatch.setattr(run, "look_at_machine", lambda: {"fingerprint": "f" * 16, "versions": VERSIONS})
    monkeypatch.setattr(run, "_run_and_report", lambda *given: None)
    monkeypatch.setattr(Tuner, "tune", tune)

    def call(*arguments: str) -> BaseException | None:
        given = ["run", *arguments, "--results", str(tmp_path / "out")]
        return CliRunner().invoke(app, given).exception

    assert call("train-step", "--strategy", "cpu", "--batch-size", "8", "--tune") is None
    (tuner,) = tuners
    assert (tuner.fingerprint, list(tuner.typed), tuner.retune) == ("f" * 16, ["batch_size"], False)
    (request,) = load_plan(tmp_path / "out").requests
    assert request.tuning == KEPT.tuning
    assert "folder of their own" in str(call("train-step", "--strategy", "cpu", "--retune"))
    assert len(tuners) == 1  # refused before minutes of trials
    assert "--resume goes on" in str(call("--tune", "--resume"))
