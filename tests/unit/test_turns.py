"""Two arms that take turns: the protocol, against workers that are a few lines of Python."""

import contextlib
import re
import sys
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path

import msgspec
import psutil
import pytest

from bench.analysis.compare import compare_records
from bench.analysis.matching import split_arms
from bench.execution import compare_run, turns
from bench.execution.compare_run import ComparisonObserver, run_comparison
from bench.execution.comparison_plan import check_comparable, choose_manner, list_pairs, open_plan
from bench.execution.limits import Limits
from bench.execution.live_worker import LiveWorker
from bench.execution.messages import (
    Finish,
    Order,
    Outline,
    Progress,
)
from bench.execution.turns import (
    PARTNER_ENDED,
    Arm,
    Pair,
    ProbeKey,
    Side,
    TurnLength,
    decide_length,
    run_pair,
)
from bench.records.record import RunRecord, Turns
from bench.records.store import read_folder
from bench.suites import Request, Scenario, Timing
from tpuens.errors import ConfigurationError, InterruptedRunError, RunError
from tpuens.training.interrupts import StopRequest

TIMING = Timing(warmup_steps=2, blocks=4, block_seconds=1.0)
SCENARIO = Scenario(name="train-step", timing=TIMING, seconds=12.0)
COMPUTE = ("compute", ())
REQUEST = Request(suite="compare", scenario=SCENARIO, strategy="cpu")

# Says what it does in a file that both arms share, and what it measured as a worker would. In plain JSON, so
# that it starts at once.
WORKER = """
import json, os, sys, time
arm, fault, pace, said = {arm!r}, {fault!r}, {pace}, {said!r}
def send(kind, **fields):
    print(json.dumps({{"type": kind, **fields}}), flush=True)
sys.stdin.readline()
if fault == "refuses":
    send("refused", reason="no such device", skipped=True)
    sys.exit()
with open(said, "a+") as file:
    file.write(f"{{arm}} start\\n")
    file.flush()
    file.seek(0)
    starts = file.read().count(f"{{arm}} start")
if fault == "is wild" and starts % 2:
    pace *= 3
send("progress", phase="build")
if fault == "starts slowly":
    time.sleep(0.3)
with open(said, "a") as file:
    file.write(f"{{arm}} prepared\\n")
probe = {{"name": "compute", "sample": "block", "min_steps": 1, "max_block_steps": 100}}
other = {{**probe, "parameters": {{"n": 3}}}}
send("ready", probes={{"times more": [other, probe], "times another": [other]}}.get(fault, [probe]))
turns = []
whole = fault == "whole" or fault.startswith("whole after") and starts > 1
if whole:
    turns = [pace, pace]
    with open(said, "a") as file:
        file.write(f"{{arm}} whole\\n")
for line in () if whole else sys.stdin:
    order = json.loads(line)
    with open(said, "a") as file:
        file.write(f"{{arm}} {{order['type']}} {{order.get('steps', '')}} {{order.get('probe', '')}}\\n")
    if order["type"] == "warm-up":
        send("warmed", step_seconds=[pace] * order["steps"])
    elif order["type"] == "finish":
        break
    elif turns and (fault == "dies" or fault == "dies at the third start" and starts == 3):
        raise ValueError("the disk is purple")
    elif turns and (fault in ("is killed", "whole after a kill") or starts == 3 and fault == "killed later"):
        os.kill(os.getpid(), 9)
    else:
        turns.append(pace * order["steps"])
        send("taken", seconds=turns[-1])
send(
    "finished",
    environment=dict(
        machine_label="m", fingerprint="f", cpu_model="c", physical_cores=1, logical_cores=1, numa_nodes=1,
        isa=[], memory_bytes=1, operating_system="o",
    ),
    workload=dict(scenario="train-step"), configuration=dict(strategy="cpu"), phases={{}}, fence_seconds=[],
    null_step_seconds=[], metrics=[], memory=dict(peak_resident_bytes=1), warnings=[],
    series=[dict(name="compute", fence="block", steps=[4] * len(turns), examples=[4] * len(turns),
                 seconds=turns, cpu_seconds=turns)],
)
"""


