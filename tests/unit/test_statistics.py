"""The formulas, on numbers worked out by hand."""

import math
import statistics as stdlib
from fractions import Fraction
from itertools import accumulate

import pytest

from bench.analysis.statistics import (
    Percentile,
    Spread,
    TooFewSamples,
    describe,
    matrix_product_flops_per_second,
    order_statistic_ranks,
    percentile,
    sample_rates,
    samples_needed,
    step_seconds,
    throughput,
    time_shares,
    waiting_share,
    waiting_verdict,
)


def test_throughput_is_all_examples_over_all_time_and_not_the_mean_of_rates(records):
    series = records.series(steps=(1, 1), examples=(100, 100), seconds=(1.0, 4.0))
    assert throughput(series) == 200 / 5
    assert sample_rates(series) == (100.0, 25.0)
    assert throughput(series) != stdlib.fmean(sample_rates(series))


def test_a_partial_batch_counts_what_it_holds(records):
    series = records.series(steps=(1, 1), examples=(64, 8), seconds=(0.5, 0.25))
    assert throughput(series) == 72 / 0.75


def test_throughput_without_samples_is_unknown_and_not_a_number(records):
    assert throughput(records.series(steps=(), examples=(), seconds=())) is None


def test_step_seconds_divide_a_block_among_its_steps(records):
    series = records.series(steps=(10, 5), examples=(0, 0), seconds=(2.0, 0.5))
    assert step_seconds(series) == (0.2, 0.1)


def test_matrix_products_count_two_n_cubed_operations_each(records):
    series = records.series(steps=(3, 5), examples=(0, 0), seconds=(1.0, 3.0))
    assert matrix_product_flops_per_second(series, 10) == 2 * 1000 * 8 / 4


def test_the_median_absolute_deviation_is_not_scaled_and_keeps_outliers():
    assert describe((1.0, 2.0, 4.0, 7.0, 1000.0)) == Spread(median=4.0, mad=3.0)
    assert describe((1.0, 3.0)) == Spread(median=2.0, mad=1.0)
    assert describe(()) is None
    assert Spread(median=4.0, mad=1.0).relative_mad == 0.25


@pytest.mark.parametrize(("probability", "needed"), [(0.5, 6), (0.9, 29), (0.99, 299)])
def test_a_percentile_is_given_from_the_first_count_that_has_an_interval(probability, needed):
    assert samples_needed(probability) == needed
    samples = [float(number) for number in range(needed)]
    assert isinstance(percentile(samples, probability), Percentile)
    assert percentile(samples[1:], probability) == TooFewSamples(
        probability=probability, count=needed - 1, needed=needed
    )


def test_the_interval_of_the_median_of_ten_runs_from_the_second_to_the_ninth():
    # Of 2¹⁰ outcomes 1,002 lie between: 97.9 %; every interval of fewer ranks covers less than 95 %.
    assert order_statistic_ranks(10, 0.5) == (2, 9)
    found = percentile([9.0, 1.0, 8.0, 2.0, 7.0, 3.0, 6.0, 4.0, 10.0, 5.0], 0.5)
    assert found == Percentile(probability=0.5, value=5.5, low=2.0, high=9.0, count=10)


def test_p90_of_forty_samples_interpolates_between_its_neighbours():
    found = percentile([float(number) for number in range(1, 41)], 0.9)
    assert isinstance(found, Percentile)
    assert found.value == pytest.approx(36.1)  # rank 1 + 39 × 0.9
    assert found.low < found.value < found.high


@pytest.mark.parametrize("probability", [0.5, 0.9, 0.25])
def test_the_interval_is_the_shortest_that_reaches_95_percent(probability):
    exact = Fraction(probability).limit_denominator(100)
    for count in range(2, 34):
        chances = [math.comb(count, k) * exact**k * (1 - exact) ** (count - k) for k in range(count + 1)]
        below = list(accumulate(chances, initial=Fraction(0)))
        covering = [
            (upper - lower, below[lower] - below[upper])
            for lower in range(1, count)
            for upper in range(lower + 1, count + 1)
            if below[upper] - below[lower] >= Fraction(95, 100)
        ]
        ranks = order_statistic_ranks(count, probability)
        if not covering:
            assert ranks is None
        else:
            width, coverage = min(covering)
            assert ranks is not None
            assert ranks[1] - ranks[0] == width
            assert sum(chances[ranks[0] : ranks[1]]) == pytest.approx(float(-coverage))


def test_an_interval_of_many_samples_does_not_overflow():
    lower, upper = order_statistic_ranks(100_000, 0.99) or (0, 0)
    assert 98_900 < lower < 99_000 < upper < 99_100


def test_the_waiting_share_weighs_samples_by_their_time(records):
    series = records.series(steps=(1, 1), examples=(1, 1), seconds=(1.0, 9.0), blocked_seconds=(1.0, 0.0))
    assert waiting_share(series) == pytest.approx(0.1)
    assert waiting_share(records.series()) is None


@pytest.mark.parametrize(
    ("share", "verdict"),
    [(0.0, "fine"), (0.0499, "fine"), (0.05, "look"), (0.2, "look"), (0.201, "input-bound")],
)
def test_the_verdict_changes_at_5_and_20_percent(share, verdict):
    assert waiting_verdict(share) == verdict


def test_time_shares_add_up_to_one():
    assert time_shares({"import": 3.0, "build": 1.0}) == {"import": 0.75, "build": 0.25}
    assert time_shares({"import": 0.0}) == {}
