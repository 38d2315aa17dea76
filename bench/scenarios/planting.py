"""Faults put there on purpose, to see whether comparing and gating find them.

========================  =================================================================================
``"work:0.10"``           matrix products after every step, on the step's device and threads, that take 10 %
                          of the step's own time
``"sleep:0.10"``          the same time after every step, slept
``"no-fence"``            a fence that returns at once: the clock is read while the device still works
``"spoilt-member"``       in ensemble-accuracy, the first member's weights are shuffled before it predicts
========================  =================================================================================

The configuration of a run says what was planted, so that its record cannot pose as a real one.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tpuens.errors import ConfigurationError, unknown_name_error

from ..measuring.timing import Probe
from ..suites import Request
from .table import SCENARIOS

if TYPE_CHECKING:
    from .workload import Phases, Workload

FAULTS = ("work", "sleep", "no-fence", "spoilt-member")
SPOILT = "spoilt-member"
_SPOILABLE = "ensemble-accuracy"
_SIDE = 512  # of the square factor of the planted products
_MOST_ROWS = 4096
_ROWS_PER_SECOND = 100_000.0  # a first guess; the warm-up corrects it

# Spends about so many seconds; the answer returns once the device has finished them.
Spend = Callable[[float], Callable[[], object]]


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A fault by name, with the share of a step's own time that it takes where it takes time."""

    name: str
    share: float | None = None


def parse_fault(text: str) -> Fault:
    """Returns the fault that a scenario's `planted` names.

    Raises:
        ConfigurationError: There is no such fault, or its share is missing or not above 0.
    """
    name, colon, share = text.partition(":")
    if name not in FAULTS:
        raise unknown_name_error("planted fault", "planted", text, FAULTS)
    if name not in ("work", "sleep"):
        if colon:
            raise ConfigurationError(f"{name} takes no share. Received: planted={text!r}")
        return Fault(name=name)
    try:
        number = float(share)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise ConfigurationError(
            f"Expected the share of a step's time, such as {name}:0.10. Received: planted={text!r}"
        )
    return Fault(name=name, share=number)


def prepare_workload(request: Request, strategy: Any, phases: "Phases") -> "Workload":
    """Returns what the request's scenario prepares, with the fault planted that the request asks for.

    Raises:
        ConfigurationError: There is no such fault, or this scenario cannot have it.
    """
    row = SCENARIOS[request.scenario.name]
    if request.scenario.planted is None:
        return _prepare(request, strategy, phases)
    fault = parse_fault(request.scenario.planted)
    if fault.name == SPOILT and row.name != _SPOILABLE:
        raise ConfigurationError(
            f"Only {_SPOILABLE} has members to spoil. Received: planted={fault.name!r} in {row.name}"
        )
    warmup_steps = request.scenario.timing.warmup_steps
    if fault.share is not None and not warmup_steps:
        raise ConfigurationError(
            "What a planted fault takes is found in the warm-up: take one step or more of it. "
            f"Received: warmup_steps=0 with planted={request.scenario.planted!r}"
        )
    workload = _prepare(request, strategy, phases)
    if fault.name == SPOILT:
        return workload  # the scenario itself spoils
    if not workload.probes:
        raise ConfigurationError(
            f"{row.name} times no steps to slow down. Received: planted={request.scenario.planted!r}"
        )
    if fault.share is None:
        probes = tuple(replace(probe, fence=_return_at_once) for probe in workload.probes)
        return replace(workload, probes=probes, fence=_return_at_once if workload.fence else None)
    spend = sleep if fault.name == "sleep" else make_work(strategy.extended.worker_devices[0])
    share = fault.share
    return replace(
        workload, probes=tuple(slow_down(probe, share, spend, warmup_steps) for probe in workload.probes)
    )


def _prepare(request: Request, strategy: Any, phases: "Phases") -> "Workload":
    with phases("import"):
        prepare = SCENARIOS[request.scenario.name].load()
    workload: Workload = prepare(request, strategy, phases)
    return workload


def slow_down(
    probe: Probe,
    share: float,
    spend: Spend,
    warmup_steps: int,
    clock: Callable[[], float] = time.perf_counter,
) -> Probe:
    """Returns the probe with each step followed by something that takes a share of the step's own time.

    The first `warmup_steps` steps find out how much that is: of each the step alone is timed, with a fence,
    and then what follows it. The medians of the later half count, as those of the warm-up do for the length
    of a block. From then on the amount stays.

    Args:
        probe: What to slow down.
        share: Of the median time of a step.
        spend: Spends about so many seconds.
        warmup_steps: At least 1.
        clock: Seconds, monotonic.
    """
    own: list[float] = []
    taken: list[float] = []  # by what follows, for each second asked of it
    amount = 0.0

    def step() -> float | None:
        nonlocal amount
        if len(own) == warmup_steps:
            waited = probe.step()
            spend(amount)
            return waited
        start = clock()
        waited = probe.step()
        probe.fence()
        own.append(clock() - start)
        asked = amount or share * own[0]
        start = clock()
        spend(asked)()
        taken.append((clock() - start) / asked)
        amount = share * _later_median(own) / _later_median(taken)
        return waited

    return replace(probe, step=step)


def sleep(seconds: float) -> Callable[[], object]:
    """Sleeps; there is nothing to wait for afterwards."""
    time.sleep(seconds)
    return _return_at_once


def make_work(device: str) -> Spend:
    """Returns what spends time with float32 matrix products on a device, in as many rows as fill it."""
    import tensorflow as tf

    with tf.device(device):
        left, right = tf.random.normal((_MOST_ROWS, _SIDE)), tf.random.normal((_SIDE, _SIDE))

    def work(seconds: float) -> Callable[[], object]:
        rows = max(1, round(seconds * _ROWS_PER_SECOND))
        rounds = -(-rows // _MOST_ROWS)
        with tf.device(device):
            part = left[: -(-rows // rounds)]
            for _ in range(rounds):
                product = tf.linalg.matmul(part, right)

        def fence() -> float:
            with tf.device(device):
                return float(product[0, 0])

        return fence

    return work


def spoil_weights(model: Any, seed: int) -> None:
    """Shuffles every weight of a model: noise of the same distribution, so that variances stay above 0."""
    generator = np.random.default_rng(seed)
    model.set_weights(
        [generator.permutation(weight.reshape(-1)).reshape(weight.shape) for weight in model.get_weights()]
    )


def _later_median(values: list[float]) -> float:
    return statistics.median(values[len(values) // 2 :])


def _return_at_once() -> None:
    return None
