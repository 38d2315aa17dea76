"""Ratios of two arms and what may be claimed of them, on numbers from tables and worked out by hand."""

import math

import pytest

from bench.analysis.ratios import (
    MIN_PAIRS,
    Interval,
    exact_bounds,
    judge,
    narrow_enough,
    noise_floor,
    pair_log_ratio,
    pairs_needed,
    ratio_interval,
)
from bench.records.floors import Floor
from tpuens.errors import ConfigurationError


def interval(low: float, high: float, pairs: int = 8) -> Interval:
    return Interval(ratio=math.sqrt(low * high), low=low, high=high, confidence=0.95, pairs=pairs)


def floor(wall: float, cpu: float | None = None) -> Floor:
    return Floor(
        scenario_class="train-step",
        wall=wall,
        cpu=cpu,
        pairs=6,
        created="2026-11-25T00:00:00Z",
        fingerprint="f",
    )


def test_a_ratio_is_that_of_all_examples_over_all_time(records):
    a = records.series(steps=(1, 1), examples=(64, 64), seconds=(1.0, 3.0))
    b = records.series(steps=(1, 1), examples=(64, 64), seconds=(1.0, 1.0))
    assert math.exp(pair_log_ratio(a, b, "wall")) == pytest.approx(2.0)
    assert pair_log_ratio(b, a, "wall") == pytest.approx(-math.log(2))


def test_another_batch_size_is_compared_by_examples_and_not_by_steps(records):
    a = records.series(steps=(1,), examples=(32,), seconds=(1.0,))
    b = records.series(steps=(1,), examples=(64,), seconds=(1.6,))
    assert math.exp(pair_log_ratio(a, b, "wall")) == pytest.approx(64 / 1.6 / 32)


def test_steps_without_examples_are_compared_by_steps(records):
    a = records.series(steps=(10,), examples=(0,), seconds=(1.0,))
    b = records.series(steps=(15,), examples=(0,), seconds=(1.0,))
    assert math.exp(pair_log_ratio(a, b, "wall")) == pytest.approx(1.5)


def test_the_cpu_clock_reads_cpu_seconds_and_says_when_there_are_none(records):
    a = records.series(cpu_seconds=(2.0, 2.0, 2.0))
    b = records.series(cpu_seconds=(1.0, 1.0, 1.0))
    assert math.exp(pair_log_ratio(a, b, "cpu")) == pytest.approx(2.0)
    with pytest.raises(ConfigurationError, match="none of the process CPU time"):
        pair_log_ratio(a, records.series(), "cpu")


def test_the_interval_is_students():
    # Mean 0.02, standard deviation 0.01, six pairs: t(5, 0.975) = 2.5706 in any table.
    logs = [0.02 + 0.01 * x for x in (-1, 1, -1, 1, -math.sqrt(0.5), math.sqrt(0.5))]
    found = ratio_interval(logs)
    assert found is not None
    assert found.pairs == 6
    assert math.log(found.ratio) == pytest.approx(0.02)
    assert math.log(found.high / found.ratio) == pytest.approx(2.5706 * 0.01 / math.sqrt(6), rel=1e-4)
    assert found.low * found.high == pytest.approx(found.ratio**2)
    assert found.half_width == pytest.approx(found.high / found.ratio - 1)


def test_an_interval_at_another_confidence_is_the_one_that_the_pairs_give():
    logs = [0.01, -0.02, 0.03, 0.0, 0.012, -0.004, 0.02]
    wider, direct = ratio_interval(logs), ratio_interval(logs, 0.99)
    assert wider is not None
    assert direct is not None
    assert wider.at(0.99).low == pytest.approx(direct.low)
    assert wider.at(0.99).high == pytest.approx(direct.high)


def test_one_pair_has_no_interval():
    assert ratio_interval([0.1]) is None


def test_equal_pairs_have_an_interval_of_no_width():
    found = ratio_interval([0.0] * 6)
    assert found is not None
    assert (found.low, found.ratio, found.high, found.half_width) == (1, 1, 1, 0)
    assert judge(found, None, floor=None).verdict == "no difference shown"


def test_a_comparison_stops_by_width_and_pairs_alone():
    assert narrow_enough(interval(0.98, 1.02))
    assert narrow_enough(interval(1.48, 1.52))
    assert not narrow_enough(interval(0.97, 1.03))
    assert not narrow_enough(interval(0.98, 1.02), shown=0.02)
    assert not narrow_enough(interval(0.98, 1.02, pairs=MIN_PAIRS - 1))
    assert not narrow_enough(None)