def worker(tmp_path: Path, arm: str, *, pace: float = 0.25, fault: str = "") -> list[str]:
    program = WORKER.format(arm=arm, fault=fault, pace=pace, said=str(tmp_path / "said"))
    return [sys.executable, "-S", "-c", program]


def pair(
    tmp_path: Path,
    a: list[str],
    b: list[str],
    *,
    number: int = 0,
    lengths: Mapping[ProbeKey, TurnLength] | None = None,
    request: Request = REQUEST,
    one_by_one: bool = False,
) -> Pair:
    def side(arm: Arm, command: list[str]) -> Side:
        place = Turns(comparison="c", pair=number, arm=arm)
        return Side(request=request, turns=place, log=tmp_path / f"{arm}.log", command=command)

    return run_pair(
        [side("A", a), side("B", b)],
        limits=Limits(seconds=20.0, memory_bytes=2**33),
        lengths=lengths,
        one_by_one=one_by_one,
    )


def said(tmp_path: Path, kind: str) -> list[str]:
    return [line.split()[0] for line in (tmp_path / "said").read_text().splitlines() if kind in line]


def test_two_arms_take_turns_in_the_order_a_b_b_a_after_their_warm_ups(tmp_path: Path) -> None:
    done = pair(tmp_path, worker(tmp_path, "A"), worker(tmp_path, "B", pace=0.5))
    assert done.complete, done.records
    assert said(tmp_path, "take-turn") == list("ABBAABBA")
    assert said(tmp_path, "warm-up") == said(tmp_path, "finish") == list("AB")
    assert done.lengths == {COMPUTE: TurnLength(steps=2, turns=4)}  # a second of the slower arm
    a, b = done.records
    assert [record.turns.arm for record in (a, b) if record.turns] == ["A", "B"]
    assert (a.series[0].seconds, b.series[0].seconds) == ((0.5,) * 4, (1.0,) * 4)


def test_arms_take_turns_with_the_probes_that_both_have(tmp_path: Path) -> None:
    done = pair(tmp_path, worker(tmp_path, "A", fault="times more"), worker(tmp_path, "B"))
    assert done.complete, done.records
    assert list(done.lengths) == [COMPUTE]
    lines = (tmp_path / "said").read_text().splitlines()
    assert {line for line in lines if "take-turn" in line} == {"A take-turn 4 1", "B take-turn 4 0"}
    both = worker(tmp_path, "A", fault="times more"), worker(tmp_path, "B", fault="times more")
    assert list(pair(tmp_path, *both).lengths) == [("compute", (("n", 3),)), COMPUTE]


def test_arms_with_no_probe_in_common_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="A times compute; B times compute, n = 3"):
        pair(tmp_path, worker(tmp_path, "A"), worker(tmp_path, "B", fault="times another"))


def test_arms_can_be_prepared_one_after_the_other_after_a_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "SETTLE_SECONDS", 0.5)
    slow = worker(tmp_path, "B", fault="starts slowly")
    called = time.time()
    done = pair(tmp_path, worker(tmp_path, "A"), slow, number=1, one_by_one=True)
    assert done.complete, done.records
    started = min(
        datetime.fromisoformat(record.created.replace("Z", "+00:00")).timestamp() for record in done.records
    )
    assert started - called > 0.5
    lines = (tmp_path / "said").read_text().splitlines()[:4]
    assert lines == ["B start", "B prepared", "A start", "A prepared"]


def test_a_partner_that_cannot_start_ends_a_pair_that_is_prepared_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "SETTLE_SECONDS", 0.0)
    refusing = worker(tmp_path, "A", fault="refuses")
    done = pair(tmp_path, refusing, worker(tmp_path, "B"), one_by_one=True)
    a, b = done.records
    assert (a.status, a.reason) == ("skipped", "no such device")
    assert (b.status, b.reason) == ("failed", PARTNER_ENDED)


