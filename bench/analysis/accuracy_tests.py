"""Has an accuracy changed? Same weights on the same examples, and networks trained again over several seeds.

The two are different questions. The same weights under another configuration (a strategy, a dtype, XLA)
meet the very same examples, so every example is a pair: McNemar's test and a bootstrap of the pairs. A
network that is trained again differs by its seed alone: only several seeds tell that from a change.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tpuens.errors import ConfigurationError

from ..records.record import Outcomes, Parameter
from .gates import Verdict, judge_change
from .intervals import Difference, paired_difference, unpaired_difference
from .statistics import CONFIDENCE

# With two seeds an interval rests on one degree of freedom and covers as good as everything.
MIN_SEEDS = 3
_RESAMPLES = 10_000


@dataclass(frozen=True, kw_only=True)
class AccuracyTest:
    """A difference of accuracy, new less baseline as a share of the examples, and what it means.

    Attributes:
        difference: None where there is nothing to work it out from.
        p_value: McNemar's; None where networks were trained again.
        why: The verdict's reason in words.
    """

    verdict: Verdict
    difference: Difference | None
    p_value: float | None = None
    why: str


@dataclass(frozen=True, kw_only=True)
class McNemar:
    """What became of the same examples: how many only the one got right, how many only the other.

    `p_value` is the chance of a split at least so uneven where both are equally often right.
    """

    only_new: int
    only_baseline: int
    p_value: float


def mcnemar(new: Outcomes, baseline: Outcomes) -> McNemar:
    """Returns McNemar's exact test on the same examples.

    Of the examples that exactly one of the two gets right, each is right with either by the toss of a coin
    where they are equally good: two-sided binomial (McNemar, Psychometrika 12 (1947); the exact form is
    the one that Dietterich, Neural Computation 10 (1998), recommends for two classifiers on one test set).

    Raises:
        ConfigurationError: They are not of the same examples.
    """
    _check_same_examples(new, baseline)
    pairs = list(zip(new.right, baseline.right, strict=True))
    only_new, only_baseline = pairs.count(("1", "0")), pairs.count(("0", "1"))
    discordant = only_new + only_baseline
    tail = sum(math.comb(discordant, count) for count in range(min(only_new, only_baseline) + 1))
    p_value = min(1.0, 2 * tail / 2**discordant)
    return McNemar(only_new=only_new, only_baseline=only_baseline, p_value=p_value)


def bootstrap_difference(
    new: Outcomes, baseline: Outcomes, confidence: float = CONFIDENCE, seed: int = 0
) -> Difference:
    """Returns the difference of accuracy with the percentile interval of a paired bootstrap.

    Pairs of outcomes are drawn with replacement (Efron & Tibshirani, An Introduction to the Bootstrap, 1993,
    chapter 13). Since only the counts of the three kinds of pairs matter, drawing them as a multinomial is
    the same as drawing pairs. The same records give the same interval.

    Raises:
        ConfigurationError: They are not of the same examples.
    """
    import numpy as np

    found, count = mcnemar(new, baseline), len(new.right)
    kinds = np.array([found.only_new, found.only_baseline, count - found.only_new - found.only_baseline])
    drawn = np.random.default_rng(seed).multinomial(count, kinds / count, size=_RESAMPLES)
    differences = (drawn[:, 0] - drawn[:, 1]) / count
    low, high = np.quantile(differences, [0.5 - confidence / 2, 0.5 + confidence / 2])
    return Difference(
        value=(found.only_new - found.only_baseline) / count,
        low=float(low),
        high=float(high),
        confidence=confidence,
    )


def judge_agreement(
    new: Outcomes, baseline: Outcomes, *, margin: float, confidence: float = CONFIDENCE
) -> AccuracyTest:
    """Returns whether the same weights are as accurate under two configurations, within the margin.

    "holds" where the whole bootstrap interval lies within ± margin, and there are so many examples that a
    share of them as large as the margin would hardly be missed: without a flip a bootstrap shows none.
    "broken" where McNemar's test tells the two apart and the difference is beyond the margin, in whichever
    direction; else "not told".

    Raises:
        ConfigurationError: They are not of the same examples.
    """
    found = mcnemar(new, baseline)
    difference = bootstrap_difference(new, baseline, confidence)
    flips = f"{found.only_new + found.only_baseline} of {len(new.right):,} examples are right under one alone"
    verdict: Verdict
    fewest = math.ceil(math.log(1 - confidence) / math.log(1 - margin)) if 0 < margin < 1 else 1
    if len(new.right) < fewest and found.p_value > 1 - confidence:
        verdict, why = "not told", f"{flips}; {fewest} examples are the fewest for this margin"
    elif max(-difference.low, difference.high) <= margin:
        verdict, why = "holds", f"{flips}; the interval lies within the margin"
    elif found.p_value <= 1 - confidence and abs(difference.value) > margin:
        verdict, why = "broken", f"{flips} (McNemar p = {found.p_value:.2g})"
    else:
        verdict, why = "not told", f"{flips}; more examples would tell (McNemar p = {found.p_value:.2g})"
    return AccuracyTest(verdict=verdict, difference=difference, p_value=found.p_value, why=why)


def judge_seeds(
    new: Mapping[Parameter, Sequence[float]],
    baseline: Mapping[Parameter, Sequence[float]],
    *,
    margin: float,
    both_ways: bool = False,
    confidence: float = CONFIDENCE,
) -> AccuracyTest:
    """Returns whether networks that were trained again are no less accurate, within the margin.

    Non-inferiority over seeds, as MLPerf Training holds submissions against reference convergence points
    (RCP: several seeds on each side, a t-test on their means, a tolerance): "holds" where the interval of
    the mean difference lies above -margin; "broken" where it lies below 0 and the difference is beyond the
    margin; else "not told". Seeds that both sides share are paired, where these are all there are; else
    the sides are compared by Welch's interval.

    Args:
        new: The accuracies by seed; several of one seed (repeats) count as their mean.
        baseline: Likewise.
        margin: How much lower it may be, as a share of the examples.
        both_ways: Whether being more accurate by more than the margin breaks it too: for runs of the same
            code that are to agree.
        confidence: Of the two-sided interval.
    """
    ours, theirs = _mean_by_seed(new), _mean_by_seed(baseline)
    fewest = min(len(ours), len(theirs))
    paired = set(ours) == set(theirs)
    if not fewest:
        return AccuracyTest(verdict="not told", difference=None, why="one side has no accuracy to compare")
    if paired:
        difference = paired_difference([ours[seed] - theirs[seed] for seed in ours], confidence)
    else:
        difference = unpaired_difference([*ours.values()], [*theirs.values()], confidence)
    if fewest < MIN_SEEDS:
        why = f"too few seeds to tell: {fewest}, and at least {MIN_SEEDS} on each side are needed"
        return AccuracyTest(verdict="not told", difference=difference, why=why)
    how = f"{fewest} seeds, paired" if paired else f"{len(ours)} seeds against {len(theirs)} others"
    verdict = judge_change(difference, margin, both_ways=both_ways)
    reason = {
        "holds": "the interval lies within the margin",
        "broken": f"{'less' if difference.value < 0 else 'more'} accurate by more than the margin",
        "not told": "too few, or too far apart, for this margin",
    }
    return AccuracyTest(verdict=verdict, difference=difference, why=f"{how}: {reason[verdict]}")


def _mean_by_seed(values: Mapping[Parameter, Sequence[float]]) -> dict[Parameter, float]:
    return {seed: statistics.fmean(of_seed) for seed, of_seed in values.items() if of_seed}


def _check_same_examples(new: Outcomes, baseline: Outcomes) -> None:
    if (new.examples_fingerprint, len(new.right)) != (
        baseline.examples_fingerprint,
        len(baseline.right),
    ):
        raise ConfigurationError(
            "Outcomes are compared example by example, so both must be of the same examples in the same "
            f"order. Received: {new.examples_fingerprint} ({len(new.right)} examples) and "
            f"{baseline.examples_fingerprint} ({len(baseline.right)})"
        )
