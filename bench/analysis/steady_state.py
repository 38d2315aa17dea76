"""Whether a series of timing samples is steady: change points, and a trend test after the last of them.

The method is Barrett et al., "Virtual Machine Warmup Blows Hot and Cold" (OOPSLA 2017): change points by
PELT (Killick, Fearnhead & Eckley 2012) cut the series into segments of one level; neighbours of nearly
one level are taken as one; the series is steady from the first segment of the last level on, and never
steady where the last change comes too late. It was made for 2,000 iterations in each of 30 processes.
Ours are 5 to 20 blocks, or 10 to 1,000 single steps, so this differs:

* Long series are cut into at most 40 bins, and each bin's median stands for it. Neighbouring steps are
  alike (caches, other processes, collections of garbage), which PELT would take for changes; medians of
  bins hardly are, and a slow step does not move them. In Barrett et al. a filter for outliers does that.
* A change is one of the level alone, over the noise of the whole series. They allow the variance to
  change too, which two samples of a short segment cannot tell. A change costs 3 ln n (1 + 8 / n) times
  the variance: the second factor pays for a variance that is itself read from few samples.
* Two levels are one where they lie within 3 % of each other. They use 1 ms, which is much for one model
  and nothing for another.
* A single sample that sticks out between two stretches of one level is an outlier, not a change.
* They need the last 500 of 2,000 iterations to be of one level; here it is the last quarter, and 3
  samples.
* They know no drift. In a short series a slope hides from change points, so Mann and Kendall's test for a
  trend (Mann 1945; Kendall 1975) is made over what would be the steady part, or the last half where that
  is shorter. A trend is a drift where it is significant at 5 %, comes to more than 3 % from end to end by
  Theil and Sen's slope, and is described better by a line than by the changes found there.

PELT is written out: that takes 20 lines, while importing the package `ruptures` takes 1.7 seconds and
each of its calls 15 ms, and 3,000 series are judged here in 0.7 seconds (2 busy cores). On simulated
series with noise of 1 % a steady one is called so in 97 % and more; with noise of 3 % in about 90 %, less
where neighbouring samples depend on each other, and a change of 10 % near the end of 10 samples is seen
in half.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

MIN_SAMPLES = 5  # with fewer, a change and noise look alike
TOLERANCE = 0.03
_MOST_BINS = 40
_SIGNIFICANCE = 0.05


@dataclass(frozen=True, kw_only=True)
class SteadyState:
    """What became of a series.

    Attributes:
        verdict: "steady" from some sample on; "drifting" where the end still moves in one direction; "never
            steady" where it changes level until the end, or where there are fewer than 5 samples.
        from_step: The first sample of the steady part, from 0; None unless steady.
    """

    verdict: Literal["steady", "drifting", "never steady"]
    from_step: int | None


def steady_state(samples: Sequence[float]) -> SteadyState:
    """Returns whether a series became steady, and from which sample on.

    Args:
        samples: Seconds a step, in the order they were taken, warm-up left out.
    """
    if len(samples) < MIN_SAMPLES:
        return SteadyState(verdict="never steady", from_step=None)
    width = -(-len(samples) // _MOST_BINS)
    bins = [statistics.median(samples[at : at + width]) for at in range(0, len(samples), width)]
    penalty = _penalty(bins)
    cuts = change_points(bins, penalty)
    start = _start_of_last_level(bins, cuts)
    tail = min(start, len(bins) // 2)
    if _drifts(bins[tail:], [cut - tail for cut in cuts if cut > tail], penalty):
        return SteadyState(verdict="drifting", from_step=None)
    if len(bins) - start < max(3, len(bins) / 4):
        return SteadyState(verdict="never steady", from_step=None)
    return SteadyState(verdict="steady", from_step=start * width)


def level_changes(values: Sequence[float]) -> list[int]:
    """Returns where values in the order of time change their level: the first index of every later level.

    None is seen among fewer than 5 values. See this module for the method; a cut costs 1 + 45 / n² times as
    much here, where no tolerance stands behind it: of 800 simulated series of independent noise of 5 to 40
    values each, at most 6 % show a change then. Where neighbours are alike, more do.

    Args:
        values: Logarithms. Values without any noise, such as accuracies of one seed, would let a cut cost
            nothing: a change is worth a cut from some millionths on.
    """
    if len(values) < MIN_SAMPLES:
        return []
    return change_points(values, max((1 + 45 / len(values) ** 2) * _penalty(values), 1e-10))


def change_points(values: Sequence[float], penalty: float) -> list[int]:
    """Returns where the level changes: the first index of every segment but the first.

    The cut that minimises the squared deviations from the segments' means plus a penalty for each segment,
    exactly, by PELT: candidates that can never again be the last change are dropped on the way.
    """
    sums, squares = [0.0], [0.0]
    for value in values:
        sums.append(sums[-1] + value)
        squares.append(squares[-1] + value * value)
    best = [-penalty]
    before = [0]
    candidates = [0]
    for end in range(1, len(sums)):
        costs = [
            best[at] + squares[end] - squares[at] - (sums[end] - sums[at]) ** 2 / (end - at)
            for at in candidates
        ]
        least = min(costs)
        best.append(least + penalty)
        before.append(candidates[costs.index(least)])
        candidates = [at for at, cost in zip(candidates, costs, strict=True) if cost <= least + penalty]
        candidates.append(end)
    found, at = [], before[-1]
    while at:
        found.append(at)
        at = before[at]
    return found[::-1]


def _start_of_last_level(bins: Sequence[float], cuts: Sequence[int]) -> int:
    """Returns where the level begins that the series ends on."""
    segments = [(first, bins[first:last]) for first, last in zip([0, *cuts], [*cuts, len(bins)], strict=True)]
    start, last = segments[-1]
    level = statistics.median(last)
    for first, segment in reversed(segments[:-1]):
        if abs(statistics.median(segment) - level) <= TOLERANCE * level:
            start = first
        elif len(segment) > 1 or first == 0:
            break
    return start


def _penalty(values: Sequence[float]) -> float:
    return 3 * math.log(len(values)) * (1 + 8 / len(values)) * _variance(values)


def _variance(values: Sequence[float]) -> float:
    """Returns the variance around a level that may change: half the mean square of neighbours' differences.

    That is von Neumann's (1941); the largest difference is left out, for it is the change.
    """
    squares = sorted((after - before) ** 2 for before, after in pairwise(values))
    return math.fsum(squares[:-1]) / (len(squares) - 1) / 2


def _drifts(values: Sequence[float], cuts: Sequence[int], penalty: float) -> bool:
    """Returns whether there is a trend of some size that a line describes better than steps do."""
    count = len(values)
    pairs = [(i, j) for i in range(count) for j in range(i + 1, count)]
    score = sum((values[j] > values[i]) - (values[j] < values[i]) for i, j in pairs)
    deviation = math.sqrt(count * (count - 1) * (2 * count + 5) / 18)
    if math.erfc(max(0, abs(score) - 1) / deviation / math.sqrt(2)) > _SIGNIFICANCE:
        return False
    slope = statistics.median((values[j] - values[i]) / (j - i) for i, j in pairs)
    if abs(slope) * (count - 1) <= TOLERANCE * statistics.median(values):
        return False
    level = [value - slope * at for at, value in enumerate(values)]
    segments = [values[first:last] for first, last in zip([0, *cuts], [*cuts, count], strict=True)]
    steps = math.fsum(_squares(segment) for segment in segments) + penalty * len(cuts)
    return _squares(level) + penalty < steps if cuts else True


def _squares(values: Sequence[float]) -> float:
    mean = math.fsum(values) / len(values)
    return math.fsum((value - mean) ** 2 for value in values)
