"""What the real runs of a self-test came to, derived from their folder on every reading."""

import math
import statistics
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import msgspec

from ..records.floors import Floor
from ..records.record import RunRecord, Series
from ..records.store import read_folder
from .checks import check_records
from .compare import EFFECTS, Comparison, compare_records, make_floor
from .impossible import judge_planted
from .matching import split_arms
from .rates import Finding, Rate
from .ratios import CLOCK_NAMES, pair_log_ratio, pairs_needed, ratio_interval
from .thresholds import Thresholds

DONE_FILE = "done.json"
COMPARISONS = 20  # of equal arms, and as many with a planted slowdown
STOPWATCH_SCENARIOS = ("train-step", "inference", "input-pipeline")
AGREEMENT = 0.03  # of the instrument and what times the same steps beside it
_OUTSIDE = {"stopwatch": "instrument", "trace": "traced"}  # and what the instrument calls its own there
_KINDS = ("equal", "work", "sleep")


class Done(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How an item ended."""

    seconds: float
    error: str | None


@dataclass(frozen=True, kw_only=True)
class RealRuns:
    """What the real runs came to."""

    rates: tuple[Rate, ...]
    findings: tuple[Finding, ...]
    missing: tuple[str, ...]


def read_real_runs(folder: Path) -> RealRuns:
    """Returns what the items in a folder came to; those that are not done are missing.

    Args:
        folder: With a folder for each item.
    """
    done = {
        path.parent.name: msgspec.json.decode(path.read_bytes(), type=Done)
        for path in folder.glob(f"*/{DONE_FILE}")
    }
    ready = [name for name, how in sorted(done.items()) if how.error is None]
    findings = [
        Finding(title=name, holds=False, text=how.error) for name, how in sorted(done.items()) if how.error
    ]
    missing: list[str] = []
    comparisons: list[_Compared] = []
    if "calibration" in ready:
        floor = make_floor(*_read_arms(folder / "calibration"), datetime.now(timezone.utc))
        comparisons = [
            _compare(folder / name, kind, floor)
            for name in ready
            for kind in _KINDS
            if name.startswith(f"{kind}-")
        ]
        findings += [_describe_machine(comparisons, floor)] if comparisons else []
    if len(comparisons) < 2 * COMPARISONS:
        missing.append(f"{2 * COMPARISONS - len(comparisons)} of {2 * COMPARISONS} comparisons of real runs")
    for name in STOPWATCH_SCENARIOS:
        if f"stopwatch-{name}" in ready:
            findings += [_hold_against(outside, folder / f"stopwatch-{name}", name) for outside in _OUTSIDE]
        else:
            missing.append(f"stopwatch and trace beside {name}")
    if {"members", "members-other-seeds", "members-spoilt"} <= set(ready):
        findings += _check_accuracy(folder)
    else:
        missing.append("accuracy over seeds")
    if {"honest", "no-fence"} <= set(ready):
        honest, fenceless = (read_folder(folder / name)[-1] for name in ("honest", "no-fence"))
        findings += judge_planted(honest, fenceless)
    else:
        missing.append("impossible numbers")
    return RealRuns(rates=tuple(_rates(comparisons)), findings=tuple(findings), missing=tuple(missing))


@dataclass(frozen=True, kw_only=True)
class _Compared:
    """One comparison: of which kind, what `compare` makes of it, and whether the gate breaks."""

    kind: str
    comparison: Comparison
    broken: bool

    def claims(self, verdict: str) -> bool:
        return any(reading.judgement.verdict == verdict for reading in self.comparison.readings)


def _compare(folder: Path, kind: str, floor: Floor) -> _Compared:
    a, b = _read_arms(folder)
    result = check_records([_hide_fault(one) for one in b], a, Thresholds(), find_floor=lambda record: floor)
    return _Compared(
        kind=kind,
        comparison=compare_records(a, b, find_floor=lambda record, scenario_class: floor),
        broken=any(check.gate == "speed" and check.verdict == "broken" for check in result.checks),
    )


def _rates(comparisons: list[_Compared]) -> Iterator[Rate]:
    """Yields alarms and finds; so few trials can refute a promise, but not prove it."""
    for kind in _KINDS:
        trials = [one for one in comparisons if one.kind == kind]
        slower, broken = sum(one.claims("slower") for one in trials), sum(one.broken for one in trials)
        apart = sum(one.claims("slower") or one.claims("faster") for one in trials)
        rows = (
            {"equal arms told apart": apart, "equal arms, and the gate on speed breaks": broken}
            if kind == "equal"
            else {
                f"planted {kind} of 10 %, called slower": slower,
                f"planted {kind} of 10 %, the gate breaks": broken,
            }
        )
        for title, hits in rows.items() if trials else ():
            yield Rate(
                group="real runs",
                title=title,
                hits=hits,
                trials=len(trials),
                at_least=None if kind == "equal" else 0.95,
                at_most=0.05 if kind == "equal" else None,
                held_by="one bound",
            )


def _describe_machine(comparisons: list[_Compared], floor: Floor) -> Finding:
    """Returns the floor, how pairs spread, how many find a slowdown, and which clock decided."""
    readings = [reading for one in comparisons for reading in one.comparison.readings]
    spreads = [statistics.pvariance(one.log_ratios) * len(one.log_ratios) for one in readings]
    degrees = sum(len(one.log_ratios) - 1 for one in readings)
    sd = math.sqrt(sum(spreads) / degrees)
    needed = {
        effect: pairs_needed(sd, effect, power, floor=floor.wall, error=0.025) for effect, power in EFFECTS
    }
    clocks = Counter(one.judgement.clock for one in readings if one.judgement.verdict in ("slower", "faster"))
    decided = (
        ", ".join(f"{CLOCK_NAMES[clock]} {count} times" for clock, count in clocks.most_common()) or "none"
    )
    pairs = statistics.median(len(one.log_ratios) for one in readings)
    return Finding(
        title=f"this machine: {_describe_setup(comparisons[0].comparison)}",
        holds=True,
        text=f"noise floor {floor.wall:.1%} by wall time"
        + (f", {floor.cpu:.1%} by CPU time" if floor.cpu is not None else "")
        + f"; pairs' ratios spread by {sd:.1%}; a slowdown of 10 % takes {needed[0.1]} pairs and one of 5 % "
        f"{needed[0.05]} by wall time alone; comparisons had {pairs:.0f} pairs; who claimed differences: "
        f"{decided}",
    )


def _describe_setup(comparison: Comparison) -> str:
    environment = comparison.readings[0].match.a[0].environment
    if environment is None:
        return "not known"
    return f"{environment.machine_label}, TensorFlow {environment.versions.get('tensorflow', 'not known')}"


def _hold_against(outside: str, folder: Path, name: str) -> Finding:
    logs = []
    for path in sorted(folder.glob("process-*.json")):
        both = msgspec.json.decode(path.read_bytes(), type=dict[str, Series])
        logs.append(pair_log_ratio(both[outside], both[_OUTSIDE[outside]]))
    interval = ratio_interval(logs)
    if interval is None:
        return Finding(title=f"{outside} beside {name}", holds=False, text="fewer than 2 processes")
    return Finding(
        title=f"{outside} beside {name}",
        holds=interval.low > 1 / (1 + AGREEMENT) and interval.high < 1 + AGREEMENT,
        text=f"throughput of records is {interval.ratio:.4f} times the {outside}'s, {interval.low:.4f} to "
        f"{interval.high:.4f} over {interval.pairs} processes; it must all lie within {AGREEMENT:.0%} of 1",
    )


def _check_accuracy(folder: Path) -> Iterator[Finding]:
    honest = read_folder(folder / "members")
    for name, title, must_break in (
        ("members-other-seeds", "members and ensemble trained with other seeds", False),
        ("members-spoilt", "an ensemble with one member's weights spoilt", True),
    ):
        new = [_hide_fault(one) for one in read_folder(folder / name)]
        checks = [one for one in check_records(new, honest, Thresholds()).checks if one.gate == "accuracy"]
        broken = [one.what for one in checks if one.verdict == "broken"]
        yield Finding(
            title=title,
            holds=bool(checks) and bool(broken) == must_break,
            text=f"of {len(checks)} gates on accuracy, broken: {', '.join(broken) or 'none'}",
        )


def _read_arms(folder: Path) -> tuple[list[RunRecord], list[RunRecord]]:
    return split_arms(read_folder(folder))


def _hide_fault(record: RunRecord) -> RunRecord:
    """Returns the record without the word that a fault was planted, which no real fault comes with."""
    configuration = msgspec.structs.replace(record.configuration, planted=None)
    return msgspec.structs.replace(record, configuration=configuration)
