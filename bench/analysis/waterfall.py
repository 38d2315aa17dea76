"""Where the time of a training step goes: waiting for input, host, device, fence.

All of it comes from one series of blocks, so that no two readings are subtracted from each other: on a CPU
input and compute share the cores, and such a difference would say nothing.
"""

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from ..records.record import RunRecord, Series
from .statistics import describe, throughput

Part = Literal["input", "host", "compute", "device", "fence"]

SYNCHRONISE = "synchronise"
_READINGS = {"train-epoch": "both", "train-step": "compute"}  # which series of a scenario is taken apart


@dataclass(frozen=True, kw_only=True)
class Waterfall:
    """The parts of a mean step, and what they mean for the input pipeline.

    Attributes:
        parts: Seconds a step, in the order in which they pass. On a CPU the step computes inside its call:
            "input", "compute" and "fence". On an accelerator the call only launches: "input", "host" (what
            a call takes when the device has nothing to do), "device" (what the loop waits for the device
            beyond that, be it at the fence or for room in its queue) and "fence".
        examples_per_step: Over all replicas.
        input_examples_per_second: What the pipeline delivers alone; None where it was not measured.
        parallel_calls: How many images the pipeline prepares at a time.
        cores: That the process may use; None where it is not known.
        decodes: Whether the pipeline decodes images while it is timed, rather than takes them from a cache.
        synchronise_seconds: What the replicas take to sum gradients by themselves; None where there is one.
    """

    parts: dict[Part, float]
    examples_per_step: float
    input_examples_per_second: float | None = None
    parallel_calls: int | None = None
    cores: float | None = None
    decodes: bool = True
    synchronise_seconds: float | None = None

    @property
    def step_seconds(self) -> float:
        """Returns the seconds of a mean step."""
        return math.fsum(self.parts.values())

    @property
    def on_cpu(self) -> bool:
        """Returns whether the step computes inside its call."""
        return "compute" in self.parts

    @property
    def input_share(self) -> float | None:
        """Returns the share of time that waits for input; None where the step takes none."""
        return self.parts["input"] / self.step_seconds if "input" in self.parts else None

    @property
    def needed_examples_per_second(self) -> float | None:
        """Returns what the pipeline would have to deliver for the wait to vanish: a step's without it."""
        rest = self.step_seconds - self.parts.get("input", 0.0)
        return self.examples_per_step / rest if "input" in self.parts and rest > 0 else None

    @property
    def needed_ratio(self) -> float | None:
        """Returns how many times as fast as now that is."""
        needed = self.needed_examples_per_second
        return needed * self.step_seconds / self.examples_per_step if needed else None

    @property
    def needed_parallel_calls(self) -> int | None:
        """Returns an estimate of the parallel calls for that, as if the pipeline's rate grew with them."""
        if self.parallel_calls is None or self.needed_ratio is None:
            return None
        return math.ceil(self.parallel_calls * self.needed_ratio - 1e-9)

    @property
    def synchronise_share(self) -> float | None:
        """Returns the cost of synchronising as a share of a step: at most, since it can hide in the rest."""
        return self.synchronise_seconds / self.step_seconds if self.synchronise_seconds is not None else None


def find_waterfall(series: Series, record: RunRecord) -> Waterfall | None:
    """Returns the waterfall of a series; None where the series is not one that tells.

    What the fence itself takes is known from waits for nothing, and counts once a block.
    """
    seconds, steps, parts = math.fsum(series.seconds), sum(series.steps), None
    if series.name == _READINGS.get(record.workload.scenario) and series.call_seconds and seconds > 0:
        parts = _find_parts(series, record)
    synchronise = next((other for other in record.series if other.name == SYNCHRONISE), None)
    # Of a CPU that waits for nothing there is nothing to say.
    if parts is None or ("compute" in parts and "input" not in parts and synchronise is None):
        return None
    alone = next((other for other in record.series if other.name == "input"), None)
    environment = record.environment
    return Waterfall(
        parts={part: part_seconds / steps for part, part_seconds in parts.items()},
        examples_per_step=sum(series.examples) / steps,
        input_examples_per_second=throughput(alone) if alone else None,
        parallel_calls=record.configuration.num_parallel_calls,
        cores=(environment.usable_cores or environment.logical_cores) if environment else None,
        decodes=record.configuration.cache in (None, "none"),
        synchronise_seconds=math.fsum(synchronise.seconds) / sum(synchronise.steps) if synchronise else None,
    )


def pool_waterfalls(waterfalls: Iterable[Waterfall | None]) -> Waterfall | None:
    """Returns one waterfall for the repeats of a run: medians over them."""
    known = [waterfall for waterfall in waterfalls if waterfall]
    if not known:
        return None
    return replace(
        known[0],
        parts={part: statistics.median(one.parts.get(part, 0.0) for one in known) for part in known[0].parts},
        input_examples_per_second=_median([one.input_examples_per_second for one in known]),
        synchronise_seconds=_median([one.synchronise_seconds for one in known]),
    )


def computes_on_cpu(record: RunRecord) -> bool:
    """Returns whether the run's steps were computed on the CPU."""
    environment = record.environment
    return record.configuration.strategy.startswith("cpu") or not (environment and environment.accelerators)


def _find_parts(series: Series, record: RunRecord) -> dict[Part, float]:
    """Returns the seconds of each part over all samples."""
    total, steps = math.fsum(series.seconds), sum(series.steps)
    blocked = math.fsum(series.blocked_seconds or ())
    called = math.fsum(series.call_seconds or ())
    own = describe(record.fence_seconds)
    waited = max(0.0, total - blocked - called)
    fence = min(waited, len(series.seconds) * own.median) if own else 0.0
    parts: dict[Part, float] = {} if series.blocked_seconds is None else {"input": blocked}
    rest = max(0.0, total - blocked - fence)
    if computes_on_cpu(record):
        return {**parts, "compute": rest, "fence": fence}
    # In a block the queue fills up, and then a call waits for the device; the warm-up's steps had it empty.
    free = describe(series.warmup_call_seconds[len(series.warmup_call_seconds) // 2 :])
    calls = steps / record.configuration.steps_per_execution
    host = min(called, calls * free.median) if free else called
    return {**parts, "host": host, "device": max(0.0, rest - host), "fence": fence}


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None
