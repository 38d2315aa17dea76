"""Two arms of runs as ratios with their intervals, and what may be claimed. Derived on every reading."""

import math
import statistics
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone

from tpuens.errors import ConfigurationError

from ..records.floors import Floor, floor_state, load_floor
from ..records.record import RunRecord, Series
from .cost_checks import ASSUMED_DAYS_FLOOR, choose_reference
from .labels import reading_text
from .matching import Match, match_records
from .ratios import (
    MIN_PAIRS,
    Clock,
    Interval,
    Judgement,
    judge,
    noise_floor,
    pair_log_ratio,
    pairs_needed,
    ratio_interval,
)
from .roofline import plausibility, share_flops
from .statistics import CONFIDENCE

# What "how many pairs does it take" is told for: a slowdown, and how often it is to be found.
EFFECTS = ((0.10, 0.95), (0.05, 0.80))

SeriesKey = tuple[str, str, tuple[tuple[str, object], ...]]
FloorOf = Callable[[RunRecord, str], Floor | None]


@dataclass(frozen=True, kw_only=True)
class Reading:
    """One series that both arms timed, as a ratio.

    Attributes:
        match: The runs that it comes from.
        name: Of the series, with its parameters.
        log_ratios: Of each pair, by wall time.
        cpu_log_ratios: By process CPU time; empty where strategies are not the CPU's.
        wall: The ratio of speeds by wall time, above 1 where B is faster; None of a single pair.
        cpu: By process CPU time.
        judgement: What may be claimed.
        floor: The noise floor that it was held to.
        floor_state: "fresh", "missing", "stale: …", or whence it was assumed.
        needed: By clock and (slowdown, how often it is found): how many pairs of such runs find it; None
            where the noise floor hides it. By CPU time work alone is found, no sleep.
        reference: The reference workload through which runs were compared that did not take turns.
    """

    match: Match
    name: str
    log_ratios: tuple[float, ...]
    cpu_log_ratios: tuple[float, ...]
    wall: Interval | None
    cpu: Interval | None
    judgement: Judgement
    floor: Floor | None
    floor_state: str
    needed: dict[Clock, dict[tuple[float, float], int | None]]
    reference: str | None = None

    @property
    def ratio(self) -> float:
        """Returns the ratio by wall time, of all pairs."""
        return math.exp(statistics.fmean(self.log_ratios))


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What came of comparing two arms.

    Attributes:
        readings: Of everything that both timed.
        left_out: What could not be compared, and why.
        cautions: What the records say against their own numbers, with how many of the runs say it.
    """

    readings: tuple[Reading, ...]
    left_out: tuple[str, ...]
    cautions: tuple[str, ...]


def compare_records(
    a: Sequence[RunRecord],
    b: Sequence[RunRecord],
    *,
    find_floor: FloorOf = lambda record, scenario_class: None,
    now: datetime | None = None,
) -> Comparison:
    """Returns every ratio of B to A that the records allow.

    The error of 5 % is shared out among the readings, so that arms that are alike are told apart in at most
    5 % of comparisons.

    Args:
        a: The records of one arm, oldest first.
        b: Of the other one.
        find_floor: Returns the noise floor of a record's machine for a class of scenarios.
        now: To tell how old a floor is.

    Raises:
        ConfigurationError: Nothing can be compared; the message says what stands in the way.
    """
    matches, left_out = match_records(a, b)
    found = [(match, key) for match in matches for key in _common_series(match)]
    if not found:
        raise ConfigurationError(
            "A ratio needs a series that both arms timed. Accuracies are held against each other by "
            f"`tpuens-bench check`. Received: {len(a)} and {len(b)} runs without one"
        )
    error = (1 - CONFIDENCE) / len(found)
    moment = now or datetime.now(timezone.utc)
    return Comparison(
        readings=tuple(_read(match, key, find_floor, moment, error) for match, key in found),
        left_out=tuple(left_out),
        cautions=(
            *_count_cautions([run for match in matches for run in (*match.a, *match.b)]),
            *_count_impossible([run for match in matches for run in (*match.a, *match.b)]),
        ),
    )


def stored_floor(record: RunRecord, scenario_class: str) -> Floor | None:
    """Returns the noise floor of the record's machine that lies in the user's cache folder."""
    return load_floor(record.environment.fingerprint, scenario_class) if record.environment else None


def make_floor(a: Sequence[RunRecord], b: Sequence[RunRecord], now: datetime) -> Floor:
    """Returns the noise floor that a comparison of equal arms gives; of several readings the largest.

    Raises:
        ConfigurationError: The arms are not equal, or too few to tell.
    """
    readings = compare_records(a, b).readings
    walls = [noise_floor(one.log_ratios) for one in readings]
    cpus = [noise_floor(one.cpu_log_ratios) for one in readings]
    wall, cpu = (max((one for one in found if one is not None), default=None) for found in (walls, cpus))
    environment = a[0].environment
    if wall is None or environment is None or any(one.match.differences for one in readings):
        raise ConfigurationError(
            "A noise floor takes a comparison of two equal arms with at least 2 pairs. "
            f"Received: {len(a)} and {len(b)} runs"
        )
    return Floor(
        scenario_class=floor_class(a[0], readings[0].match.manner),
        wall=wall,
        cpu=cpu,
        pairs=len(readings[0].log_ratios),
        created=now.strftime("%Y-%m-%dT%H:%M:%SZ"),
        fingerprint=environment.fingerprint,
        versions=environment.versions,
    )


def floor_class(record: RunRecord, manner: str = "turns") -> str:
    """Returns the class of scenarios that shares a noise floor: scenario, kind of device, manner."""
    device = record.configuration.strategy.partition("-")[0].partition(":")[0]
    return f"{record.workload.scenario} on {device}" + (", whole runs" if manner == "whole-runs" else "")


def log_ratios(
    match: Match, key: SeriesKey, clock: Clock = "wall", through: SeriesKey | None = None
) -> list[float]:
    """Returns the logarithm of each pair's ratio of speeds; above 0, B is faster.

    Args:
        match: The runs.
        key: Of the series.
        clock: Which clock's.
        through: The reference workload whose own ratio is taken out of each.
    """
    return [
        pair_log_ratio(_by_key(a.series)[key], _by_key(b.series)[key], clock)
        - (pair_log_ratio(_by_key(a.references)[through], _by_key(b.references)[through]) if through else 0.0)
        for a, b in zip(match.a, match.b, strict=True)
    ]


def series_key(series: Series, *, with_batch_size: bool = False) -> SeriesKey:
    """Returns what series of two runs share that time the same; the batch size may be what was varied."""
    parameters = {
        name: value for name, value in series.parameters.items() if with_batch_size or name != "batch_size"
    }
    return series.name, series.fence, tuple(sorted(parameters.items()))


def _read(match: Match, key: SeriesKey, find_floor: FloorOf, now: datetime, error: float) -> Reading:
    # Between machines the reference is slower or faster for the very reason that is asked for.
    apart = match.manner == "apart" and not match.division
    reference = _common_reference(match, on_host=key[0] == "input") if apart else None
    walls = log_ratios(match, key, through=reference)
    cpus = log_ratios(match, key, "cpu") if _has_cpu_time(match, key) else []
    floor, state = _choose_floor(match, find_floor, now)
    wall, cpu = ratio_interval(walls), ratio_interval(cpus)
    eyes: dict[Clock, list[float]] = {"wall": walls, "cpu": cpus} if cpus else {"wall": walls}
    return Reading(
        match=match,
        name=_name(_by_key(match.a[0].series)[key], key),
        log_ratios=tuple(walls),
        cpu_log_ratios=tuple(cpus),
        wall=wall,
        cpu=cpu,
        judgement=judge(wall, cpu, floor=floor, error=error),
        floor=floor,
        floor_state=state,
        needed={
            clock: _pairs_needed(clock, ratios, floor, error / len(eyes))
            for clock, ratios in eyes.items()
            if len(ratios) >= MIN_PAIRS
        },
        reference=reference[0] if reference else None,
    )


def _pairs_needed(
    clock: Clock, ratios: Sequence[float], floor: Floor | None, error: float
) -> dict[tuple[float, float], int | None]:
    share = (floor.cpu if clock == "cpu" and floor.cpu is not None else floor.wall) if floor else 0.0
    sd = statistics.stdev(ratios)
    return {effect: pairs_needed(sd, *effect, floor=share, error=error) for effect in EFFECTS}


def _choose_floor(match: Match, find_floor: FloorOf, now: datetime) -> tuple[Floor | None, str]:
    """Returns the floor that the runs are held to, and its state."""
    record = match.b[0]
    classes = {floor_class(one, match.manner): one for one in (match.a[0], record)}
    if match.manner == "apart":
        wide = Floor(
            scenario_class=floor_class(record, "apart"),
            wall=ASSUMED_DAYS_FLOOR,
            cpu=None,
            pairs=0,
            created=record.created,
            fingerprint="",
        )
        return wide, "assumed for runs that did not take turns"
    # Of unlike strategies each has its own; the larger one holds for both.
    found = [find_floor(one, name) for name, one in classes.items()]
    known = [floor for floor in found if floor is not None]
    floor = max(known, key=lambda one: one.wall) if len(known) == len(found) else None
    return floor, floor_state(floor, record.environment, now) if record.environment else "missing"


def _common_series(match: Match) -> list[SeriesKey]:
    keys = [set(_by_key(one.series)) for one in (*match.a, *match.b)]
    return [key for key in _by_key(match.a[0].series) if all(key in of_run for of_run in keys)]


def _common_reference(match: Match, *, on_host: bool) -> SeriesKey | None:
    keys = set.intersection(*(set(_by_key(one.references)) for one in (*match.a, *match.b)))
    return choose_reference(keys, on_host=on_host)


def _has_cpu_time(match: Match, key: SeriesKey) -> bool:
    """Returns whether the process CPU time says something: only of a CPU's work, side by side."""
    return match.manner != "apart" and all(
        one.configuration.strategy.startswith("cpu") and sum(_by_key(one.series)[key].cpu_seconds or ()) > 0
        for one in (*match.a, *match.b)
    )


