"""How much faster one arm is than the other, and whether that may be claimed.

A comparison is pairs of processes, each pair one log-ratio; the pairs are what is independent, and the
samples inside a process are not. So a pair counts once, however long it ran. Everything that decides is
here and pure: `tpuens-bench selftest` runs these very functions on step times whose truth is known.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tpuens.errors import ConfigurationError

from ..records.floors import Floor
from ..records.record import Series
from .statistics import CONFIDENCE

Clock = Literal["wall", "cpu"]
Verdict = Literal["faster", "slower", "no difference shown", "too noisy to tell"]

MIN_PAIRS = 6  # fewer spread too little: at 3 pairs the quantile is 4.3, at 6 it is 2.6
SHOWN = 0.05  # the difference that "no difference shown" speaks of, where nothing else is stated

CLOCK_NAMES: dict[Clock, str] = {"wall": "wall time", "cpu": "process CPU time"}


@dataclass(frozen=True, kw_only=True)
class Interval:
    """The speed of B over that of A, with its confidence interval. Above 1, B is faster.

    Attributes:
        ratio: The geometric mean over the pairs.
        low, high: The ends of the interval; symmetric around the ratio in its logarithm.
        confidence: Of the interval, two-sided.
        pairs: How many pairs of processes it comes from.
    """

    ratio: float
    low: float
    high: float
    confidence: float
    pairs: int

    @property
    def half_width(self) -> float:
        """The larger distance of an end from the ratio, as a share of the ratio."""
        return max(self.high - self.ratio, self.ratio - self.low) / self.ratio

    def at(self, confidence: float) -> "Interval":
        """Returns the interval of the same pairs at another confidence."""
        wider = _quantile(confidence, self.pairs) / _quantile(self.confidence, self.pairs)
        reach = math.log(self.high / self.ratio) * wider
        return Interval(
            ratio=self.ratio,
            low=self.ratio * math.exp(-reach),
            high=self.ratio * math.exp(reach),
            confidence=confidence,
            pairs=self.pairs,
        )


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What may be claimed of a ratio.

    Attributes:
        verdict: "no difference shown" says that one of `shown` would have been; "too noisy to tell" not even
            that.
        clock: Whose interval decided.
        interval: That interval, at the confidence at which it decided; None where there was none.
        shown: The size of a difference that "no difference shown" excludes, as a share.
        why: One sentence.
    """

    verdict: Verdict
    clock: Clock
    interval: Interval | None
    shown: float
    why: str


def pair_log_ratio(a: Series, b: Series, clock: Clock = "wall") -> float:
    """Returns the logarithm of the speed of B over that of A; above 0, B is faster.

    A speed is all examples over all time, and all steps over all time where the steps hold no examples
    (matrix products). The mean of per-block ratios would weigh a short block like a long one.

    Raises:
        ConfigurationError: A series has no samples, or none of the CPU clock.
    """
    by_examples = sum(a.examples) > 0 and sum(b.examples) > 0
    return math.log(_speed(b, clock, by_examples) / _speed(a, clock, by_examples))


def ratio_interval(log_ratios: Sequence[float], confidence: float = CONFIDENCE) -> Interval | None:
    """Returns the geometric mean of the pairs' ratios with its interval; None below 2 pairs.

    Student's t on the log-ratios (Student, The Probable Error of a Mean, 1908), back on the scale of
    ratios. A bootstrap over so few pairs would cover the truth too seldom.
    """
    pairs = len(log_ratios)
    if pairs < 2:
        return None
    mean = math.fsum(log_ratios) / pairs
    variance = math.fsum((one - mean) ** 2 for one in log_ratios) / (pairs - 1)
    reach = _quantile(confidence, pairs) * math.sqrt(variance / pairs)
    return Interval(
        ratio=math.exp(mean),
        low=math.exp(mean - reach),
        high=math.exp(mean + reach),
        confidence=confidence,
        pairs=pairs,
    )


@dataclass(frozen=True, kw_only=True)
class Precision:
    """How well a comparison is to know its ratios before it may stop.

    Attributes:
        shown: The size of difference that matters, as a share.
        error: What the verdict allows, to be divided among the comparison's readings; None: each of them is
            taken at 95 %, as `compare` shows it.
    """

    shown: float = SHOWN
    error: float | None = None


UNTIL_NARROW = Precision()


def narrow_enough(interval: Interval | None, *, shown: float = SHOWN) -> bool:
    """Returns whether a comparison may stop before its budget is spent.

    It may once the half-width is half of the difference that matters: then an interval either lies closer
    to 1 than that difference or excludes 1. Only the width is looked at; a stop that looked at the verdict
    would stop at false alarms.

    Args:
        interval: Of the wall time.
        shown: The size of difference that matters, as a share.
    """
    return interval is not None and interval.pairs >= MIN_PAIRS and interval.half_width <= shown / 2


def noise_floor(log_ratios: Sequence[float]) -> float | None:
    """Returns the noise floor that A/A pairs leave: the largest difference that their interval allows.

    Both arms of an A/A comparison are the same, so whatever its interval does not exclude may be the
    machine's and the method's own doing. More pairs make it smaller, down to a bias that stays.
    """
    interval = ratio_interval(log_ratios)
    return max(interval.high - 1, 1 - interval.low) if interval else None