@pytest.mark.parametrize(("scenario", "held"), [("input-pipeline", True), ("train-step", False)])
def test_an_arm_that_works_ahead_is_stopped_while_it_is_not_its_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scenario: str, held: bool
) -> None:
    stopped: set[LiveWorker] = set()
    workers: set[LiveWorker] = set()
    hold, give = LiveWorker.hold, LiveWorker.give

    def note_hold(self: LiveWorker, held: bool) -> None:
        hold(self, held)
        (stopped.add if held else stopped.discard)(self)
        workers.add(self)

    def note_give(self: LiveWorker, order: Order) -> None:
        assert self not in stopped
        assert len(stopped) == len(workers - {self}) or isinstance(order, Finish)
        give(self, order)

    monkeypatch.setattr(LiveWorker, "hold", note_hold)
    monkeypatch.setattr(LiveWorker, "give", note_give)
    request = msgspec.structs.replace(REQUEST, scenario=msgspec.structs.replace(SCENARIO, name=scenario))
    done = pair(tmp_path, worker(tmp_path, "A"), worker(tmp_path, "B"), request=request)
    assert done.complete, done.records
    assert len(workers) == (2 if held else 0)


def test_a_held_worker_stands_still_and_can_be_ended(tmp_path: Path) -> None:
    spinning = [sys.executable, "-S", "-c", "while True: pass"]
    limits = Limits(seconds=20.0, memory_bytes=2**33)
    with LiveWorker(REQUEST, log=tmp_path / "log", limits=limits, command=spinning) as live:
        process = psutil.Process(live._process.pid)
        live.hold(True)
        before = process.cpu_times().user
        time.sleep(0.1)
        assert process.cpu_times().user == before
        live.hold(False)
        time.sleep(0.1)
        assert process.cpu_times().user > before
        live.hold(True)
    assert not process.is_running()


def test_the_arm_that_starts_alternates_and_the_length_of_turns_is_kept(tmp_path: Path) -> None:
    kept = {COMPUTE: TurnLength(steps=7, turns=2)}
    done = pair(tmp_path, worker(tmp_path, "A"), worker(tmp_path, "B"), number=1, lengths=kept)
    assert said(tmp_path, "take-turn") == list("BAAB")
    assert done.lengths == kept
    assert "A take-turn 7" in (tmp_path / "said").read_text()


@pytest.mark.parametrize("fault", ["dies", "is killed"])
def test_an_arm_that_ends_stops_its_pair_and_says_why(tmp_path: Path, fault: str) -> None:
    done = pair(tmp_path, worker(tmp_path, "A"), worker(tmp_path, "B", fault=fault))
    a, b = done.records
    assert not done.complete
    assert (a.status, b.status) == ("failed", "failed")
    assert "the other arm" in (a.reason or "")
    assert ("exit code 1" if fault == "dies" else "SIGKILL") in (b.reason or "")
    assert done.ran_out_of_memory == (fault == "is killed")


def test_an_arm_that_this_machine_cannot_run_is_skipped(tmp_path: Path) -> None:
    done = pair(tmp_path, worker(tmp_path, "A", fault="refuses"), worker(tmp_path, "B"))
    assert [record.status for record in done.records] == ["skipped", "failed"]
    assert done.records[0].reason == "no such device"


def outline(**fields: int) -> Outline:
    return Outline(**{"name": "p", "sample": "block", "min_steps": 1, "max_block_steps": 100, **fields})  # type: ignore[arg-type]


def test_turns_are_even_in_number_and_no_longer_than_a_probe_allows() -> None:
    timing = Timing(blocks=5, block_seconds=1.0)
    assert decide_length([outline()] * 2, [[9.0, 0.1], [9.0, 0.2]], timing) == TurnLength(steps=5, turns=6)
    assert decide_length([outline(), outline(max_block_steps=3)], [[0.1]] * 2, timing).steps == 3
    assert decide_length([outline(min_steps=80)] * 2, [[0.1]] * 2, timing) == TurnLength(steps=10, turns=8)
    assert decide_length([outline()] * 2, [[30.0]] * 2, timing).steps == 1
    single = Outline(name="latency", sample="step", min_steps=1, max_block_steps=10**5)
    assert decide_length([single] * 2, [[1e-4]] * 2, timing).steps == 250


