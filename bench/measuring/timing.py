"""Timing steps with an injected clock: blocks for throughput, single steps for latency.

The clock is read only when the device has finished (METHOD of this project: one fence a block for
throughput, one a step for latency). Warm-up is a fixed number of steps, the same for all arms, and its
samples are kept apart.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from ..records.record import Parameter, Series

MIN_LATENCY_STEPS, MAX_LATENCY_STEPS = 10, 1000
MAX_BLOCK_STEPS = 100_000
FENCE_SAMPLES = 20

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
        step: Does one step; returns the seconds that it waited for input, or None where it takes none.
        fence: Returns once the device has finished all steps.
        examples_per_step: Examples in a step; for a matrix product 0.
        sample: "block" for throughput, "step" for latency.
        parameters: What tells it from other series of the same name.
        min_steps: At least so many steps in all blocks together, such as two epochs.
        max_block_steps: At most so many in a block, such as an epoch whose opening the warm-up does not show.
    """

    name: str
    step: Callable[[], float | None]
    fence: Callable[[], object]
    examples_per_step: int
    sample: Sample = "block"
    parameters: dict[str, Parameter]
    min_steps: int = 1
    max_block_steps: int = MAX_BLOCK_STEPS


def measure_probe(
    probe: Probe,
    *,
    warmup_steps: int,
    blocks: int,
    block_seconds: float,
    latency_seconds: float,
    clocks: Clocks | None = None,
    on_sample: Callable[[int, int], None] = lambda done, of: None,
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
    """
    clocks = clocks or Clocks()
    probe.fence()
    warmup = tuple(_time_steps(probe, 1, clocks).seconds for _ in range(warmup_steps))
    step_seconds = statistics.median(warmup[len(warmup) // 2 :]) if warmup else block_seconds
    if probe.sample == "step":
        samples = round(latency_seconds / max(step_seconds, 1e-9))
        samples, steps = min(max(samples, MIN_LATENCY_STEPS), MAX_LATENCY_STEPS), 1
    else:
        steps = min(max(1, round(block_seconds / max(step_seconds, 1e-9))), probe.max_block_steps)
        samples = max(blocks, -(-probe.min_steps // steps))
    taken = []
    for done in range(1, samples + 1):
        taken.append(_time_steps(probe, steps, clocks))
        on_sample(done, samples)
    waits = [sample.blocked for sample in taken if sample.blocked is not None]
    return Series(
        name=probe.name,
        fence=probe.sample,
        parameters=probe.parameters,
        steps=(steps,) * samples,
        examples=(steps * probe.examples_per_step,) * samples,
        seconds=tuple(sample.seconds for sample in taken),
        warmup_seconds=warmup,
        blocked_seconds=tuple(waits) if waits else None,
        cpu_seconds=tuple(sample.cpu for sample in taken),
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


@dataclass(frozen=True)
class _Reading:
    seconds: float
    cpu: float
    blocked: float | None


def _time_steps(probe: Probe, steps: int, clocks: Clocks) -> _Reading:
    step, blocked = probe.step, None
    cpu, start = clocks.cpu(), clocks.wall()
    for _ in range(steps):
        waited = step()
        if waited is not None:
            blocked = waited if blocked is None else blocked + waited
    probe.fence()
    return _Reading(seconds=clocks.wall() - start, cpu=clocks.cpu() - cpu, blocked=blocked)