def test_the_noise_floor_is_the_largest_difference_that_equal_arms_leave_possible():
    logs = [0.02, -0.01, 0.03, 0.0, 0.01, 0.01]
    found = ratio_interval(logs)
    assert found is not None
    assert noise_floor(logs) == pytest.approx(found.high - 1)
    assert noise_floor([-one for one in logs]) == pytest.approx(1 - 1 / found.high)
    assert noise_floor([0.1]) is None


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (1.03, 1.09, "faster"),
        (0.91, 0.97, "slower"),
        (1.001, 1.03, "no difference shown"),  # excludes 1, but is below the floor
        (0.98, 1.03, "no difference shown"),
        (0.98, 1.06, "too noisy to tell"),
        (0.90, 1.20, "too noisy to tell"),
    ],
)
def test_a_difference_is_real_beyond_1_and_the_floor(low, high, verdict):
    assert judge(interval(low, high), None, floor=floor(0.02)).verdict == verdict


def test_without_a_floor_the_interval_decides_and_the_reason_says_so():
    judgement = judge(interval(1.001, 1.03), None, floor=None)
    assert judgement.verdict == "faster"
    assert "no noise floor was measured" in judgement.why


def test_fewer_than_six_pairs_claim_nothing():
    judgement = judge(interval(1.2, 1.3, pairs=MIN_PAIRS - 1), None, floor=None)
    assert judgement.verdict == "too noisy to tell"
    assert "there are 5" in judgement.why
    single = judge(None, None, floor=None)
    assert single.verdict == "too noisy to tell"
    assert single.why == "a verdict takes 6 pairs of processes, and there is 1"


def test_cpu_time_shows_what_the_wall_time_is_too_noisy_for():
    judgement = judge(interval(0.85, 1.05), interval(0.93, 0.95), floor=floor(0.04, 0.01))
    assert (judgement.verdict, judgement.clock) == ("slower", "cpu")
    assert "process CPU time" in judgement.why


def test_cpu_time_alone_never_says_that_there_is_no_difference():
    judgement = judge(interval(0.85, 1.05), interval(0.999, 1.001), floor=floor(0.04, 0.01))
    assert (judgement.verdict, judgement.clock) == ("too noisy to tell", "wall")


def test_cpu_time_does_not_hide_a_planted_sleep():
    judgement = judge(interval(0.88, 0.92), interval(0.999, 1.001), floor=floor(0.04, 0.01))
    assert (judgement.verdict, judgement.clock) == ("slower", "wall")


def test_work_that_costs_no_wall_time_is_no_difference():
    judgement = judge(interval(0.99, 1.02), interval(0.90, 0.92), floor=floor(0.02, 0.01))
    assert (judgement.verdict, judgement.clock) == ("no difference shown", "wall")


def test_with_two_clocks_each_takes_half_of_the_error():
    wall = interval(1.003, 1.2)  # excludes 1 at 95 %, no longer at 97.5 %
    assert wall.at(0.975).low < 1
    assert judge(wall, None, floor=None).verdict == "faster"
    assert judge(wall, interval(0.99, 1.01), floor=None).verdict == "too noisy to tell"


def test_an_error_shared_by_several_readings_makes_each_harder_to_claim():
    wall = interval(1.003, 1.04)
    assert judge(wall, None, floor=None).verdict == "faster"
    assert judge(wall, None, floor=None, error=0.01).verdict != "faster"


def test_a_difference_of_a_stated_size_is_excluded_only_by_an_interval_inside_it():
    wall = interval(0.98, 1.02)
    assert judge(wall, None, floor=None, shown=0.05).verdict == "no difference shown"
    assert judge(wall, None, floor=None, shown=0.01).verdict == "too noisy to tell"


def test_the_pairs_that_a_slowdown_takes():
    # As G*Power 3.1 says for one sample, two-sided, power 0.8: effect sizes 1 and 0.5.
    assert pairs_needed(math.log(1.1), 0.1, 0.8) == 10
    assert pairs_needed(2 * math.log(1.1), 0.1, 0.8) == 34
    assert pairs_needed(0.0, 0.1, 0.95) == MIN_PAIRS
    assert pairs_needed(0.001, 0.1, 0.95) == MIN_PAIRS


def test_a_floor_takes_more_pairs_and_hides_what_lies_below_it():
    without, beyond = pairs_needed(0.06, 0.1, 0.95), pairs_needed(0.06, 0.1, 0.95, floor=0.06)
    assert without is not None
    assert beyond is not None
    assert beyond > without
    assert pairs_needed(0.06, 0.05, 0.8, floor=0.05) is None


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [
        (0, 20, 0.0, 0.16843),  # 1 − 0.025^(1/20)
        (20, 20, 0.83157, 1.0),
        (1, 20, 0.00127, 0.24873),
        (5, 10, 0.18709, 0.81291),
    ],
)
def test_exact_bounds_are_those_of_the_tables(successes, trials, low, high):
    assert exact_bounds(successes, trials) == pytest.approx((low, high), abs=1e-5)
