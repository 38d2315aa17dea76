"""Accuracy held to accuracy: the same weights example by example, and networks trained again over seeds."""

import random

import pytest
from scipy import stats

from bench.analysis.accuracy_tests import bootstrap_difference, judge_agreement, judge_seeds, mcnemar
from bench.records.record import Outcomes
from tpuens.errors import ConfigurationError


def outcomes(right: str, fingerprint: str = "0123456789abcdef") -> Outcomes:
    return Outcomes(right=right, examples_fingerprint=fingerprint)


def seeds(*values: float) -> dict[str | int | float | bool, list[float]]:
    return {seed: [value] for seed, value in enumerate(values)}


def test_mcnemar_counts_the_examples_that_one_alone_gets_right() -> None:
    found = mcnemar(outcomes("1110011111"), outcomes("1101100000"))
    assert (found.only_new, found.only_baseline) == (6, 2)
    # By hand: of 8 tosses at most 2 or at least 6 heads, 2 * (1 + 8 + 28) / 256.
    assert found.p_value == pytest.approx(74 / 256)


@pytest.mark.parametrize(("new", "baseline"), [(0, 0), (1, 0), (3, 17), (40, 41), (500, 700)])
def test_mcnemar_is_scipys_binomial_test(new: int, baseline: int) -> None:
    found = mcnemar(outcomes("1" * new + "0" * baseline + "1"), outcomes("0" * new + "1" * baseline + "1"))
    expected = stats.binomtest(new, new + baseline).pvalue if new + baseline else 1.0
    assert found.p_value == pytest.approx(expected)


def test_outcomes_of_other_examples_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="same examples"):
        mcnemar(outcomes("10"), outcomes("10", "fedcba9876543210"))
    with pytest.raises(ConfigurationError, match="same examples"):
        bootstrap_difference(outcomes("10"), outcomes("100"))


def test_the_bootstrap_is_paired_and_the_same_for_the_same_outcomes() -> None:
    # 30 of 1,000 change sides: unpaired, the interval of two shares near 0.9 would be five times as wide.
    right = "1" * 900 + "0" * 100
    new = outcomes("0" * 20 + right[20:900] + "1" * 10 + right[910:])
    found = bootstrap_difference(new, outcomes(right))
    assert found.value == pytest.approx(-0.01)
    # The normal approximation: the variance of a difference of 0.010 and 0.020 with its mean of -0.010.
    reach = 1.96 * ((0.03 - 0.01**2) / 1000) ** 0.5
    assert found.low == pytest.approx(-0.01 - reach, abs=0.0015)
    assert found.high == pytest.approx(-0.01 + reach, abs=0.0015)
    assert bootstrap_difference(new, outcomes(right)) == found


@pytest.mark.parametrize(
    ("changed", "back", "verdict"),
    [(0, 0, "holds"), (2, 2, "holds"), (60, 5, "broken"), (5, 60, "broken"), (25, 5, "not told")],
)
def test_same_weights_agree_differ_or_cannot_be_told(changed: int, back: int, verdict: str) -> None:
    right = "1" * 900 + "0" * 100
    new = "0" * changed + right[changed : 1000 - back] + "1" * back
    test = judge_agreement(outcomes(new), outcomes(right), margin=0.02)
    assert test.verdict == verdict
    assert f"{changed + back} of 1,000 examples" in test.why


@pytest.mark.parametrize(("examples", "verdict"), [(20, "not told"), (298, "not told"), (299, "holds")])
def test_few_examples_without_a_flip_do_not_show_that_all_agree(examples: int, verdict: str) -> None:
    right = "1" * examples
    assert judge_agreement(outcomes(right), outcomes(right), margin=0.01).verdict == verdict


def test_one_seed_is_too_few_to_tell_and_no_pass() -> None:
    test = judge_seeds(seeds(0.91), seeds(0.91), margin=0.01)
    assert test.verdict == "not told"
    assert "too few seeds to tell: 1" in test.why


def test_seeds_are_paired_where_both_sides_have_the_same() -> None:
    # Far apart from seed to seed, but always a fifth of a point lower: paired, that is within one point.
    baseline = seeds(0.90, 0.95, 0.85, 0.92)
    new = seeds(0.898, 0.9481, 0.8479, 0.918)
    assert judge_seeds(new, baseline, margin=0.01).verdict == "holds"
    others = {seed + 100: values for seed, values in new.items()}  # type: ignore[operator]
    test = judge_seeds(others, baseline, margin=0.01)
    assert test.verdict == "not told"
    assert "4 seeds against 4 others" in test.why


def test_a_clear_fall_beyond_the_margin_is_broken_and_a_rise_only_where_both_must_agree() -> None:
    low, high = seeds(0.70, 0.71, 0.69), seeds(0.90, 0.92, 0.91)
    assert judge_seeds(low, high, margin=0.01).verdict == "broken"
    assert judge_seeds(high, low, margin=0.01).verdict == "holds"
    assert judge_seeds(high, low, margin=0.01, both_ways=True).verdict == "broken"


def test_repeats_of_a_seed_count_as_one() -> None:
    test = judge_seeds({0: [0.9, 0.91], 1: [0.9, 0.9]}, {0: [0.9], 1: [0.9]}, margin=0.05)
    assert "too few seeds to tell: 2" in test.why


def test_equal_accuracies_break_the_margin_in_at_most_5_of_100_cases() -> None:
    chance = random.Random(3)

    def draw(first: int) -> dict[str | int | float | bool, list[float]]:
        return {first + seed: [chance.gauss(0.9, 0.01)] for seed in range(5)}

    broken = sum(judge_seeds(draw(0), draw(5), margin=0.0).verdict == "broken" for _ in range(400))
    # 2.5 % are expected where the margin is nothing; 20 of 400 is three standard deviations above.
    assert 0 < broken <= 20
