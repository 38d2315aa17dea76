"""What disturbs step times, as numbers: fitted to records, and what a simulation draws from."""

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from ..records.record import RunRecord
from .statistics import step_seconds

_TRAINING_AND_INFERENCE = ("compute", "throughput", "latency")
_LONG = 50  # samples from which an autocorrelation or a share of slow steps can be read
_NORMAL = 1.4826  # a normal distribution's standard deviation over its median absolute deviation


@dataclass(frozen=True, kw_only=True)
class Noise:
    """How samples of one process scatter. Deviations are those of logarithms, that is, shares.

    Attributes:
        block_sd: Standard deviation of blocks, outliers apart.
        autocorrelation: Between a sample and the next.
        slow_share: The share of samples that stick out, by more than 4 standard deviations.
        slow_size: By how much, on average.
        warm_up: How much longer the first step takes after those that compile.
    """

    block_sd: float
    autocorrelation: float
    slow_share: float
    slow_size: float
    warm_up: float


# Of the records in results/reference; a test fits them again.
REFERENCE = Noise(block_sd=0.0141, autocorrelation=0.30, slow_share=0.0211, slow_size=0.37, warm_up=0.0759)


def fit_noise(records: Iterable[RunRecord]) -> Noise:
    """Returns the medians, over all series of training and inference, of what each shows.

    Autocorrelation and slow steps are read from series of at least 50 single steps.
    """
    series = [one for record in records for one in record.series if one.name in _TRAINING_AND_INFERENCE]
    blocks = [_logs(step_seconds(one)) for one in series if one.fence == "block"]
    steps = [_logs(step_seconds(one)) for one in series if one.fence == "step" and len(one.steps) >= _LONG]
    slow = [_slow(one) for one in steps]
    return Noise(
        block_sd=statistics.median(_robust_sd(one) for one in blocks),
        autocorrelation=statistics.median(_autocorrelation(one) for one in steps),
        slow_share=statistics.median(len(found) / len(one) for found, one in zip(slow, steps, strict=True)),
        slow_size=statistics.fmean(size for found in slow for size in found),
        warm_up=statistics.median(
            one.warmup_seconds[0] / statistics.median(step_seconds(one)) - 1
            for one in series
            if one.warmup_seconds
        ),
    )


def _logs(seconds: Sequence[float]) -> list[float]:
    middle = statistics.median(seconds)
    return [math.log(one / middle) for one in seconds]


def _robust_sd(logs: Sequence[float]) -> float:
    return _NORMAL * statistics.median(abs(one) for one in logs)


def _slow(logs: Sequence[float]) -> list[float]:
    limit = 4 * _robust_sd(logs)
    return [math.expm1(one) for one in logs if one > limit]


def _autocorrelation(logs: Sequence[float]) -> float:
    mean = statistics.fmean(logs)
    total = math.fsum((one - mean) ** 2 for one in logs)
    return math.fsum((one - mean) * (after - mean) for one, after in pairwise(logs)) / total
