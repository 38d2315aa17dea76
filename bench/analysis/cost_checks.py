"""The gates on what runs cost: memory, compilation, and speed where the two sides could not take turns.

Everything is worked out in logarithms of ratios: above 0 the new runs are better.
"""

import math
import statistics
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

from ..records.record import RunRecord, Series
from .gates import Check, Pair, SeriesKey, judge_change, series_key
from .intervals import Difference, paired_difference, t_quantile, unpaired_difference
from .labels import reading_text
from .ratios import MIN_PAIRS
from .thresholds import Gate, Thresholds

# With fewer runs on a side an interval covers as good as everything.
MIN_RUNS = 3
# By how much two equal things seem to differ on different days, as long as the baseline does not say it of
# its own machine. METHOD of this project, rule 7: on a noisy 2-core machine the medians of separate runs of
# one and the same step spread by 12 %.
ASSUMED_DAYS_FLOOR = 0.12
MIN_DAYS = 4
# What runs are held against that could not take turns: the first that all of them have.
_REFERENCES = ("small-cnn", "matmul", "stream")


def check_memory(pair: Pair, thresholds: Thresholds) -> Iterator[Check]:
    """Yields the check of the peak resident memory, and of the peak on each device that both sides know.

    What a run takes of memory does not depend on what else the machine does: below `MIN_RUNS` a side the
    peaks are compared as they are; from there on the interval must exclude no change too.
    """
    for name in sorted({name for record in pair.new for name in _peaks(record)}):
        baseline, new = (
            [math.log(peaks[name]) for peaks in map(_peaks, records) if peaks.get(name)]
            for records in (pair.baseline, pair.new)
        )
        if baseline and new:
            gain = unpaired_difference(baseline, new)
            if min(len(baseline), len(new)) < MIN_RUNS:
                gain = Difference(value=gain.value, low=gain.value, high=gain.value)
            why = f"{len(new)} new and {len(baseline)} baseline runs"
            yield make_check(pair, "memory", name, gain, thresholds, why=why)


def check_compilation(pair: Pair, thresholds: Thresholds, *, confidence: float) -> Iterator[Check]:
    """Yields the check of the seconds that tracing, compiling and the first step took.

    Of pairs that took turns there have to be `MIN_PAIRS` [METHOD of this project, rule 8].
    """
    what = "trace and first step"
    if not all(_compile_seconds(record) for record in (*pair.new, *pair.baseline)):
        return
    if pair.takes_turns:
        gains = [math.log(_compile_seconds(old) / _compile_seconds(new)) for new, old in pair.processes()]
        why = f"{len(gains)} pairs of processes"
        gain = paired_difference(gains, confidence)
        if len(gains) < MIN_PAIRS:
            gain, why = Difference(value=gain.value, low=-math.inf, high=math.inf), f"{why}, too few to tell"
        yield make_check(pair, "compile", what, gain, thresholds, why=why)
    else:
        sides = [[-math.log(_compile_seconds(run)) for run in runs] for runs in (pair.new, pair.baseline)]
        yield _check_across_days(
            pair, "compile", what, sides, thresholds, confidence=confidence, on_host=True
        )


def list_stored_readings(pair: Pair) -> list[Series]:
    """Returns those series of the first new run that all runs of both sides timed."""
    runs = [_rates(run.series) for run in (*pair.new, *pair.baseline)]
    return [one for one in pair.new[0].series if all(series_key(one) in rates for rates in runs)]


def check_stored_speed(pair: Pair, thresholds: Thresholds, *, confidence: float) -> Iterator[Check]:
    """Yields the check of each series that both sides timed, through the reference workload."""
    sides = [[_rates(run.series) for run in runs] for runs in (pair.new, pair.baseline)]
    for one in list_stored_readings(pair):
        key = series_key(one)
        speeds = [[rates[key] for rates in side] for side in sides]
        what, on_host = reading_text(one), one.name == "input" or _is_on_host(key)
        yield _check_across_days(
            pair, "speed", what, speeds, thresholds, confidence=confidence, on_host=on_host
        )


def make_check(
    pair: Pair,
    gate: Gate,
    what: str,
    gain: Difference,
    thresholds: Thresholds,
    *,
    floor: float | None = None,
    why: str,
) -> Check:
    """Returns the check of a gain in logarithms.

    Args:
        pair: Whose runs.
        gate: Which threshold they are held to.
        what: The reading, in words.
        gain: Logarithm of how many times better the new side is, with its interval.
        thresholds: Of the call.
        floor: What noise alone makes of equal things, as a share; the interval reaches as far. None where
            none is known.
        why: What the interval comes from.
    """
    threshold = thresholds.of(gate, pair.workload.scenario)
    if gate == "speed":  # examples a second: lower is worse
        allowed = -math.log1p(-threshold) if threshold < 1 else math.inf
        change, low, high = (math.expm1(x) for x in (gain.value, gain.low, gain.high))
    else:  # bytes or seconds: higher is worse
        allowed = math.log1p(threshold)
        change, low, high = (math.expm1(-x) for x in (gain.value, gain.high, gain.low))
    known = math.isfinite(low) and math.isfinite(high) and low < high
    return Check(
        gate=gate,
        scenario=pair.workload.scenario,
        what=what,
        of=pair.what,
        verdict=judge_change(gain, allowed),
        change=change,
        low=low if known else None,
        high=high if known else None,
        threshold=threshold,
        floor=floor,
        why=why,
    )


