"""Intervals of the difference of two means, from few values: Student's t, paired or not.

Nothing here imports NumPy or SciPy at the top, so that a command can answer at once.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from .statistics import CONFIDENCE


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A mean difference and the interval that holds the true one with the stated confidence."""

    value: float
    low: float
    high: float
    confidence: float = CONFIDENCE


def paired_difference(differences: Sequence[float], confidence: float = CONFIDENCE) -> Difference:
    """Returns the mean of paired differences with its t-interval; of one pair, one without ends.

    Student, Biometrika 6 (1908): the pairs are independent, their differences roughly normal.
    """
    mean = statistics.fmean(differences)
    if len(differences) < 2:
        return Difference(value=mean, low=-math.inf, high=math.inf, confidence=confidence)
    error = statistics.stdev(differences) / math.sqrt(len(differences))
    return _around(mean, error, len(differences) - 1, confidence)


def unpaired_difference(
    new: Sequence[float], baseline: Sequence[float], confidence: float = CONFIDENCE
) -> Difference:
    """Returns the mean of `new` less that of `baseline` with Welch's interval; without ends if one has one.

    Welch, Biometrika 34 (1947): the two spreads need not be equal.
    """
    mean = statistics.fmean(new) - statistics.fmean(baseline)
    if min(len(new), len(baseline)) < 2:
        return Difference(value=mean, low=-math.inf, high=math.inf, confidence=confidence)
    variances = [statistics.variance(values) / len(values) for values in (new, baseline)]
    total = sum(variances)
    spread = sum(
        variance**2 / (len(values) - 1) for variance, values in zip(variances, (new, baseline), strict=True)
    )
    return _around(mean, math.sqrt(total), total**2 / spread if spread else math.inf, confidence)


def t_quantile(freedom: float, confidence: float = CONFIDENCE) -> float:
    """Returns how many standard errors reach to both sides of the mean, by Student's t."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, 0.5 + confidence / 2))


def _around(mean: float, error: float, freedom: float, confidence: float) -> Difference:
    reach = t_quantile(freedom, confidence) * error if error else 0.0
    return Difference(value=mean, low=mean - reach, high=mean + reach, confidence=confidence)
