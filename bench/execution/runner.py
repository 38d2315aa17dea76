"""One run inside the worker: strategy, workload, samples, metrics."""

import contextlib
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec
import tensorflow as tf

from tpuens.hardware.strategies import open_strategy

from ..analysis.labels import reading_text
from ..measuring.energy import EnergyReading, find_meters
from ..measuring.environment import (
    Reading,
    collect_environment,
    environment_cautions,
    join_readings,
    read_frequency,
    take_family_reading,
    take_reading,
)
from ..measuring.timing import Probe, measure_fence, measure_in_rounds, measure_null_step, measure_probe
from ..records.record import Energy, Environment, Flops, Memory, Series
from ..scenarios.flops import count_flops
from ..scenarios.planting import prepare_workload
from ..scenarios.profiling import trace_probes
from ..scenarios.references import measure_references
from ..scenarios.table import SCENARIOS
from ..scenarios.workload import Evaluation, Phases, Workload
from ..suites import Request
from .messages import Described, Finished, Message, Order, Progress
from .turn_taker import take_turns

TELL_SECONDS = 0.5


def run_request(
    request: Request,
    *,
    phases: dict[str, float],
    send: Callable[[Message], None],
    read_memory: Callable[[], Memory],
) -> Finished:
    """Returns what was measured.

    Args:
        request: What to run.
        phases: Seconds of the phases that are over; the others are added.
        send: Called with progress, and with the run's description as soon as it is known.
        read_memory: Returns what this process has held up to then.

    Raises:
        DeviceError: This machine cannot offer the strategy.
        TpuensError: The request cannot be run as it is.
    """
    began, known = time.perf_counter(), sum(phases.values())
    start = _Start(request.strategy, phases, send)
    run = _Run(request, start)
    workload, timed = run.workload, run.timed
    measured = _measure_alone(workload, request, start.strategy, timed, send, read_memory, start.before)
    flops = None
    if request.repeat == 0 and workload.networks is not None:  # repeats have the same
        # Not for want of memory for another network: what was timed must not be lost.
        with timed("flops"), contextlib.suppress(tf.errors.OpError):
            flops = count_flops(workload.networks())
    timed.seconds["other"] = time.perf_counter() - began - (sum(timed.seconds.values()) - known)
    finished = run.finish(measured, flops)
    if request.profile is not None:
        with timed("profile"):
            trace_probes(workload.probes, Path(request.profile))
    return finished


def run_in_turns(
    requests: Sequence[Request],
    *,
    phases: dict[str, float],
    send: Callable[[Message], None],
    read_memory: Callable[[], Memory],
    receive: Callable[[], Order],
) -> list[Finished]:
    """Returns what was measured of each request, in the turns that were ordered.

    Args:
        requests: One arm, or both where a device takes one process alone; both under one strategy.
        phases: Seconds of the phases that are over; each arm adds its own to them.
        send: As for `run_request`.
        read_memory: Likewise; of two arms it is what both have held together.
        receive: Waits for the launcher's next order and returns it.

    Raises:
        DeviceError: This machine cannot offer the strategy.
        TpuensError: A request cannot be run as it is.
    """
    start = _Start(requests[0].strategy, phases, send)
    runs = [_Run(request, start, arm) for arm, request in enumerate(requests)]
    probes = [
        [one for one in run.workload.probes if one.name in SCENARIOS[run.request.scenario.name].compares]
        for run in runs
    ]
    finished = []
    read_machine = _choose_reading([probe for of_arm in probes for probe in of_arm])
    taken = take_turns(probes, receive=receive, send=send, read_machine=read_machine)
    for run, (series, turns) in zip(runs, taken, strict=True):
        _set_samples_apart(series, run.timed)
        before, after = join_readings(turns)
        # The turns alone: the other arm is the reference, and its joules could not be told from ours.
        measured = _Measured(series=series, memory=read_memory(), before=before, after=after)
        finished.append(run.finish(measured))
    return finished


class _Start:
    """The strategy of a process, opened, and what went before."""

    def __init__(self, strategy: str, phases: dict[str, float], send: Callable[[Message], None]) -> None:
        self.send, self.before = send, take_reading()
        self._timed = Phases(on_enter=lambda name: send(Progress(phase=name)), seconds=phases)
        with self._timed("strategy"):
            self.strategy = open_strategy(strategy)

    def fork_phases(self) -> Phases:
        """Returns the phases of an arm, which begin with those that are over."""
        return replace(self._timed, seconds=dict(self._timed.seconds))


@dataclass(frozen=True, kw_only=True)
class _Measured:
    """What came of the probes, and readings of the machine that frame it."""

    series: tuple[Series, ...]
    memory: Memory
    before: Reading
    after: Reading
    evaluation: Evaluation = field(default_factory=lambda: Evaluation(metrics=[]))
    references: tuple[Series, ...] = ()
    energy: tuple[Energy, ...] = ()


