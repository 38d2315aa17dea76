"""Timing steps with an injected clock: blocks for throughput, single steps for latency.

The clock is read only when the device has finished (METHOD of this project: one fence a block for
throughput, one a step for latency). Warm-up is a fixed number of steps, the same for all arms, and its
samples are kept apart.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Literal

from ..records.record import Parameter, Series

MIN_LATENCY_STEPS, MAX_LATENCY_STEPS = 10, 1000
MAX_BLOCK_STEPS = 100_000
FENCE_SAMPLES = 20
NULL_BLOCKS, NULL_BLOCK_STEPS = 20, 1000

Sample = Literal["block", "step"]


@dataclass(frozen=True, kw_only=True)
class Clocks:
    """The clocks that timing reads, in seconds: wall time, monotonic, and CPU time of the process."""

    wall: Callable[[], float] = time.perf_counter
    cpu: Callable[[], float] = time.process_time


@dataclass(frozen=True, kw_only=True)
class Probe:
    """One thing to time.

    Attributes:
        name: The name of its series.
        step: Does one step, or a call of several; returns the seconds that it waited for input, or None where
            it takes none or cannot tell.
        fence: Returns once the device has finished all steps.
        examples_per_step: Examples in a step; for a matrix product 0.
        steps_per_call: Steps that one call of `step` does. Wherever else steps are counted before they are
            timed (warm-up, blocks, the two below) a call counts as one.
        sample: "block" for throughput, "step" for latency.
        parameters: What tells it from other series of the same name.
        min_steps: At least so many steps in all blocks together, such as two epochs.
        max_block_steps: At most so many in a block, such as an epoch whose opening the warm-up does not show.
        setting: What each block is taken within: entered before its clock starts, left after it has stopped.
        lead_steps: Steps before each turn of a comparison that are not timed: they may lie ready by then.
        in_process: Whether all of its work is done in this process; else its CPU time says nothing.
    """

    name: str
    step: Callable[[], float | None]
    fence: Callable[[], object]
    examples_per_step: int
    sample: Sample = "block"
    parameters: dict[str, Parameter]
    steps_per_call: int = 1
    min_steps: int = 1
    max_block_steps: int = MAX_BLOCK_STEPS
    setting: Callable[[], AbstractContextManager[object]] = nullcontext
    lead_steps: int = 0
    in_process: bool = True


@dataclass(frozen=True, kw_only=True)
class Block:
    """What the clocks said of one block of steps; all of its seconds are of wall time but `cpu_seconds`.

    Attributes:
        seconds: From before the first step until the device had finished the last.
        call_seconds: Of these, inside the calls of the step, its waiting for input left out.
        blocked_seconds: Of these, waiting for input; None where the step takes none.
    """

    steps: int
    seconds: float
    call_seconds: float
    cpu_seconds: float
    blocked_seconds: float | None


def measure_probe(
    probe: Probe,
    *,
    warmup_steps: int,
    blocks: int,
    block_seconds: float,
    latency_seconds: float,
    clocks: Clocks | None = None,
    on_sample: Callable[[int, int], None] = lambda done, of: None,
    on_start: Callable[[], None] = lambda: None,
) -> Series:
    """Returns the samples of one probe.

    Args:
        probe: What to time.
        warmup_steps: Steps before the samples, each with a fence.
        blocks: Number of blocks, for a block probe.
        block_seconds: How long a block should take; the median of the warm-up's second half says how many
            steps that is, at least one.
        latency_seconds: How long to take single steps, for a step probe.
        clocks: What to read the time from; None for this process's.
        on_sample: Told the samples done, and of how many.
        on_start: Called after the warm-up, right before the first sample.
    """
    clocks = clocks or Clocks()
    warmup = _warm_up(probe, warmup_steps, clocks)
    samples, steps = _plan_samples(probe, warmup, blocks, block_seconds, latency_seconds)
    taken = []
    on_start()
    for done in range(1, samples + 1):
        taken.append(time_block(probe, steps, clocks))
        on_sample(done, samples)
    return make_series(probe, taken, warmup)


def measure_in_rounds(
    probes: Sequence[Probe],
    *,
    warmup_steps: int,
    blocks: int,
    block_seconds: float,
    latency_seconds: float,
    clocks: Clocks | None = None,
    on_sample: Callable[[int, int], None] = lambda done, of: None,
    on_start: Callable[[], None] = lambda: None,
) -> list[Series]:
    """Returns the samples of probes that take turns: a block of each in order, then in reverse, and so on.

    So no drift of the machine can pose as a difference between them. All are warmed up before the first
    round; `on_sample` is told of rounds. The arguments are those of `measure_probe`.
    """
    clocks = clocks or Clocks()
    warmups = [_warm_up(probe, warmup_steps, clocks) for probe in probes]
    plans = [
        _plan_samples(probe, warmup, blocks, block_seconds, latency_seconds)
        for probe, warmup in zip(probes, warmups, strict=True)
    ]
    taken: list[list[Block]] = [[] for _ in probes]
    on_start()
    for done in range(1, blocks + 1):
        places = range(len(probes))
        for place in places if done % 2 else reversed(places):
            samples, steps = plans[place]
            taken[place] += [time_block(probes[place], steps, clocks) for _ in range(-(-samples // blocks))]
        on_sample(done, blocks)
    return [make_series(*one) for one in zip(probes, taken, warmups, strict=True)]


def _warm_up(probe: Probe, steps: int, clocks: Clocks) -> list[Block]:
    probe.fence()
    return [time_block(probe, 1, clocks) for _ in range(steps)]


def _plan_samples(
    probe: Probe, warmup: Sequence[Block], blocks: int, block_seconds: float, latency_seconds: float
) -> tuple[int, int]:
    """Returns how many samples to take, and of how many steps each; the warm-up's second half decides."""
    later = [block.seconds for block in warmup[len(warmup) // 2 :]]
    step_seconds = statistics.median(later) if later else block_seconds
    if probe.sample == "step":
        samples = round(latency_seconds / max(step_seconds, 1e-9))
        return min(max(samples, MIN_LATENCY_STEPS), MAX_LATENCY_STEPS), 1
    steps = min(max(1, round(block_seconds / max(step_seconds, 1e-9))), probe.max_block_steps)
    return max(blocks, -(-probe.min_steps // steps)), steps


def time_block(probe: Probe, steps: int, clocks: Clocks) -> Block:
    """Returns one block of so many steps with one fence at its end.

    The time inside the calls is what passes before the fence, less the wait for input: one more reading of
    the clock a block, instead of two a step.
    """
    step, blocked = probe.step, None
    with probe.setting():
        cpu, start = clocks.cpu(), clocks.wall()
        for _ in range(steps):
            waited = step()
            if waited is not None:
                blocked = waited if blocked is None else blocked + waited
        called = clocks.wall() - start
        probe.fence()
        return Block(
            steps=steps,
            seconds=clocks.wall() - start,
            call_seconds=max(0.0, called - (blocked or 0.0)),  # of the wait alone rounding may leave below 0
            cpu_seconds=clocks.cpu() - cpu,
            blocked_seconds=blocked,
        )


def make_series(probe: Probe, blocks: Sequence[Block], warmup: Sequence[Block]) -> Series:
    """Returns the series of a probe's blocks, and of the single steps before them, as they were taken."""
    waits = [block.blocked_seconds for block in blocks if block.blocked_seconds is not None]
    return Series(
        name=probe.name,
        fence=probe.sample,
        parameters=probe.parameters,
        steps=tuple(block.steps * probe.steps_per_call for block in blocks),
        examples=tuple(block.steps * probe.steps_per_call * probe.examples_per_step for block in blocks),
        seconds=tuple(block.seconds for block in blocks),
        warmup_seconds=tuple(block.seconds for block in warmup),
        warmup_call_seconds=tuple(block.call_seconds for block in warmup),
        blocked_seconds=tuple(waits) if waits else None,
        call_seconds=tuple(block.call_seconds for block in blocks),
        cpu_seconds=tuple(block.cpu_seconds for block in blocks) if probe.in_process else None,
    )


def measure_fence(fence: Callable[[], object], clocks: Clocks | None = None) -> tuple[float, ...]:
    """Returns how long the fence takes when there is nothing to wait for: the instrument's own cost."""
    clocks = clocks or Clocks()
    fence()
    seconds = []
    for _ in range(FENCE_SAMPLES):
        start = clocks.wall()
        fence()
        seconds.append(clocks.wall() - start)
    return tuple(seconds)


def measure_null_step(clocks: Clocks | None = None) -> tuple[float, ...]:
    """Returns what the instrument's loop adds to a step: the seconds a step of blocks that do nothing."""
    nothing = Probe(name="null", step=lambda: None, fence=lambda: None, examples_per_step=0, parameters={})
    clocks = clocks or Clocks()
    blocks = [time_block(nothing, NULL_BLOCK_STEPS, clocks) for _ in range(NULL_BLOCKS)]
    return tuple(block.seconds / block.steps for block in blocks)