def _by_key(series: Sequence[Series]) -> dict[SeriesKey, Series]:
    """Returns the series by what they time; of those that differ in the batch size alone each is its own."""
    counts = Counter(map(series_key, series))
    return {series_key(one, with_batch_size=counts[series_key(one)] > 1): one for one in series}


def _name(series: Series, key: SeriesKey) -> str:
    batch_size = dict(key[2]).get("batch_size")
    return reading_text(series) + (f", batch {batch_size}" if batch_size is not None else "")


def _count_cautions(records: Sequence[RunRecord]) -> tuple[str, ...]:
    messages: dict[str, list[str]] = {}
    for record in records:
        for caution in {one.code: one for one in record.warnings}.values():
            messages.setdefault(caution.code, []).append(caution.message)
    return tuple(
        f"{code} in {len(told)} of {len(records)} runs, such as: {told[0]}" for code, told in messages.items()
    )


def _count_impossible(records: Sequence[RunRecord]) -> Iterator[str]:
    """Yields what of the records passes what their device can do; they are told, not left out."""
    found = [plausibility(record) for record in share_flops(records)]
    for verdict in ("refused", "flagged"):
        reasons = [one.why for one in found if one.verdict == verdict]
        if reasons:
            yield f"{verdict} as impossible: {len(reasons)} of {len(records)} runs, such as: {reasons[0]}"