class Budget:
    """A clock that each complete pair moves on by so many seconds."""

    def __init__(self, pair_seconds: float) -> None:
        self.now, self.pair_seconds, self.pairs = 0.0, pair_seconds, 0

    def read(self) -> float:
        return self.now

    def pass_on(self, records: object) -> None:
        self.now += self.pair_seconds
        self.pairs += 1


def compare(
    tmp_path: Path,
    commands: tuple[list[str], list[str]],
    budget: Budget,
    seconds: float = 200.0,
    roots: tuple[Path | None, Path | None] = (None, None),
    on_progress: Callable[[int, Arm, Progress], None] = lambda pair, arm, progress: None,
    whole_runs: bool = False,
) -> list[RunRecord]:
    return run_comparison(
        REQUEST,
        REQUEST,
        tmp_path / "out",
        budget_seconds=seconds,
        limits=Limits(seconds=20.0, memory_bytes=2**33),
        turns=2,
        roots=roots,
        whole_runs=whole_runs,
        advice="Go on with: this",
        observer=ComparisonObserver(on_pair=budget.pass_on, on_progress=on_progress),
        commands=commands,
        clock=budget.read,
    )


def test_a_comparison_stops_after_six_pairs_where_its_interval_is_narrow(tmp_path: Path) -> None:
    budget = Budget(10.0)
    records = compare(tmp_path, (worker(tmp_path, "A"), worker(tmp_path, "B", pace=0.5)), budget)
    assert budget.pairs == 6
    a, b = split_arms(records)
    assert [one.turns.pair for one in a if one.turns] == [one.turns.pair for one in b if one.turns]
    (reading,) = compare_records(a, b).readings
    assert reading.wall is not None
    assert reading.wall.ratio == pytest.approx(0.5)
    assert said(tmp_path, "warm-up") == list("ABBA" * 3)


def test_a_comparison_that_stays_wide_ends_with_its_budget(tmp_path: Path) -> None:
    wild = worker(tmp_path, "B", fault="is wild")
    budget = Budget(20.0)
    compare(tmp_path, (worker(tmp_path, "A"), wild), budget, seconds=150.0)
    assert budget.pairs == 7


def test_a_budget_too_short_for_six_pairs_is_refused_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"6 pairs.*--budget 2m"):
        compare(tmp_path, (["false"], ["false"]), Budget(1.0), seconds=20.0)
    assert not (tmp_path / "out").exists()


def test_pairs_that_take_far_longer_than_the_budget_allows_end_it(
    tmp_path: Path,
) -> None:
    workers = worker(tmp_path, "A"), worker(tmp_path, "B")
    with pytest.raises(
        ConfigurationError, match=r"A pair takes 100 s.*--budget 11m.*kept in .*out\. Go on with: this"
    ):
        compare(tmp_path, workers, Budget(100.0))
    assert len(list_pairs(tmp_path / "out")) == 2


def test_a_failed_pair_keeps_those_before_it_and_the_comparison_goes_on_where_it_was(tmp_path: Path) -> None:
    fails = worker(tmp_path, "B", fault="dies at the third start")
    with pytest.raises(RunError, match=r"Arm B failed.*exit code 1.*kept in .*out\. Go on with: this"):
        compare(tmp_path, (worker(tmp_path, "A"), fails), Budget(1.0))
    assert len(list_pairs(tmp_path / "out")) == 4
    budget = Budget(1.0)
    # Enough for the four that are missing.
    records = compare(tmp_path, (worker(tmp_path, "A"), worker(tmp_path, "B")), budget, seconds=50.0)
    assert budget.pairs == 4
    assert [one.turns.pair for one in split_arms(records)[0] if one.turns] == [0, 1, 3, 4, 5, 6]


