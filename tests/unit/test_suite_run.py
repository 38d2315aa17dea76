import os
import sys
from pathlib import Path

import pytest

from bench.execution import suite_run
from bench.execution.launcher import launch_run
from bench.execution.limits import Limits
from bench.records.record import RunRecord
from bench.records.store import write_record
from bench.suites import QUICK, Request, Scenario, find_scenarios, plan_requests
from tpuens.errors import ConfigurationError

SKIP = """print('{"type":"refused","reason":"not here","skipped":true}')"""
FAIL = "raise SystemExit(3)"


def make_record(request: Request, tmp_path: Path, program: str = SKIP) -> RunRecord:
    return launch_run(
        request,
        log=tmp_path / "run.log",
        limits=Limits(seconds=20, memory_bytes=2**33),
        command=[sys.executable, "-c", program],
    )


def plan(strategies: tuple[str, ...] = ("cpu",), repeats: int = 1) -> list[Request]:
    return plan_requests("quick", QUICK.scenarios[2:4], strategies=strategies, repeats=repeats)


def test_only_what_has_no_record_is_missing(tmp_path: Path) -> None:
    requests = plan(repeats=2)
    write_record(tmp_path, make_record(requests[1], tmp_path))
    missing = suite_run.find_missing(tmp_path, suite_run.Plan(suite="quick", requests=tuple(requests)))
    assert missing == [requests[0], *requests[2:]]


def test_a_failed_run_counts_as_missing(tmp_path: Path) -> None:
    requests = plan()
    write_record(tmp_path, make_record(requests[0], tmp_path, FAIL))
    missing = suite_run.find_missing(tmp_path, suite_run.Plan(suite="quick", requests=tuple(requests)))
    assert missing == requests


def test_a_plan_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    written = suite_run.Plan(suite="quick", requests=tuple(plan()))
    suite_run.save_plan(tmp_path, written)
    assert suite_run.load_plan(tmp_path) == written


def test_a_second_call_never_writes_into_a_folder_that_is_taken(tmp_path: Path) -> None:
    written = suite_run.Plan(suite="quick", requests=tuple(plan()))
    suite_run.save_plan(tmp_path, written)
    with pytest.raises(ConfigurationError, match="--resume"):
        suite_run.save_plan(tmp_path, written)


def test_a_folder_without_a_plan_cannot_be_resumed(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="can be resumed"):
        suite_run.load_plan(tmp_path)
    with pytest.raises(ConfigurationError, match="No earlier run"):
        suite_run.find_interrupted(tmp_path)


def test_without_a_name_what_was_started_last_and_is_not_finished_is_resumed(tmp_path: Path) -> None:
    requests = plan()
    names = ["20260101T000000Z-quick", "mine", "20260102T000000Z-quick"]  # mine sorts last, and is finished
    for age, name in enumerate(names):
        folder = tmp_path / "runs" / name
        suite_run.save_plan(folder, suite_run.Plan(suite="quick", requests=tuple(requests[:1])))
        os.utime(folder / suite_run.PLAN_FILE, (age, age))
    write_record(tmp_path / "runs" / "mine", make_record(requests[0], tmp_path))
    assert suite_run.find_interrupted(tmp_path).name == names[2]
    write_record(tmp_path / "runs" / names[2], make_record(requests[0], tmp_path))
    assert suite_run.find_interrupted(tmp_path).name == names[0]
    write_record(tmp_path / "runs" / names[0], make_record(requests[0], tmp_path))
    assert suite_run.find_interrupted(tmp_path).name == names[2]


def test_the_time_left_is_corrected_by_how_the_finished_runs_went() -> None:
    requests = plan()
    now = [0.0]
    left = suite_run.TimeLeft(requests, clock=lambda: now[0])
    left.start_run()
    assert left.seconds() == sum(request.scenario.seconds for request in requests)
    now[0] = 2 * requests[0].scenario.seconds
    left.finish_run()
    left.start_run()
    assert left.seconds() == pytest.approx(2 * requests[1].scenario.seconds)
    now[0] += 1
    assert left.seconds() == pytest.approx(2 * requests[1].scenario.seconds - 1)


def test_the_key_of_a_request_depends_on_what_is_measured_alone() -> None:
    scenario = Scenario(name="train-step", backbone="cifar_cnn")
    one = Request(suite="quick", scenario=scenario, strategy="cpu")
    same = Request(
        suite="standard",
        scenario=Scenario(name="train-step", backbone="cifar_cnn", data_dir="elsewhere", seconds=99),
        strategy="cpu",
        repeat=4,
    )
    other = Request(suite="quick", scenario=Scenario(name="train-step", backbone="vgg16"), strategy="cpu")
    assert one.key == same.key
    assert one.key != other.key


def test_repeats_are_outermost_so_that_drift_spreads_evenly() -> None:
    requests = plan(repeats=2)
    assert [request.repeat for request in requests] == [0, 0, 1, 1]


def test_scenarios_run_only_where_they_say_something_of_their_own() -> None:
    strategies = ("cpu", "cpu-mirrored:2", "gpu:0", "gpu-mirrored")
    _, scenarios = find_scenarios(["input-pipeline", "matmul", "train-epoch"])
    chosen = [(r.scenario.name, r.strategy) for r in plan_requests("x", scenarios, strategies=strategies)]
    assert chosen == [
        ("input-pipeline", "cpu"),
        ("matmul", "cpu"),
        ("matmul", "gpu:0"),
        *(("train-epoch", strategy) for strategy in strategies),
    ]


def test_no_names_mean_the_quick_suite() -> None:
    assert find_scenarios([]) == ("quick", QUICK.scenarios)


def test_an_unknown_suite_or_scenario_is_refused_with_what_there_is() -> None:
    with pytest.raises(ConfigurationError, match="Did you mean 'train-step'"):
        find_scenarios(["train-steps"])


def test_a_trace_has_a_folder_of_its_own_and_leaves_the_run_the_same() -> None:
    scenario = Scenario(name="train-step")
    requests = [
        Request(suite="quick", scenario=scenario, strategy=strategy, repeat=repeat)
        for strategy in ("cpu", "cpu-mirrored:2")
        for repeat in (0, 1)
    ]
    traced = suite_run.profile_requests(requests, Path("out"))
    assert [one.key for one in traced] == [one.key for one in requests]
    assert len({one.profile for one in traced}) == 4
    assert all(str(one.profile).startswith(str(Path("out") / "profiles" / "train-step-")) for one in traced)