def _check_across_days(
    pair: Pair,
    gate: Gate,
    what: str,
    speeds: list[list[float]],
    thresholds: Thresholds,
    *,
    confidence: float,
    on_host: bool,
) -> Check:
    """Returns the check of what was measured on different occasions.

    Each run is taken relative to a reference workload that was timed in its own process, and the interval
    reaches at least as far as other days make equal things differ [METHOD of this project, rule 7].

    Args:
        pair: Whose runs.
        gate: Which threshold they are held to.
        what: The reading, in words.
        speeds: Logarithms of the new runs' speeds, and of the baseline's.
        thresholds: Of the call.
        confidence: Of the interval.
        on_host: Whether it is the host's work, whatever the strategy's device.
    """
    name, references = _common_reference(pair, on_host)
    new, baseline = (
        [speed - reference for speed, reference in zip(side, of_side, strict=True)]
        for side, of_side in zip(speeds, references, strict=True)
    )
    gain, reach, source = _compare_days(_by_day(pair.new, new), _by_day(pair.baseline, baseline), confidence)
    floor = math.expm1(reach)
    runs = f"{len(new)} new and {len(baseline)} baseline runs"
    missing = None
    if not pair.same_machine:
        missing = "another machine, and no noise floor holds for both: run the baseline on this one"
    elif name is None:
        missing = "the runs neither took turns nor timed the same reference workload"
    elif min(len(new), len(baseline)) < MIN_RUNS:
        missing = f"{runs} that did not take turns, and at least {MIN_RUNS} on each side are needed"
    if missing:
        alone = Difference(value=gain.value, low=-math.inf, high=math.inf)
        return make_check(pair, gate, what, alone, thresholds, why=missing)
    why = (
        f"{runs} that did not take turns, through the reference workload {name}; "
        f"noise floor of different days {floor:.1%}, {source}"
    )
    return make_check(pair, gate, what, gain, thresholds, floor=floor, why=why)


def _by_day(records: Iterable[RunRecord], values: Iterable[float]) -> list[list[float]]:
    days: dict[str, list[float]] = {}
    for record, value in zip(records, values, strict=True):
        days.setdefault(record.created[:10], []).append(value)
    return list(days.values())


def _compare_days(
    new: list[list[float]], baseline: list[list[float]], confidence: float
) -> tuple[Difference, float, str]:
    """Returns how far the days' means lie apart, how far days alone set them apart, and where that is from.

    Runs of one day share what that day does to them, so that an interval over runs alone covers the truth too
    seldom. From `MIN_DAYS` days of the baseline on, their own spread says how far days reach; before, it is
    assumed.

    Args:
        new: The new runs' values, day by day.
        baseline: Likewise.
        confidence: Of the interval, which is the wider of the two: over runs, and over days.
    """
    if len(baseline) < MIN_DAYS:
        reach = math.log1p(ASSUMED_DAYS_FLOOR)
        source = f"assumed, until the baseline holds runs of {MIN_DAYS} days"
    else:
        spread = statistics.stdev(map(statistics.fmean, baseline))
        scale = math.sqrt(1 / len(new) + 1 / len(baseline))
        reach = t_quantile(len(baseline) - 1, confidence) * scale * spread
        source = f"from {len(baseline)} days of the baseline"
    ours, theirs = (statistics.fmean(map(statistics.fmean, days)) for days in (new, baseline))
    runs = unpaired_difference([*chain(*new)], [*chain(*baseline)], confidence)
    value, wider = ours - theirs, max(reach, runs.high - runs.value)
    gain = Difference(value=value, low=value - wider, high=value + wider, confidence=confidence)
    return gain, reach, source


def choose_reference(keys: Iterable[SeriesKey], *, on_host: bool) -> SeriesKey | None:
    """Returns the best of the references that all runs timed; None where there is none.

    What runs on the host needs one that ran there; else the accelerator's go first.
    """
    fit = [key for key in keys if key[0] in _REFERENCES and (_is_on_host(key) or not on_host)]
    return min(fit, key=lambda key: (_REFERENCES.index(key[0]), _is_on_host(key), str(key)), default=None)


def _common_reference(pair: Pair, on_host: bool) -> tuple[str | None, list[list[float]]]:
    """Returns the best reference that all runs timed alike, and the logarithms of its speeds, side by side.

    None, and zeros, where there is none.
    """
    sides = [[_rates(run.references) for run in runs] for runs in (pair.new, pair.baseline)]
    common = set.intersection(*(set(rates) for side in sides for rates in side))
    key = choose_reference(common, on_host=on_host)
    if key is None:
        return None, [[0.0] * len(side) for side in sides]
    return key[0], [[rates[key] for rates in side] for side in sides]


def _is_on_host(key: SeriesKey) -> bool:
    return ("device", "cpu") in key[2]


def _rates(series: Sequence[Series]) -> dict[SeriesKey, float]:
    """Returns the logarithm of each series' steps a second: all steps over all time."""
    return {
        series_key(one): math.log(sum(one.steps) / math.fsum(one.seconds))
        for one in series
        if math.fsum(one.seconds) > 0 and sum(one.steps) > 0
    }


def _peaks(record: RunRecord) -> dict[str, int]:
    memory = record.memory
    return {"peak resident memory": memory.peak_resident_bytes, **memory.device_peak_bytes} if memory else {}


def _compile_seconds(record: RunRecord) -> float:
    return math.fsum(record.phases.get(name, 0.0) for name in ("trace", "first_step"))
