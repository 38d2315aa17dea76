"""The formulas: pure functions from raw samples to figures, each with its source.

Nothing here imports NumPy or SciPy, so that a command can answer at once.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from ..records.record import Series

CONFIDENCE = 0.95

Verdict = Literal["fine", "look", "input-bound"]


@dataclass(frozen=True, kw_only=True)
class Spread:
    """A median and the median absolute deviation around it, in the samples' own unit."""

    median: float
    mad: float

    @property
    def relative_mad(self) -> float | None:
        """Returns the deviation as a share of the median; None where the median is zero."""
        return self.mad / self.median if self.median else None


@dataclass(frozen=True, kw_only=True)
class Percentile:
    """A percentile and the order statistics that hold it with the stated confidence.

    Attributes:
        probability: 0.99 for p99.
        value: The estimate, in the samples' own unit.
        low, high: The ends of its confidence interval.
        count: How many samples it comes from.
    """

    probability: float
    value: float
    low: float
    high: float
    count: int


@dataclass(frozen=True, kw_only=True)
class TooFewSamples:
    """What stands in a percentile's place where no interval for it exists.

    Attributes:
        probability: 0.99 for p99.
        count: How many samples there were.
        needed: How many there must be.
    """

    probability: float
    count: int
    needed: int


def throughput(series: Series) -> float | None:
    """Returns examples a second: all examples over all time; None where no time passed.

    The mean of the samples' rates would be another, larger number, since it weighs a short sample like a
    long one (that mistake is told in NVIDIA DeepLearningExamples, issue 1264).
    """
    seconds = math.fsum(series.seconds)
    return sum(series.examples) / seconds if seconds > 0 else None


def sample_rates(series: Series) -> tuple[float, ...]:
    """Returns each sample's examples a second, to describe the spread around `throughput`."""
    return tuple(
        examples / seconds
        for examples, seconds in zip(series.examples, series.seconds, strict=True)
        if seconds > 0
    )


def step_seconds(series: Series) -> tuple[float, ...]:
    """Returns each sample's seconds a step; in a "block" series this is the mean over the block's steps."""
    return tuple(
        seconds / steps for steps, seconds in zip(series.steps, series.seconds, strict=True) if steps > 0
    )


def matrix_product_flops_per_second(series: Series, n: int) -> float | None:
    """Returns the rate of n × n matrix products: 2n³ operations each, over all time.

    n³ multiplications and as many additions (Golub & Van Loan, Matrix Computations, section 1.1).
    """
    seconds = math.fsum(series.seconds)
    return 2 * n**3 * sum(series.steps) / seconds if seconds > 0 else None


def describe(samples: Sequence[float]) -> Spread | None:
    """Returns the median and the median absolute deviation; None without samples.

    The deviation is median(|x − median(x)|), not scaled to a normal distribution's standard deviation
    (Hampel, The Influence Curve and its Role in Robust Estimation, 1974). No sample is dropped, however
    far it lies.
    """
    if not samples:
        return None
    median = statistics.median(samples)
    return Spread(median=median, mad=statistics.median(abs(sample - median) for sample in samples))


def percentile(samples: Sequence[float], probability: float) -> Percentile | TooFewSamples:
    """Returns a percentile with its 95 % interval, or what says that there are too few samples for one.

    The estimate interpolates linearly between order statistics (Hyndman & Fan 1996, type 7). The interval
    is `order_statistic_ranks`; it assumes independent samples, which the steps of one run only resemble.
    """
    ranks = order_statistic_ranks(len(samples), probability)
    if ranks is None:
        return TooFewSamples(probability=probability, count=len(samples), needed=samples_needed(probability))
    ordered = sorted(samples)
    position = (len(ordered) - 1) * probability
    below = math.floor(position)
    above = min(below + 1, len(ordered) - 1)
    value = ordered[below] + (position - below) * (ordered[above] - ordered[below])
    low, high = (ordered[rank - 1] for rank in ranks)
    return Percentile(probability=probability, value=value, low=low, high=high, count=len(ordered))


@lru_cache
def order_statistic_ranks(
    count: int, probability: float, confidence: float = CONFIDENCE
) -> tuple[int, int] | None:
    """Returns ranks (l, u), from 1, such that the l-th and u-th smallest samples enclose the percentile.

    The number of samples below the true percentile is binomial, so the interval covers it with
    probability Σ C(n, k) pᵏ (1 − p)ⁿ⁻ᵏ over k = l … u − 1, whatever the samples' distribution (David &
    Nagaraja, Order Statistics, section 7.1; Hahn & Meeker, Statistical Intervals, chapter 5). Of all that
    reach the confidence the one with the fewest ranks is taken, and of those the one that covers most.
    None: there is no such interval. It first exists at 6 samples for p50, 29 for p90 and 299 for p99: as
    many as a one-sided bound takes, since the other tail is as good as empty there.
    """
    # Beyond ten standard deviations there is nothing that a float would hold.
    reach = 10 * math.sqrt(count * probability * (1 - probability)) + 10
    first = max(1, math.floor(count * probability - reach))
    last = min(count - 1, math.ceil(count * probability + reach))
    chances = {k: _binomial(count, k, probability) for k in range(first, last + 1)}
    best: tuple[int, float, int, int] | None = None
    upper, covered = first, 0.0
    for lower in range(first, last + 1):
        while covered < confidence and upper <= last:
            covered += chances[upper]
            upper += 1
        if covered < confidence:
            break
        candidate = (upper - lower, -covered, lower, upper)
        best = min(best, candidate) if best else candidate
        covered -= chances[lower]
    return best[2:] if best else None


@lru_cache
def samples_needed(probability: float, confidence: float = CONFIDENCE) -> int:
    """Returns the fewest samples with which a percentile has an interval: 1 − pⁿ − (1 − p)ⁿ ≥ confidence."""
    count = 2
    while 1 - probability**count - (1 - probability) ** count < confidence:
        count += 1
    return count


def waiting_share(series: Series) -> float | None:
    """Returns which share of all time next() kept the loop waiting; None where it was not measured.

    Measured directly: on a CPU, input and compute share cores, so that the difference of separate readings
    says nothing.
    """
    seconds = math.fsum(series.seconds)
    if series.blocked_seconds is None or seconds <= 0:
        return None
    return math.fsum(series.blocked_seconds) / seconds


def waiting_verdict(share: float) -> Verdict:
    """Returns "fine" below 5 % of the time, "input-bound" above 20 %, "look" between (as XProf does)."""
    if share < 0.05:
        return "fine"
    return "look" if share <= 0.20 else "input-bound"


def time_shares(seconds: Mapping[str, float]) -> dict[str, float]:
    """Returns each part's share of the sum; an empty mapping where no time passed."""
    total = math.fsum(seconds.values())
    return {name: part / total for name, part in seconds.items()} if total > 0 else {}


def _binomial(count: int, successes: int, probability: float) -> float:
    """Returns C(n, k) pᵏ (1 − p)ⁿ⁻ᵏ by logarithms: the coefficient itself outgrows a float at n ≈ 1,030."""
    log_coefficient = math.lgamma(count + 1) - math.lgamma(successes + 1) - math.lgamma(count - successes + 1)
    return math.exp(
        log_coefficient + successes * math.log(probability) + (count - successes) * math.log1p(-probability)
    )
