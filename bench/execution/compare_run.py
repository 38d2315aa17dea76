"""A live comparison: pairs of fresh processes until the interval is narrow or the budget is spent."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec

from tpuens.errors import ConfigurationError, DeviceError, InterruptedRunError, RunError, TpuensError
from tpuens.training.interrupts import catch_stop_signals

from ..analysis.compare import compare_records
from ..analysis.gates import list_differences
from ..analysis.labels import setup_facts
from ..analysis.matching import split_arms
from ..analysis.ratios import MIN_PAIRS, UNTIL_NARROW, Precision, narrow_enough
from ..records.record import RunRecord, Turns
from ..records.store import write_record
from ..suites import Request, Timing
from .comparison_plan import (
    ComparisonPlan,
    Manner,
    Roots,
    check_budget,
    check_comparable,
    choose_manner,
    choose_turns,
    estimate_pair_seconds,
    list_pairs,
    next_number,
    open_plan,
)
from .launcher import launch_run
from .limits import Limits, default_limits
from .messages import Progress
from .turns import ARMS, PARTNER_ENDED, Arm, ProbeKey, Side, TurnLength, run_pair

Commands = tuple[list[str] | None, list[str] | None]

OVERRUN = 1.25  # of the budget, so that a pair that took longer than was thought does not end it all


@dataclass(frozen=True, kw_only=True)
class ComparisonObserver:
    """Who is told how a comparison goes: the number of the pair (from 1) and what an arm of it is at; all
    records so far, once a pair is complete; and what is done otherwise than was asked."""

    on_progress: Callable[[int, Arm, Progress], None] = lambda pair, arm, progress: None
    on_pair: Callable[[Sequence[RunRecord]], None] = lambda records: None
    on_note: Callable[[str], None] = lambda note: None


def run_comparison(
    a: Request,
    b: Request,
    folder: Path,
    *,
    budget_seconds: float,
    roots: Roots = (None, None),
    limits: Limits | None = None,
    precision: Precision | None = UNTIL_NARROW,
    min_pairs: int = MIN_PAIRS,
    turns: int | None = None,
    one_by_one: bool = False,
    whole_runs: bool = False,
    advice: str = "",
    observer: ComparisonObserver | None = None,
    commands: Commands = (None, None),
    clock: Callable[[], float] = time.monotonic,
) -> list[RunRecord]:
    """Runs pairs of the two requests and returns the records of all complete pairs, old ones included.

    Each pair has fresh processes, and which arm starts alternates. It ends as soon as the interval of the
    ratio is narrow, whatever it says, or when no other pair fits the budget. A folder that was started for
    the same two requests is gone on with.

    Args:
        a: What one arm runs; how long to time it is for the comparison to say.
        b: What the other one runs.
        folder: Where the records go, each pair as soon as it is over.
        budget_seconds: How long this call may take.
        roots: The source trees that the arms run; None for this one.
        limits: When to stop a worker.
        precision: When to stop before the budget is spent; None: never.
        min_pairs: So many at least.
        turns: Of each arm with each probe, in a pair; None leaves it to the scenario.
        one_by_one: Whether the arms of a pair are prepared one after the other; see `run_pair`.
        whole_runs: Whether each run is made by itself, even where the arms could take turns.
        advice: How to go on with what is kept, for the message of whatever ends it early.
        observer: Who is told how it goes.
        commands: Other programs in the workers' place, for tests.
        clock: Seconds, monotonic.

    Raises:
        ConfigurationError: The scenario has nothing to take turns with, the budget is too short, or the
            folder was started for something else.
        DeviceError: This machine cannot run an arm.
        RunError: An arm has failed; the pairs before it are kept.
        InterruptedRunError: Ctrl-C; likewise.
    """
    check_comparable(a, b)
    a, b = (_time_in_turns(request, turns) for request in (a, b))
    records = list_pairs(folder)
    before = records[0].turns if records else None
    manner = before.manner if before else "whole-runs" if whole_runs else choose_manner(a, b, roots)
    estimate = estimate_pair_seconds(a, b, manner, turns, one_by_one=one_by_one)
    check_budget(estimate, budget_seconds, min_pairs - len(records) // 2)
    plan = open_plan(folder, a, b)
    run = _Run(
        plan=plan,
        folder=folder,
        roots=roots,
        limits=limits,
        observer=observer or ComparisonObserver(),
        commands=commands,
        manner=manner,
        one_by_one=one_by_one,
        advice=advice,
        earlier=records[:2],
    )
    goal = _Goal(budget_seconds=budget_seconds, estimate=estimate, min_pairs=min_pairs, precision=precision)
    return _add_pairs(run, records, goal, clock)


def _add_pairs(
    run: "_Run", records: list[RunRecord], goal: "_Goal", clock: Callable[[], float]
) -> list[RunRecord]:
    """Returns the records and those of new pairs, until they are enough or no other fits the budget."""
    start, fresh = clock(), 0
    with catch_stop_signals() as stop:
        while len(records) < 2 * goal.min_pairs or not (
            goal.precision and is_narrow(records, goal.precision)
        ):
            spent = clock() - start
            each = spent / fresh if fresh else goal.estimate
            if len(records) >= 2 * goal.min_pairs:
                if spent + each > goal.budget_seconds:
                    break
            elif fresh:
                missing = goal.min_pairs - len(records) // 2
                _check_pace(missing, spent, each, goal.budget_seconds, run.kept)
            records += run.run_pair(next_number(run.folder), lambda: stop.requested)
            fresh += 1
            run.observer.on_pair(records)
    return records


@dataclass(frozen=True, kw_only=True)
class _Goal:
    """When a call is done; `estimate` is how long a pair takes, in seconds, as long as none was made."""

    budget_seconds: float
    estimate: float
    min_pairs: int
    precision: Precision | None


@dataclass
class _Run:
    """The pairs of one call."""

    plan: ComparisonPlan
    folder: Path
    roots: Roots
    limits: Limits | None
    observer: ComparisonObserver
    commands: Commands
    manner: Manner
    one_by_one: bool
    advice: str
    earlier: Sequence[RunRecord] = ()  # a pair that an earlier call has made
    lengths: Mapping[ProbeKey, TurnLength] = field(default_factory=dict)

    @property
    def kept(self) -> str:
        """Returns what is kept and how to go on with it, in words."""
        return f"The complete pairs are kept in {self.folder}. {self.advice}".rstrip()

    def run_pair(self, number: int, should_stop: Callable[[], bool]) -> tuple[RunRecord, RunRecord]:
        """Returns the records of a pair, which lie in the folder then."""
        records, ran_out_of_memory = self._take(number, should_stop)
        complete = all(record.status == "ok" for record in records)
        if not complete and should_stop():
            raise InterruptedRunError(f"Stopped. {self.kept}")
        # Never once a pair is complete: pairs of two manners are no sample of one thing.
        may_change = self.manner != "whole-runs" and not list_pairs(self.folder)
        if not complete and ran_out_of_memory and may_change:
            self.observer.on_note("Memory does not hold both arms: whole runs go A B B A instead.")
            self.manner = "whole-runs"
            return self.run_pair(number, should_stop)
        if complete and self.earlier:
            check_alike(self.earlier, records, self.folder)
        for record in records:
            write_record(self.folder, record)
        if not complete:
            raise _explain(records, self.folder / "logs", self.kept)
        return records[0], records[1]

    def _take(self, number: int, should_stop: Callable[[], bool]) -> tuple[Sequence[RunRecord], bool]:
        sides = [self._side(number, arm) for arm in range(2)]
        if self.manner != "whole-runs":
            limits, alone = self.limits or default_limits(), self.manner == "one-process"
            pair = run_pair(
                sides,
                limits=limits if alone else replace(limits, memory_bytes=limits.memory_bytes // 2),
                one_process=alone,
                one_by_one=self.one_by_one,
                lengths=self.lengths,
                on_progress=lambda arm, progress: self.observer.on_progress(number + 1, arm, progress),
                should_stop=should_stop,
            )
            if pair.complete:
                self.lengths = {**self.lengths, **pair.lengths}
            return pair.records, pair.ran_out_of_memory
        records: dict[int, RunRecord] = {}
        for arm in (number % 2, 1 - number % 2):
            records[arm] = self._run_whole(sides[arm], number, should_stop)
            if records[arm].status != "ok":
                return list(records.values()), False
        return [records[0], records[1]], False

    def _run_whole(self, side: Side, number: int, should_stop: Callable[[], bool]) -> RunRecord:
        return launch_run(
            side.request,
            log=side.log,
            limits=self.limits or default_limits(),
            on_progress=lambda progress: self.observer.on_progress(number + 1, side.turns.arm, progress),
            should_stop=should_stop,
            root=side.root,
            turns=side.turns,
            command=side.command,
        )

    def _side(self, number: int, arm: int) -> Side:
        return Side(
            request=msgspec.structs.replace((self.plan.a, self.plan.b)[arm], repeat=number),
            turns=Turns(comparison=self.plan.comparison, pair=number, arm=ARMS[arm], manner=self.manner),
            log=self.folder / "logs" / f"{number:03d}-{ARMS[arm]}.log",
            root=self.roots[arm],
            command=self.commands[arm],
        )


def is_narrow(records: Sequence[RunRecord], precision: Precision) -> bool:
    """Returns whether every ratio is known well enough; what it says is not looked at."""
    walls = [reading.wall for reading in compare_records(*split_arms(records)).readings]
    if precision.error is not None:
        confidence = 1 - precision.error / max(1, len(walls))
        walls = [wall and wall.at(confidence) for wall in walls]
    return all(narrow_enough(wall, shown=precision.shown) for wall in walls)


def _time_in_turns(request: Request, turns: int | None) -> Request:
    blocks, seconds = choose_turns(request, turns)
    timing = Timing(warmup_steps=request.scenario.timing.warmup_steps, blocks=blocks, block_seconds=seconds)
    return msgspec.structs.replace(request, scenario=msgspec.structs.replace(request.scenario, timing=timing))


def _check_pace(missing: int, spent: float, each: float, budget_seconds: float, kept: str) -> None:
    """Raises ConfigurationError where pairs take so long that the fewest would go far beyond the budget."""
    if spent + missing * each > OVERRUN * budget_seconds:
        raise ConfigurationError(
            f"A pair takes {each:.0f} s here, and {missing} more are needed at least: give --budget "
            f"{math.ceil(missing * each * OVERRUN / 60)}m. Received: budget={budget_seconds:.0f} s. {kept}"
        )


def check_alike(earlier: Sequence[RunRecord], pair: Sequence[RunRecord], folder: Path) -> None:
    """Refuses runs that were not made where and with what those before them were.

    Args:
        earlier: Runs that an earlier call has made.
        pair: As many new ones, each to be like the one at its place.
        folder: Where they lie, to be named.

    Raises:
        ConfigurationError: Machine, versions, variables or commit are others.
    """
    for before, now in zip(earlier, pair, strict=True):
        facts = [
            {
                "machine": one.environment and (one.environment.machine_label, one.environment.fingerprint),
                **dict(setup_facts(one.environment)),
            }
            for one in (before, now)
        ]
        if differences := list_differences(*facts):
            raise ConfigurationError(
                "All runs of a comparison are made on one machine, with the same versions and commit: "
                f"choose another --results. Received: results={str(folder)!r}, where "
                f"{f'arm {now.turns.arm}' if now.turns else 'a run'} differs in {'; '.join(differences)}"
            )


def _explain(records: Sequence[RunRecord], logs: Path, kept: str) -> TpuensError:
    """Returns the error for the arm that ended a pair."""
    skipped = next((one for one in records if one.status == "skipped"), None)
    if skipped is not None and skipped.turns:
        return DeviceError(f"Arm {skipped.turns.arm} cannot run here: {skipped.reason}")
    failed = next(one for one in records if one.status == "failed" and one.reason != PARTNER_ENDED)
    arm = failed.turns.arm if failed.turns else "?"
    return RunError(f"Arm {arm} failed: {failed.reason} Its log is in {logs}. {kept}")