class _Run:
    """A request that is prepared; its records-to-be are told as soon as they are known."""

    def __init__(self, request: Request, start: _Start, arm: int = 0) -> None:
        self.request, self._before = request, start.before
        self.timed = start.fork_phases()
        start.send(Described(arm=arm, environment=self._describe(None)))
        self.workload: Workload = prepare_workload(request, start.strategy, self.timed)
        key, configuration = self.workload.key, self.workload.configuration
        start.send(Described(arm=arm, workload=key, configuration=configuration))

    def finish(self, measured: _Measured, flops: Flops | None = None) -> Finished:
        """Returns what the record will hold."""
        workload = self.workload
        environment = msgspec.structs.replace(
            self._describe(workload.dataset_fingerprint),
            cpu_frequency_hz_before=measured.before.frequency_hz,
            cpu_frequency_hz_after=measured.after.frequency_hz,
        )
        return Finished(
            environment=environment,
            workload=workload.key,
            configuration=workload.configuration,
            phases=self.timed.seconds,
            # Once whoever else may be at work has gone to sleep.
            fence_seconds=measure_fence(workload.fence) if workload.fence else (),
            null_step_seconds=measure_null_step() if measured.series else (),
            series=measured.series,
            metrics=tuple(measured.evaluation.metrics),
            outcomes=tuple(measured.evaluation.outcomes),
            memory=measured.memory,
            references=measured.references,
            flops=flops,
            energy=measured.energy,
            warnings=environment_cautions(environment, before=measured.before, after=measured.after),
        )

    def _describe(self, fingerprint: str | None) -> Environment:
        return collect_environment(
            seed=self.request.scenario.seed,
            dataset_fingerprint=fingerprint,
            variables=os.environ,
            asked_variables=self.request.variables,
            load_before=self._before.load,
            frequency_before=self._before.frequency_hz,
        )


def _measure_alone(
    workload: Workload,
    request: Request,
    strategy: Any,
    timed: Phases,
    send: Callable[[Message], None],
    read_memory: Callable[[], Memory],
    before: Reading,
) -> _Measured:
    frequencies: list[float | None] = []  # from the first block on: an idle processor may clock low
    take = _take_in_rounds if workload.in_rounds and workload.probes else _take_one_by_one
    series, energy = take(workload.probes, request, timed, send, frequencies)
    _set_samples_apart(series, timed)
    found = Evaluation(metrics=[])
    if workload.evaluate is not None:
        send(Progress(phase="evaluating"))
        frequencies.append(read_frequency())
        found = workload.evaluate(lambda done, of: send(Progress(phase="evaluating", done=done, of=of)))
        frequencies.append(read_frequency())
    memory = read_memory()  # before the references, whose arrays are not the scenario's
    with timed("references"):
        references = measure_references(strategy)
    return _Measured(
        series=tuple(series),
        evaluation=found,
        memory=memory,
        before=replace(before, frequency_hz=[*frequencies, before.frequency_hz][0]),
        after=replace(
            _choose_reading(workload.probes)(), frequency_hz=[before.frequency_hz, *frequencies][-1]
        ),
        references=references,
        energy=tuple(energy),
    )


def _take_one_by_one(
    probes: Sequence[Probe],
    request: Request,
    timed: Phases,
    send: Callable[[Message], None],
    frequencies: list[float | None],
) -> tuple[list[Series], list[Energy]]:
    meters = find_meters(_visible_gpus())
    series: list[Series] = []
    energy: list[Energy] = []
    for probe in probes:
        with timed("steady"), EnergyReading(meters) as reading:

            def begin(reading: EnergyReading = reading) -> None:
                frequencies.append(read_frequency())
                reading.begin()

            settings = _settings(request, send, probe.name)
            series.append(measure_probe(probe, on_start=begin, **settings))
        frequencies.append(read_frequency())
        energy += reading.energies(reading_text(series[-1]))
    return series, energy


def _take_in_rounds(
    probes: Sequence[Probe],
    request: Request,
    timed: Phases,
    send: Callable[[Message], None],
    frequencies: list[float | None],
) -> tuple[list[Series], list[Energy]]:
    """Returns no energy: what a meter reads could not be told apart."""
    settings = _settings(request, send, probes[0].name)
    with timed("steady"):
        series = measure_in_rounds(probes, on_start=lambda: frequencies.append(read_frequency()), **settings)
    frequencies.append(read_frequency())
    return series, []


def _set_samples_apart(series: Sequence[Series], timed: Phases) -> None:
    """Counts as warm-up and as steady what was timed, and nothing that went on between."""
    if series:
        timed.seconds["warmup"] = sum(sum(one.warmup_seconds) for one in series)
        timed.seconds["steady"] = sum(sum(one.seconds) for one in series)


def _choose_reading(probes: Sequence[Probe]) -> Callable[[], Reading]:
    return take_reading if all(probe.in_process for probe in probes) else take_family_reading


def _visible_gpus() -> list[int]:
    """Returns TensorFlow's numbers of the GPUs that the strategy left visible."""
    return [int(gpu.name.rpartition(":")[2]) for gpu in tf.config.get_visible_devices("GPU")]


def _settings(request: Request, send: Callable[[Message], None], name: str) -> dict[str, Any]:
    """Returns how long to measure, and whom to tell of it, as the functions that measure take it."""
    timing = request.scenario.timing
    told = 0.0

    def tell(done: int, of: int) -> None:
        nonlocal told  # a message costs the launcher time on the cores being measured
        if time.monotonic() - told > TELL_SECONDS:
            told = time.monotonic()
            send(Progress(phase=f"measuring {name}", done=done, of=of))

    return {
        "warmup_steps": timing.warmup_steps,
        "blocks": timing.blocks,
        "block_seconds": timing.block_seconds,
        "latency_seconds": timing.latency_seconds,
        "on_sample": tell,
    }
