"""Whether a series is steady: the kinds of series that Barrett et al. describe, short."""

import random
from itertools import pairwise

import pytest

from bench.analysis.steady_state import SteadyState, change_points, steady_state


def noisy(levels: list[float], sd: float = 0.005, seed: int = 1) -> list[float]:
    chance = random.Random(seed)
    return [level * (1 + chance.gauss(0, sd)) for level in levels]


STEADY_AT_ONCE = SteadyState(verdict="steady", from_step=0)


@pytest.mark.parametrize("count", [5, 8, 10, 20, 100, 1000])
def test_noise_around_one_level_is_steady(count):
    assert steady_state(noisy([0.2] * count)) == STEADY_AT_ONCE


def test_the_scale_of_the_times_does_not_matter():
    series = noisy([1.0] * 6 + [0.8] * 14)
    expected = SteadyState(verdict="steady", from_step=6)
    assert steady_state(series) == expected
    assert steady_state([1e-4 * one for one in series]) == expected
    assert steady_state([1e4 * one for one in series]) == expected


def test_a_slow_first_block_is_left_out():
    assert steady_state(noisy([1.4] + [1.0] * 9)) == SteadyState(verdict="steady", from_step=1)


def test_a_warm_up_that_levels_off_is_steady_from_there():
    found = steady_state(noisy([1 + 0.5 * 0.97**step for step in range(1000)], 0.02))
    assert found.verdict == "steady"
    assert found.from_step is not None
    assert 75 <= found.from_step <= 150  # at 75 the slope still adds 5 %, at 150 half a percent


def test_one_sample_that_sticks_out_is_no_change():
    levels = [1.0] * 12
    levels[5] = 3.0
    assert steady_state(noisy(levels)) == STEADY_AT_ONCE


def test_slow_steps_here_and_there_are_no_change():
    assert steady_state(noisy([2.0 if step % 23 == 7 else 1.0 for step in range(500)])) == STEADY_AT_ONCE


def test_a_change_that_is_too_small_to_matter_is_no_change():
    assert steady_state(noisy([1.0] * 10 + [1.015] * 10, 0.001)) == STEADY_AT_ONCE


def test_a_level_that_comes_back_is_one_level_only_without_what_lies_between():
    found = steady_state(noisy([1.0] * 5 + [1.3] * 5 + [1.0] * 10))
    assert found == SteadyState(verdict="steady", from_step=10)


@pytest.mark.parametrize("count", [10, 20, 200])
def test_a_slope_up_to_the_end_is_a_drift(count):
    assert steady_state(noisy([1 + 0.2 * at / count for at in range(count)])).verdict == "drifting"
    assert steady_state(noisy([1 - 0.2 * at / count for at in range(count)])).verdict == "drifting"


def test_a_drift_that_is_too_small_to_matter_is_steady():
    assert steady_state([1 + 0.02 * at / 40 for at in range(40)]) == STEADY_AT_ONCE


@pytest.mark.parametrize("count", [10, 40, 1000])
def test_a_change_shortly_before_the_end_is_never_steady(count):
    late = count - count // 6
    assert steady_state(noisy([1.0] * late + [1.3] * (count - late))).verdict == "never steady"


def test_levels_that_change_until_the_end_are_never_steady():
    levels = [level for level in (1.0, 1.3, 1.1, 1.5, 1.2) for _ in range(4)]
    assert steady_state(noisy(levels)).verdict == "never steady"


def test_too_few_samples_are_never_called_steady():
    assert steady_state([1.0] * 4) == SteadyState(verdict="never steady", from_step=None)


def test_samples_that_are_all_equal_are_steady():
    assert steady_state([0.1] * 10) == STEADY_AT_ONCE


def test_pelt_finds_the_cheapest_cut_of_all():
    values = noisy([1, 1, 1, 4, 4, 2, 2, 2, 2, 7, 7, 7], 0.1, seed=3)
    penalty = 0.8

    def cost(cuts: list[int]) -> float:
        bounds = [0, *cuts, len(values)]
        total = penalty * len(cuts)
        for first, last in pairwise(bounds):
            mean = sum(values[first:last]) / (last - first)
            total += sum((value - mean) ** 2 for value in values[first:last])
        return total

    every = ([at for at in range(1, 12) if mask >> at & 1] for mask in range(0, 2**12, 2))
    assert change_points(values, penalty) == min(every, key=cost) == [3, 5, 9]
