"""Timing with a clock that we turn ourselves: exact, and without sleeping."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from bench.measuring.timing import (
    Clocks,
    Probe,
    measure_fence,
    measure_in_rounds,
    measure_null_step,
    measure_probe,
    time_block,
)


class Device:
    """Steps take `step_seconds` of device time, which passes only when the fence waits for it."""

    def __init__(
        self,
        step_seconds: float = 0.1,
        fence_seconds: float = 0.0,
        wait: float | None = None,
        call_seconds: float = 0.0,
    ) -> None:
        self.now = 0.0
        self.queued = 0.0
        self.steps = 0
        self.step_seconds, self.fence_seconds, self.wait = step_seconds, fence_seconds, wait
        self.call_seconds = call_seconds

    def step(self) -> float | None:
        self.steps += 1
        self.queued += self.step_seconds
        self.now += self.call_seconds
        if self.wait is not None:
            self.now += self.wait
        return self.wait

    def fence(self) -> None:
        self.now += self.queued + self.fence_seconds
        self.queued = 0.0

    @property
    def clocks(self) -> Clocks:
        return Clocks(wall=lambda: self.now, cpu=lambda: 2 * self.now)


def measure(device: Device, **changes: object):  # type: ignore[no-untyped-def]
    probe = Probe(
        name="compute",
        step=device.step,
        fence=device.fence,
        examples_per_step=8,
        sample=changes.pop("sample", "block"),  # type: ignore[arg-type]
        parameters={},
        steps_per_call=changes.pop("steps_per_call", 1),  # type: ignore[arg-type]
        min_steps=changes.pop("min_steps", 1),  # type: ignore[arg-type]
    )
    settings: dict[str, object] = {
        "warmup_steps": 10,
        "blocks": 5,
        "block_seconds": 1.0,
        "latency_seconds": 3.0,
        "clocks": device.clocks,
    }
    return measure_probe(probe, **(settings | changes))  # type: ignore[arg-type]


def test_a_block_has_one_fence_and_as_many_steps_as_fill_its_time() -> None:
    device = Device(step_seconds=0.1, fence_seconds=0.02)
    series = measure(device)
    assert series.steps == (8,) * 5  # 1 s over 0.12 s, since a warm-up step has a fence of its own
    assert series.seconds == pytest.approx([0.82] * 5)
    assert series.examples == (64,) * 5
    assert series.cpu_seconds == pytest.approx([1.64] * 5)


def test_a_call_of_several_steps_counts_them_all() -> None:
    series = measure(Device(step_seconds=0.1, fence_seconds=0.02), steps_per_call=4)
    assert series.steps == (32,) * 5  # in 8 calls
    assert series.examples == (256,) * 5
    assert series.seconds == pytest.approx([0.82] * 5)


def test_warmup_steps_are_kept_apart_and_not_counted() -> None:
    device = Device()
    series = measure(device, warmup_steps=3)
    assert len(series.warmup_seconds) == 3
    assert device.steps == 3 + sum(series.steps)


def test_the_time_inside_the_calls_of_the_warmup_is_kept_with_it() -> None:
    series = measure(Device(step_seconds=0.05, wait=0.04, call_seconds=0.01), warmup_steps=3)
    assert series.warmup_call_seconds == pytest.approx([0.01] * 3)
    assert series.warmup_seconds == pytest.approx([0.1] * 3)


def test_a_slow_first_warmup_step_does_not_shrink_the_blocks() -> None:
    device = Device()
    times = iter([50.0] + [0.1] * 1000)
    original = device.step

    def step() -> float | None:
        device.step_seconds = next(times)
        return original()

    device.step = step  # type: ignore[method-assign]
    assert measure(device).steps == (10,) * 5


def test_latency_samples_are_single_steps_with_a_fence_each() -> None:
    series = measure(Device(step_seconds=0.1, fence_seconds=0.05), sample="step")
    assert series.steps == (1,) * 20  # 3 s of them
    assert series.seconds == pytest.approx([0.15] * 20)


def test_a_slow_step_still_gives_ten_latency_samples() -> None:
    assert measure(Device(step_seconds=9.0), sample="step").steps == (1,) * 10


def test_a_step_longer_than_a_block_still_makes_a_block() -> None:
    assert measure(Device(step_seconds=7.0)).steps == (1,) * 5


def test_blocks_go_on_until_the_least_number_of_steps_is_reached() -> None:
    series = measure(Device(step_seconds=0.1), min_steps=75)
    assert sum(series.steps) >= 75
    assert len(series.steps) == 8


def test_the_wait_for_input_is_summed_over_a_block() -> None:
    series = measure(Device(step_seconds=0.06, wait=0.04))
    assert series.blocked_seconds == pytest.approx([0.4] * 5)
    assert series.seconds == pytest.approx([1.0] * 5)


def test_without_input_there_is_no_wait_rather_than_none_of_zero() -> None:
    assert measure(Device()).blocked_seconds is None


def test_the_time_inside_the_calls_leaves_out_the_wait_for_input_and_the_fence() -> None:
    series = measure(Device(step_seconds=0.05, wait=0.04, call_seconds=0.01))
    assert series.call_seconds == pytest.approx([0.1] * 5)
    assert series.seconds == pytest.approx([1.0] * 5)


def test_a_step_that_only_waits_spends_no_time_in_its_calls() -> None:
    assert measure(Device(step_seconds=0.0, wait=0.1)).call_seconds == pytest.approx([0.0] * 5, abs=1e-12)
    assert min(measure(Device(step_seconds=0.0, wait=0.1)).call_seconds or ()) >= 0


def test_a_null_step_costs_what_the_clock_says_of_a_loop_over_nothing() -> None:
    readings = iter(range(10**6))  # every look at the clock takes a second
    clocks = Clocks(wall=lambda: float(next(readings)), cpu=lambda: 0.0)
    # A block looks at it at the start, before the fence and at the end.
    assert set(measure_null_step(clocks)) == {2 / 1000}


def test_the_instrument_costs_less_than_half_a_per_cent_of_a_step_of_50_ms() -> None:
    assert min(measure_null_step()) < 0.005 * 0.05


def test_progress_is_told_after_every_sample() -> None:
    told: list[tuple[int, int]] = []
    measure(Device(), on_sample=lambda done, of: told.append((done, of)))
    assert told == [(n, 5) for n in range(1, 6)]


def test_the_cost_of_the_fence_is_measured_with_nothing_to_wait_for() -> None:
    device = Device(fence_seconds=0.003)
    device.step()  # a step under way must not be charged to the fence
    assert measure_fence(device.fence, device.clocks) == pytest.approx([0.003] * 20)


def test_a_missing_fence_shows_as_no_time_at_all() -> None:
    device = Device()
    nothing: Callable[[], object] = lambda: None  # noqa: E731
    device.fence = nothing  # type: ignore[method-assign, assignment]
    assert sum(measure(device).seconds) == 0


def test_a_block_holds_no_more_steps_than_its_probe_allows() -> None:
    device = Device(step_seconds=0.01)
    probe = Probe(
        name="input",
        step=device.step,
        fence=device.fence,
        examples_per_step=1,
        parameters={},
        max_block_steps=32,
    )
    series = measure_probe(
        probe, warmup_steps=3, blocks=4, block_seconds=1.0, latency_seconds=1.0, clocks=device.clocks
    )
    assert series.steps == (32,) * 4


def test_probes_in_rounds_take_turns_and_each_round_goes_the_other_way() -> None:
    device, order = Device(), []

    def probe(name: str) -> Probe:
        def step() -> None:
            order.append(name)
            device.step()

        return Probe(name=name, step=step, fence=device.fence, examples_per_step=1, parameters={})

    series = measure_in_rounds(
        [probe(name) for name in "abc"],
        warmup_steps=1,
        blocks=3,
        block_seconds=0.1,
        latency_seconds=0.0,
        clocks=device.clocks,
    )
    assert "".join(order) == "abc" + "abc" + "cba" + "abc"
    assert [(one.name, len(one.seconds), len(one.warmup_seconds)) for one in series] == [
        ("a", 3, 1),
        ("b", 3, 1),
        ("c", 3, 1),
    ]


def test_single_steps_are_spread_over_the_rounds() -> None:
    device = Device(step_seconds=0.1)
    probe = Probe(
        name="latency",
        step=device.step,
        fence=device.fence,
        examples_per_step=1,
        sample="step",
        parameters={},
    )
    (series,) = measure_in_rounds(
        [probe], warmup_steps=2, blocks=4, block_seconds=1.0, latency_seconds=4.0, clocks=device.clocks
    )
    assert series.steps == (1,) * 40


def test_what_a_block_is_taken_within_is_not_timed() -> None:
    device, events = Device(step_seconds=0.1), []

    @contextmanager
    def setting() -> Iterator[None]:
        device.now += 5.0
        events.append("opened")
        yield
        device.now += 7.0
        events.append("closed")

    probe = Probe(
        name="input",
        step=device.step,
        fence=device.fence,
        examples_per_step=1,
        parameters={},
        setting=setting,
    )
    block = time_block(probe, 2, device.clocks)
    assert (block.seconds, block.cpu_seconds) == pytest.approx((0.2, 0.4))
    assert events == ["opened", "closed"]
