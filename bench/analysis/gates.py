"""What a gate is made of: the runs that may be compared, a verdict, and the rule that all gates go by."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec

from ..records.record import Configuration, RunRecord, Series, WorkloadKey
from .intervals import Difference
from .labels import describe_run, identity, reading_text, setup_facts
from .thresholds import Gate

Verdict = Literal["holds", "broken", "not told"]
SeriesKey = tuple[str, str, tuple[tuple[str, object], ...]]


@dataclass(frozen=True, kw_only=True)
class Check:
    """One figure of the new runs held against that of the baseline.

    Attributes:
        gate: Whose threshold it is held to.
        what: Which reading, in words.
        of: Of which run: scenario, workload, strategy and settings.
        change: New against baseline, relative to it: -0.1 is 10 % slower, 0.1 is 10 % more memory. For
            accuracy and agreement the difference itself, as a share of the examples. None: not known.
        low, high: The ends of its interval; None where there is none.
        threshold: How much worse it may be, in the same unit.
        floor: What the machine's noise alone makes of two equal things; None where none is known.
    """

    gate: Gate
    scenario: str
    what: str
    of: str
    verdict: Verdict
    change: float | None
    low: float | None = None
    high: float | None = None
    threshold: float
    floor: float | None = None
    why: str


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """What of the new runs could not be held against the baseline, and why.

    Attributes:
        failed: Whether that is because a new run failed, which no other gate makes good.
    """

    scenario: str
    what: str
    why: str
    failed: bool = False


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Runs of one workload under one configuration on one machine, and those of the baseline to hold them to.

    Attributes:
        differences: What else of set-up and environment differs, as "name: baseline's → new one's".
    """

    workload: WorkloadKey
    configuration: Configuration
    new: tuple[RunRecord, ...]
    baseline: tuple[RunRecord, ...]
    differences: tuple[str, ...]

    @property
    def same_machine(self) -> bool:
        """Returns whether all runs were made on the same hardware."""
        return len({_machine(record) for record in (*self.new, *self.baseline)}) == 1

    @property
    def takes_turns(self) -> bool:
        """Returns whether the two sides are the arms of comparisons that were run for it."""
        return all(record.turns for record in (*self.new, *self.baseline))

    def processes(self) -> list[tuple[RunRecord, RunRecord]]:
        """Returns the runs that took turns with each other: (new, baseline), pair by pair."""
        sides = [
            {(record.turns.comparison, record.turns.pair): record for record in records if record.turns}
            for records in (self.new, self.baseline)
        ]
        return [(sides[0][place], sides[1][place]) for place in sides[0] if place in sides[1]]

    @property
    def what(self) -> str:
        """Returns scenario, workload and settings in words."""
        return describe_run(self.new[0])


def judge_change(gain: Difference, limit: float, *, both_ways: bool = False) -> Verdict:
    """Returns what becomes of a gate: the same rule for all of them.

    "broken" where the interval excludes no change and the loss passes the limit; "holds" where the whole
    interval lies within the limit (non-inferiority); else "not told": more runs, days, seeds or examples
    would tell.

    Args:
        gain: Above 0 is better. Its interval holds what noise makes of equal things.
        limit: What is allowed, in the unit of the gain.
        both_ways: Whether a gain beyond the limit breaks it as a loss does.
    """
    if -gain.low <= limit and (not both_ways or gain.high <= limit):
        return "holds"
    if gain.high < 0 and gain.value < -limit:
        return "broken"
    if both_ways and gain.low > 0 and gain.value > limit:
        return "broken"
    return "not told"


def pair_up(new: Iterable[RunRecord], baseline: Iterable[RunRecord]) -> tuple[list[Pair], list[LeftOut]]:
    """Returns the runs that may be compared, and those that may not with the name of the field in the way.

    Workload and configuration must be equal, but for the arms of one comparison: those were asked for alike,
    and what a tree does otherwise by default is for a check of it to tell. Of the baseline's machines the
    same one is taken, else the one that ran last. Runs that failed or were skipped are left out, with their
    reason; an arm of a comparison that failed counts as such only where no later one of the same request
    went well.
    """
    new = list(new)
    theirs: dict[bytes, list[RunRecord]] = {}
    other_arms: dict[bytes | None, list[RunRecord]] = {}
    for record in baseline:
        if record.status == "ok":
            theirs.setdefault(_key(record), []).append(record)
            if record.turns:
                other_arms.setdefault(_comparison(record), []).append(record)
    ours: dict[tuple[bytes, str], list[RunRecord]] = {}
    left_out = []
    arms_that_ran = {one.request_key for one in new if one.status == "ok" and one.turns}
    for record in new:
        if record.status == "ok":
            ours.setdefault((_key(record), _machine(record)), []).append(record)
        else:
            why = "the new run was skipped" if record.status == "skipped" else "the new run failed"
            made_good = record.turns is not None and record.request_key in arms_that_ran
            failed = record.status == "failed" and not made_good
            left_out.append(_leave_out(record, f"{why}: {record.reason}", failed=failed))
    pairs = []
    for (key, machine), records in ours.items():
        matching = theirs.get(key) or other_arms.get(_comparison(records[0]), [])
        if matching:
            pair = _make_pair(records, _of_one_machine(matching, machine))
            if pair.takes_turns and not pair.processes():
                left_out.append(_leave_out(records[0], "no pair of the two sides is complete"))
            else:
                pairs.append(pair)
        else:
            candidates = [runs[0] for runs in theirs.values()]
            left_out.append(_leave_out(records[0], _explain_missing(records[0], candidates)))
    return pairs, left_out


