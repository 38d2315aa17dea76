"""One scenario over the runs of many days: each reading as a line of points, and where its level changes.

Runs of different days have not taken turns, so a change may be the machine's own. What the reference
workload did in the same processes stands beside it: where both change, the machine did.
"""

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from tpuens.errors import ConfigurationError

from ..records.record import RunRecord, Series
from ..records.store import latest_records
from .labels import MachineNames, identity, label_words, tell_apart
from .pooling import pool
from .ratios import pair_log_ratio
from .steady_state import level_changes
from .summary import Kind, Row, summarise

_Run = tuple[Row, tuple[Series, ...]]  # with the references of its process


@dataclass(frozen=True, kw_only=True)
class Point:
    """What one run folder says of a reading.

    Attributes:
        created: When, ISO 8601.
        commit: Of the code that measured, first 12 digits; empty where it is not known.
        result: As `Row.result`: examples/s, seconds, FLOP/s or a share.
        machine_speed: The reference workload's speed against that of the line's first run that has one; None
            without a reference.
    """

    created: str
    commit: str
    result: float
    machine_speed: float | None


@dataclass(frozen=True, kw_only=True)
class Change:
    """A change of level: the first point of the new one, and the ratio of the levels' medians, new to old."""

    at: int
    ratio: float


@dataclass(frozen=True, kw_only=True)
class Line:
    """One reading of one machine and configuration, over time.

    Attributes:
        label: What tells it from the other lines.
        kind: What its results are.
        points: Oldest first.
        changes: In the order of time; none are looked for among fewer than 5 points.
    """

    label: str
    kind: Kind
    points: tuple[Point, ...]
    changes: tuple[Change, ...]


def collect_history(folders: Iterable[Sequence[RunRecord]], scenario: str) -> tuple[list[Line], str]:
    """Returns the lines of a scenario, those with the most points first, and what all have in common.

    Args:
        folders: The records of each run folder; the repeats in a folder are one point.
        scenario: Its name.

    Raises:
        ConfigurationError: No run of it has a result.
    """
    found: dict[tuple[object, ...], list[_Run]] = {}
    runs = [latest_records(records) for records in folders]
    # Of all folders together: two machines may share a label, and then each has its fingerprint beside it.
    names = MachineNames([record for latest in runs for record in latest])
    for latest in runs:
        machines = {record.id: names.of(record) for record in latest}
        references = {record.id: record.references for record in latest}
        for row in pool(summarise([one for one in latest if one.workload.scenario == scenario])):
            if row.result:
                row = replace(row, machine=machines[row.record_ids[0]])
                key = (row.machine, *row.what, identity(row.configuration))
                found.setdefault(key, []).append((row, references[row.record_ids[0]]))
    if not found:
        raise ConfigurationError(
            f"No run of this scenario has a result in these folders. Received: scenario={scenario!r}"
        )
    lines = sorted(found.values(), key=len, reverse=True)
    labels, common = tell_apart([_words(line[0][0]) for line in lines])
    return [_make_line(label, line) for label, line in zip(labels, lines, strict=True)], common


def _make_line(label: str, runs: Sequence[_Run]) -> Line:
    runs = sorted(runs, key=lambda run: run[0].created)
    first = next((references for _, references in runs if references), ())
    points = tuple(
        Point(
            created=row.created,
            commit=dict(row.setup).get("git commit", ""),
            result=row.result or 0,
            machine_speed=_compare_references(first, references),
        )
        for row, references in runs
    )
    logarithms = [math.log(point.result) for point in points]
    cuts = level_changes(logarithms)
    levels = [statistics.median(logarithms[start:end]) for start, end in pairwise([0, *cuts, len(points)])]
    changes = tuple(
        Change(at=at, ratio=math.exp(new - old))
        for at, (old, new) in zip(cuts, pairwise(levels), strict=True)
    )
    return Line(label=label, kind=runs[0][0].kind, points=points, changes=changes)


def _compare_references(first: Sequence[Series], own: Sequence[Series]) -> float | None:
    """Returns the geometric mean of the speeds of the references that both runs have."""

    def keyed(references: Sequence[Series]) -> dict[tuple[object, ...], Series]:
        return {(one.name, *sorted(one.parameters.items())): one for one in references}

    before, after = keyed(first), keyed(own)
    ratios = [pair_log_ratio(before[key], after[key]) for key in before if key in after]
    return math.exp(math.fsum(ratios) / len(ratios)) if ratios else None


def _words(row: Row) -> list[str]:
    return label_words(row.workload, row.configuration, [row.reading, row.machine])