def test_pairs_of_another_machine_are_not_gone_on_with(tmp_path: Path) -> None:
    fails = worker(tmp_path, "B", fault="dies at the third start")
    with pytest.raises(RunError):
        compare(tmp_path, (worker(tmp_path, "A"), fails), Budget(1.0))
    for file in (tmp_path / "out" / "records").glob("*.json"):
        file.write_text(re.sub(r'"fingerprint": "[^"]*"', '"fingerprint": "another"', file.read_text()))
    with pytest.raises(ConfigurationError, match=r"made on one machine.*arm A differs in machine: "):
        compare(tmp_path, (worker(tmp_path, "A"), worker(tmp_path, "B")), Budget(1.0), seconds=50.0)
    assert len(list_pairs(tmp_path / "out")) == 4


def test_a_folder_is_gone_on_with_for_the_same_arms_alone(tmp_path: Path) -> None:
    open_plan(tmp_path / "out", REQUEST, REQUEST)
    with pytest.raises(ConfigurationError, match="other arms"):
        compare(tmp_path, (["false"], ["false"]), Budget(1.0))


def test_an_interrupt_keeps_the_complete_pairs_and_says_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop = StopRequest()
    monkeypatch.setattr(compare_run, "catch_stop_signals", lambda: contextlib.nullcontext(stop))

    def interrupt(pair: int, arm: Arm, progress: Progress) -> None:
        stop.requested = pair == 3 and progress.done == 1

    workers = worker(tmp_path, "A"), worker(tmp_path, "B")
    with pytest.raises(InterruptedRunError, match=r"Stopped\..*kept in .*out\. Go on with: this"):
        compare(tmp_path, workers, Budget(1.0), on_progress=interrupt)
    assert len(list_pairs(tmp_path / "out")) == len(read_folder(tmp_path / "out")) == 4


def test_a_source_tree_that_knows_no_turns_runs_whole_in_the_order_a_b_b_a(tmp_path: Path) -> None:
    workers = worker(tmp_path, "A", fault="whole"), worker(tmp_path, "B", fault="whole")
    records = compare(tmp_path, workers, Budget(10.0), roots=(None, tmp_path))
    assert said(tmp_path, "whole") == list("ABBA" * 3)
    assert {record.turns.manner for record in records if record.turns} == {"whole-runs"}


def test_whole_runs_are_made_where_they_are_asked_for(tmp_path: Path) -> None:
    workers = worker(tmp_path, "A", fault="whole"), worker(tmp_path, "B", fault="whole")
    records = compare(tmp_path, workers, Budget(10.0), whole_runs=True)
    assert {record.turns.manner for record in records if record.turns} == {"whole-runs"}


def test_arms_that_memory_does_not_hold_together_run_whole(tmp_path: Path) -> None:
    workers = worker(tmp_path, "A", fault="whole after"), worker(tmp_path, "B", fault="whole after a kill")
    records = compare(tmp_path, workers, Budget(10.0))
    assert said(tmp_path, "whole") == list("ABBA" * 3)
    assert {record.turns.manner for record in records if record.turns} == {"whole-runs"}


def test_a_comparison_that_has_taken_turns_is_not_mixed_with_whole_runs(tmp_path: Path) -> None:
    workers = worker(tmp_path, "A"), worker(tmp_path, "B", fault="killed later")
    with pytest.raises(RunError, match=r"Arm B failed.*SIGKILL.*Go on with: this"):
        compare(tmp_path, workers, Budget(10.0))
    assert len(list_pairs(tmp_path / "out")) == 4
    assert not said(tmp_path, "whole")


def test_a_tpu_takes_one_process_and_scenarios_without_a_step_cannot_be_compared(tmp_path: Path) -> None:
    tpu = msgspec.structs.replace(REQUEST, strategy="tpu")
    assert choose_manner(tpu, tpu, (None, None)) == "one-process"
    assert choose_manner(tpu, tpu, (tmp_path, None)) == "whole-runs"
    named = msgspec.structs.replace(tpu, variables={"XLA_FLAGS": "--xla"})
    assert choose_manner(tpu, named, (None, None)) == "whole-runs"
    assert choose_manner(REQUEST, REQUEST, (None, None)) == "turns"
    timeless = msgspec.structs.replace(REQUEST, scenario=Scenario(name="time-to-accuracy"))
    with pytest.raises(ConfigurationError, match="train-step"):
        check_comparable(timeless, timeless)