def judge(
    wall: Interval | None,
    cpu: Interval | None,
    *,
    floor: Floor | None,
    shown: float = SHOWN,
    error: float = 1 - CONFIDENCE,
) -> Judgement:
    """Returns what may be claimed of B against A.

    A difference is real only when the interval excludes 1 and the ratio is further from 1 than the noise
    floor. "No difference shown" needs the whole interval of the wall time closer to 1 than `shown`, or than
    the floor where that is larger: two one-sided tests (Schuirmann 1987), and on the safe side of them.

    Process CPU time is the second eye: sharper for work, and blind to sleep, locks and idle cores. It
    may claim a difference where the wall time can neither show nor exclude it, which is while the two
    intervals overlap; it never claims that there is none. With two eyes, each takes half of the error
    (Bonferroni), so that arms that are alike are told apart in at most `error` of comparisons.

    The error is two-sided in the gate too, which alarms on slower only: so the gate and the printed
    interval never disagree, and equal arms alarm in at most half of `error`. The other half pays for
    stopping once the interval is narrow, which favours samples whose spread came out too small.

    Args:
        wall: Of the wall time; None of a single pair, which has no interval.
        cpu: Of the process CPU time; None for strategies that are not the CPU's.
        floor: What A/A runs gave on this machine; None where it was not measured: the interval decides alone.
        shown: The size of difference that matters, as a share.
        error: How often equal arms may be told apart; a gate over several readings divides it among them.
    """
    if wall is None or wall.pairs < MIN_PAIRS:
        pairs = wall.pairs if wall else 1
        there = "there is 1" if pairs == 1 else f"there are {pairs}"
        why = f"a verdict takes {MIN_PAIRS} pairs of processes, and {there}"
        return Judgement(verdict="too noisy to tell", clock="wall", interval=wall, shown=shown, why=why)
    each = 1 - error / (2 if cpu else 1)
    wall_floor = floor.wall if floor else 0.0
    cpu_floor = floor.cpu if floor and floor.cpu is not None else wall_floor
    seen = wall.at(each)
    verdict = _difference(seen, wall_floor)
    if verdict:
        return _claim(verdict, "wall", seen, wall_floor)
    if cpu is not None and cpu.pairs >= MIN_PAIRS:
        second = cpu.at(each)
        verdict = _difference(second, cpu_floor)
        if verdict and second.low <= seen.high and seen.low <= second.high:
            return _claim(verdict, "cpu", second, cpu_floor)
    size = max(shown, wall_floor)
    alone = wall.at(1 - error)
    if 1 / (1 + size) < alone.low and alone.high < 1 + size:
        why = f"the whole interval of the wall time lies within {size:.1%} of 1"
        return Judgement(verdict="no difference shown", clock="wall", interval=alone, shown=size, why=why)
    if alone.low <= 1 <= alone.high:
        reason = "contains 1"
    elif abs(alone.ratio - 1) <= wall_floor:
        reason = "excludes 1, but the ratio lies within the noise floor"
    else:
        reason = "excludes 1 only where one clock alone is looked at"
    why = f"the interval of the wall time {reason}, and is too wide to exclude a difference of {size:.1%}"
    return Judgement(verdict="too noisy to tell", clock="wall", interval=alone, shown=size, why=why)


def pairs_needed(
    sd: float, effect: float, power: float, *, floor: float = 0.0, error: float = 1 - CONFIDENCE
) -> int | None:
    """Returns how many pairs find a slowdown with that power; None where the floor hides it.

    The t-test's power is that of the noncentral t-distribution (Cohen, Statistical Power Analysis, 1988).
    The ratio must pass the floor as well; both together happen at least as often as the sum of the two
    chances less 1 says.

    Args:
        sd: The standard deviation of the pairs' log-ratios.
        effect: The slowdown, as a share of a step's time: 0.1 for a step of 1.1 times the time.
        power: How often it is to be found.
        floor: The noise floor, as a share.
        error: The test's two-sided error.
    """
    from scipy.special import nctdtr, ndtr

    shift, hidden = math.log1p(effect), -math.log1p(-floor)
    if shift <= hidden:
        return None
    if sd == 0:
        return MIN_PAIRS
    for pairs in range(MIN_PAIRS, 10_000):
        scale = math.sqrt(pairs) / sd
        missed = float(nctdtr(pairs - 1, shift * scale, _quantile(1 - error, pairs)))
        below = float(ndtr((hidden - shift) * scale))
        if 1 - missed - below >= power:
            return pairs
    return None


def exact_bounds(successes: int, trials: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Returns the exact two-sided bounds of a rate (Clopper & Pearson 1934), from the beta distribution."""
    from scipy.special import betaincinv

    tail = (1 - confidence) / 2
    low = float(betaincinv(successes, trials - successes + 1, tail)) if successes else 0.0
    high = float(betaincinv(successes + 1, trials - successes, 1 - tail)) if successes < trials else 1.0
    return low, high


def _speed(series: Series, clock: Clock, by_examples: bool) -> float:
    seconds = series.cpu_seconds if clock == "cpu" else series.seconds
    done = sum(series.examples if by_examples else series.steps)
    total = math.fsum(seconds or ())
    if done <= 0 or total <= 0:
        raise ConfigurationError(
            f"A ratio needs samples of both arms; this one has none of the {CLOCK_NAMES[clock]}. Compare by "
            f"the other clock, or measure again. Received: series={series.name!r}"
        )
    return done / total


def _quantile(confidence: float, pairs: int) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(pairs - 1, (1 + confidence) / 2))


def _difference(interval: Interval, floor: float) -> Literal["faster", "slower"] | None:
    if interval.low <= 1 <= interval.high or abs(interval.ratio - 1) <= floor:
        return None
    return "faster" if interval.ratio > 1 else "slower"


def _claim(verdict: Verdict, clock: Clock, interval: Interval, floor: float) -> Judgement:
    beyond = f"the ratio passes the noise floor of {floor:.1%}" if floor else "no noise floor was measured"
    why = f"the interval of the {CLOCK_NAMES[clock]} excludes 1 at {interval.confidence:.1%}, and {beyond}"
    return Judgement(verdict=verdict, clock=clock, interval=interval, shown=abs(interval.ratio - 1), why=why)
