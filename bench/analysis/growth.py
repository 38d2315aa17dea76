"""How throughput grows with one thing that varies while the others stay, and where two arms cross."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .labels import identity
from .ratios import Interval, ratio_interval
from .summary import Row

# What varies in the sweeps of input-growth, as its series' parameters name it.
SWEEPS = ("image_bytes", "batch_size", "parallel_calls", "examples_per_cached")


@dataclass(frozen=True, kw_only=True)
class Point:
    """A throughput with its 95 % interval, by `ratio_interval`.

    The interval is over the blocks of a single run, which resemble each other more than runs do, or over the
    runs of several.
    """

    at: float
    rate: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Growth:
    """A sweep: the points of one thing that varies, ascending.

    Attributes:
        by: What varies.
        row: The reading of the first point: machine, workload and configuration are those of all.
    """

    by: str
    row: Row
    points: tuple[Point, ...]

    @property
    def plateau(self) -> int:
        """Returns the index of the first point that no later one passes, its interval wholly above."""
        return next(
            index
            for index, point in enumerate(self.points)
            if all(later.low <= point.high for later in self.points[index + 1 :])
        )


@dataclass(frozen=True, kw_only=True)
class Duel:
    """Two arms that took turns at the same values: how many times as fast the second is.

    Attributes:
        row: A reading of it: machine, workload and configuration.
        first, second: The points of each arm, ascending.
        ratios: The speed of the second over that of the first, by the value, ascending.
    """

    row: Row
    first: tuple[Point, ...]
    second: tuple[Point, ...]
    ratios: dict[int, Interval]

    @property
    def wins(self) -> list[int]:
        """Returns the values at which the second is faster, its interval wholly above 1."""
        return [at for at, ratio in self.ratios.items() if ratio.low > 1]

    @property
    def loses(self) -> list[int]:
        """Returns the values at which the second is slower, its interval wholly below 1."""
        return [at for at, ratio in self.ratios.items() if ratio.high < 1]


def find_growth(rows: Iterable[Row]) -> list[Growth]:
    """Returns every sweep of input-growth on each machine, configuration and set-up.

    Args:
        rows: As `bench.analysis.pooling.pool` gives them; others are passed over.
    """
    sweeps: dict[tuple[object, ...], list[Row]] = {}
    for row in rows:
        by = next((name for name in SWEEPS if name in dict(row.parameters)), None)
        if row.workload.scenario == "input-growth" and row.kind == "throughput" and by:
            sweeps.setdefault((by, *_place(row)), []).append(row)
    found = [
        Growth(by=str(by), row=group[0], points=_points(group, str(by)))
        for (by, *_), group in sorted(sweeps.items(), key=lambda item: SWEEPS.index(str(item[0][0])))
    ]
    return [growth for growth in found if growth.points]


def find_fusing(rows: Iterable[Row]) -> list[Duel]:
    """Returns the members of ensembles one after another against all of them fused, by batch size.

    Args:
        rows: As `bench.analysis.pooling.pool` gives them; others are passed over.
    """
    duels: dict[tuple[object, ...], list[Row]] = {}
    for row in rows:
        if row.workload.scenario == "ensemble-inference" and row.kind == "throughput":
            duels.setdefault(_place(row), []).append(row)
    found = []
    for group in duels.values():
        arms = {
            arm: {row.batch_size or 0: row for row in group if dict(row.parameters).get("arm") == arm}
            for arm in ("sequential", "fused")
        }
        ratios = {
            size: ratio
            for size in sorted(arms["sequential"].keys() & arms["fused"].keys())
            if (ratio := paired_ratio(arms["sequential"][size], arms["fused"][size]))
        }
        if ratios:
            first, second = (_points(list(arm.values()), "batch_size") for arm in arms.values())
            found.append(Duel(row=group[0], first=first, second=second, ratios=ratios))
    return found


def find_caches(rows: Iterable[Row]) -> list[dict[tuple[str, str], Row]]:
    """Returns the readings of input-caches by source and state, for each machine and configuration."""
    groups: dict[tuple[object, ...], dict[tuple[str, str], Row]] = {}
    for row in rows:
        if row.workload.scenario == "input-caches" and row.kind == "throughput":
            parameters = dict(row.parameters)
            place = (str(parameters["source"]), str(parameters["state"]))
            groups.setdefault(_place(row), {})[place] = row
    return list(groups.values())


def paired_ratio(first: Row, second: Row) -> Interval | None:
    """Returns the speed of the second reading over that of the first; None where their samples are no pairs.

    The i-th samples of both were taken in the same round, or in the same run where there are several.
    """
    if len(first.rates) != len(second.rates):
        return None
    return ratio_interval([math.log(b / a) for a, b in zip(first.rates, second.rates, strict=True)])


def _points(rows: Sequence[Row], by: str) -> tuple[Point, ...]:
    points = []
    for row in rows:
        interval = ratio_interval([math.log(rate) for rate in row.rates])
        rate = row.examples_per_second
        if interval and rate:
            points.append(
                Point(
                    at=float(dict(row.parameters)[by]),
                    rate=rate,
                    low=rate * (interval.low / interval.ratio),  # in this order low <= rate after rounding
                    high=rate * (interval.high / interval.ratio),
                )
            )
    return tuple(sorted(points, key=lambda point: point.at))


def _place(row: Row) -> tuple[object, ...]:
    return row.machine, identity(row.workload), identity(row.configuration), row.setup
