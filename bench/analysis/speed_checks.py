"""The gate on speed where the two sides took turns: what `compare` would claim, held to a threshold."""

from collections.abc import Iterator
from datetime import datetime, timezone

from ..records.floors import Floor, calibrate_call, floor_state
from ..records.record import Series
from .gates import Check, Pair, Verdict, series_key
from .labels import reading_text
from .ratios import CLOCK_NAMES, MIN_PAIRS, Clock, Interval, Judgement, judge, pair_log_ratio, ratio_interval
from .thresholds import Thresholds

# A series as both sides of each pair of processes timed it: (baseline, new).
Reading = list[tuple[Series, Series]]


def list_readings(pair: Pair) -> list[Reading]:
    """Returns the series that all processes of both sides timed."""
    processes = [
        ({series_key(one): one for one in old.series}, {series_key(one): one for one in new.series})
        for new, old in pair.processes()
    ]
    return [
        [(old[key], new[key]) for old, new in processes]
        for key in (processes[0][1] if processes else ())
        if all(key in old and key in new for old, new in processes)
    ]


def check_speed(pair: Pair, thresholds: Thresholds, *, floor: Floor | None, error: float) -> Iterator[Check]:
    """Yields the check of each series that both sides timed in turns.

    "broken" where `judge` calls the new side slower and the ratio passes the threshold; "holds" where the
    interval of the wall time shows that the loss stays within the threshold (non-inferiority), whatever the
    CPU time says; else "not told".

    Args:
        pair: Whose runs.
        thresholds: Of the call.
        floor: The machine's noise floor.
        error: How often equal sides may be told apart, in each reading.
    """
    threshold = thresholds.of("speed", pair.workload.scenario)
    environment = pair.new[0].environment
    state = floor_state(floor, environment, datetime.now(timezone.utc)) if environment else "missing"
    turns = pair.new[0].turns
    call = calibrate_call(pair.workload.scenario, turns.manner if turns else "turns")
    advice = "" if state == "fresh" else f"; the noise floor is {state} ({call})"
    for reading in list_readings(pair):
        wall = _interval(reading, "wall")
        judgement = judge(
            wall,
            _interval(reading, "cpu") if _has_cpu_time(pair, reading) else None,
            floor=floor,
            shown=threshold,
            error=error,
        )
        interval = judgement.interval
        yield Check(
            gate="speed",
            scenario=pair.workload.scenario,
            what=reading_text(reading[0][1]),
            of=pair.what,
            verdict=_verdict(judgement, wall, threshold, error),
            change=interval.ratio - 1 if interval else None,
            low=interval.low - 1 if interval else None,
            high=interval.high - 1 if interval else None,
            threshold=threshold,
            floor=_floor_of_clock(floor, judgement.clock),
            why=f"{judgement.verdict}, by {CLOCK_NAMES[judgement.clock]}: {judgement.why}{advice}",
        )


def _verdict(judgement: Judgement, wall: Interval | None, threshold: float, error: float) -> Verdict:
    least = 1 - threshold
    if judgement.verdict == "slower" and judgement.interval and judgement.interval.ratio < least:
        return "broken"
    if wall is None or wall.pairs < MIN_PAIRS:
        return "not told"
    return "holds" if wall.at(1 - error).low >= least else "not told"


def _interval(reading: Reading, clock: Clock) -> Interval | None:
    return ratio_interval([pair_log_ratio(old, new, clock) for old, new in reading])


def _has_cpu_time(pair: Pair, reading: Reading) -> bool:
    """Returns whether the process CPU time may be read: it says nothing of what an accelerator does."""
    return pair.configuration.strategy.startswith("cpu") and all(
        series.cpu_seconds and sum(series.cpu_seconds) > 0 for both in reading for series in both
    )


def _floor_of_clock(floor: Floor | None, clock: Clock) -> float | None:
    if floor is None:
        return None
    return floor.cpu if clock == "cpu" and floor.cpu is not None else floor.wall