def explain_no_speed(pair: Pair) -> LeftOut | None:
    """Returns why no series of a pair was timed by both sides; None where neither side timed any."""
    names = [
        ", ".join(dict.fromkeys(reading_text(one) for run in runs for one in run.series)) or "nothing"
        for runs in (pair.baseline, pair.new)
    ]
    if names == ["nothing", "nothing"]:
        return None
    return _leave_out(pair.new[0], f"baseline and new runs timed nothing in common: {'; '.join(names)}")


def list_missing(new: Iterable[RunRecord], baseline: Iterable[RunRecord]) -> tuple[str, ...]:
    """Returns in words what only the baseline ran, however it went on the new side."""
    ours = {key for record in new for key in (_key(record), _comparison(record))}
    return tuple(
        dict.fromkeys(
            describe_run(record)
            for record in baseline
            if record.status == "ok" and ours.isdisjoint({_key(record), _comparison(record)} - {None})
        )
    )


def list_lost(new: Sequence[RunRecord], baseline: Iterable[RunRecord]) -> tuple[str, ...]:
    """Returns the strategies of which the new side has no run, though the baseline ran the same under them.

    A device whose driver is broken is not found any more, and nothing of it can fail.
    """
    ours = {record.configuration.strategy for record in new}
    workloads = {identity(record.workload) for record in new}
    return tuple(
        dict.fromkeys(
            record.configuration.strategy
            for record in baseline
            if record.status == "ok"
            and record.configuration.strategy not in ours
            and identity(record.workload) in workloads
        )
    )


def series_key(series: Series) -> SeriesKey:
    """Returns what series of two runs share that time the same."""
    return series.name, series.fence, tuple(sorted(series.parameters.items()))


def _make_pair(new: Sequence[RunRecord], baseline: Sequence[RunRecord]) -> Pair:
    setups = [
        msgspec.structs.asdict(records[-1].configuration) | dict(setup_facts(records[-1].environment))
        for records in (baseline, new)
    ]
    return Pair(
        workload=new[0].workload,
        configuration=new[0].configuration,
        new=tuple(new),
        baseline=tuple(baseline),
        differences=list_differences(*setups),
    )


def _of_one_machine(records: Sequence[RunRecord], machine: str) -> list[RunRecord]:
    same = [record for record in records if _machine(record) == machine]
    return same or [record for record in records if _machine(record) == _machine(records[-1])]


def _explain_missing(record: RunRecord, candidates: Iterable[RunRecord]) -> str:
    """Returns in which fields the nearest run of the same scenario differs."""
    nearest: tuple[str, ...] | None = None
    for candidate in candidates:
        if candidate.workload.scenario == record.workload.scenario:
            sides = [
                msgspec.structs.asdict(one.workload) | msgspec.structs.asdict(one.configuration)
                for one in (candidate, record)
            ]
            differences = list_differences(*sides)
            nearest = differences if nearest is None else min(nearest, differences, key=len)
    if nearest is None:
        return "the baseline has no run of this scenario"
    return f"the baseline's nearest run differs in {'; '.join(nearest)}"


def list_differences(baseline: Mapping[str, object], new: Mapping[str, object]) -> tuple[str, ...]:
    """Returns what differs, as "name: baseline's → new one's"."""
    return tuple(
        f"{name}: {baseline.get(name, 'not set')} → {new.get(name, 'not set')}"
        for name in {**baseline, **new}
        if baseline.get(name) != new.get(name)
    )


def _leave_out(record: RunRecord, why: str, *, failed: bool = False) -> LeftOut:
    return LeftOut(scenario=record.workload.scenario, what=describe_run(record), why=why, failed=failed)


def _key(record: RunRecord) -> bytes:
    return identity(record.workload) + identity(record.configuration)


def _comparison(record: RunRecord) -> bytes | None:
    """Returns what the arms of a comparison of one workload have in common; None where there was none."""
    return identity(record.workload) + record.turns.comparison.encode() if record.turns else None


def _machine(record: RunRecord) -> str:
    return record.environment.fingerprint if record.environment else ""
