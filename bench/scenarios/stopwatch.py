"""Clocks that know nothing of the instrument, beside the instrument: do they read the same?

A program of its own, which the self-test starts: a request on standard input, and one line of JSON on
standard output, with the series of the instrument and of what stands beside it.

* A stopwatch and the instrument time blocks of the same compiled steps in this process, and take turns in the
  order A B B A. The stopwatch is a bare loop; its clock is the raw one of the kernel where there is one,
  which no time server bends; and it waits for the devices by TensorFlow's own `sync_devices`, not by our
  fence.
* TensorFlow's profiler traces blocks while the instrument times them: its own clock in its own records of
  the very same steps, whatever tracing costs them.
"""

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import tensorflow as tf
from tensorflow.tsl.profiler.protobuf.xplane_pb2 import XSpace

from tpuens.hardware.strategies import open_strategy

from ..measuring.timing import Block, Clocks, Probe, make_series, time_block
from ..records.record import Series
from ..suites import Request, Timing
from .planting import prepare_workload
from .workload import Phases

TRACED_BLOCKS = 4
_EVENT = "tpuens-step"
_RAW_CLOCK = getattr(time, "CLOCK_MONOTONIC_RAW", None)


def main() -> None:
    """Reads the request, measures and tells."""
    output = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever else prints there
    request = msgspec.json.decode(sys.stdin.buffer.read(), type=Request)
    strategy = open_strategy(request.strategy)
    workload = prepare_workload(request, strategy, Phases())
    probe = next(probe for probe in workload.probes if probe.sample == "block")
    output.write(msgspec.json.encode(take_turns(probe, request.scenario.timing)))
    output.close()
    os._exit(0)  # TensorFlow's threads can hang in their own shutdown


def take_turns(probe: Probe, timing: Timing) -> dict[str, Series]:
    """Returns the series of "instrument" and "stopwatch", and of "traced" (by the instrument) and "trace".

    Samples of one index were adjacent in the first two, and are of the same steps in the others.
    """
    clocks = Clocks()
    warmup = [time_block(probe, 1, clocks) for _ in range(max(2, timing.warmup_steps))]
    step_seconds = statistics.median(block.seconds for block in warmup[len(warmup) // 2 :])
    steps = min(max(1, round(timing.block_seconds / step_seconds)), probe.max_block_steps)
    instrument: list[Block] = []
    seconds: list[float] = []
    for turn in range(timing.blocks):
        # Each arm is first as often as the other, and starts with a step ahead that is waited for.
        for ours in (True, False) if turn % 2 == 0 else (False, True):
            time_block(probe, 1, clocks)
            if ours:
                instrument.append(time_block(probe, steps, clocks))
            else:
                seconds.append(stop_time(probe, steps))
    traces = [trace_block(probe, steps, clocks) for _ in range(TRACED_BLOCKS)]
    whole, traced = (
        make_series(probe, blocks, warmup) for blocks in (instrument, [block for block, _ in traces])
    )
    return {
        "instrument": whole,
        "stopwatch": _outside(whole, seconds),
        "traced": traced,
        "trace": _outside(traced, [one for _, one in traces]),
    }


def stop_time(probe: Probe, steps: int) -> float:
    """Returns the seconds that so many steps take, as anyone would time them."""
    start = _read_clock()
    for _ in range(steps):
        probe.step()
    tf.test.experimental.sync_devices()
    return (_read_clock() - start) * 1e-9


def trace_block(probe: Probe, steps: int, clocks: Clocks) -> tuple[Block, float]:
    """Returns a block as the instrument times it, and its seconds as TensorFlow's profiler has them.

    The latter are from the begin of the first step to the end of the fence, on the profiler's clock.
    """

    def annotate(call: Callable[[], Any]) -> Callable[[], Any]:
        def annotated() -> Any:
            with tf.profiler.experimental.Trace(_EVENT):
                return call()

        return annotated

    traced = replace(probe, step=annotate(probe.step), fence=annotate(probe.fence))
    with tempfile.TemporaryDirectory() as folder:
        options = tf.profiler.experimental.ProfilerOptions(host_tracer_level=1, python_tracer_level=0)
        tf.profiler.experimental.start(folder, options)
        try:
            block = time_block(traced, steps, clocks)
        finally:
            tf.profiler.experimental.stop()
        (trace,) = Path(folder).rglob("*.xplane.pb")
        return block, _read_span(trace)


def _read_span(trace: Path) -> float:
    space = XSpace()
    space.ParseFromString(trace.read_bytes())
    begins, ends = [], []
    for plane in space.planes:
        for line in plane.lines:
            for event in line.events:
                if plane.event_metadata[event.metadata_id].name == _EVENT:
                    begins.append(line.timestamp_ns * 1000 + event.offset_ps)
                    ends.append(begins[-1] + event.duration_ps)
    return (max(ends) - min(begins)) * 1e-12


def _outside(timed: Series, seconds: list[float]) -> Series:
    return Series(
        name=timed.name, fence="block", steps=timed.steps, examples=timed.examples, seconds=tuple(seconds)
    )


def _read_clock() -> int:
    return time.monotonic_ns() if _RAW_CLOCK is None else time.clock_gettime_ns(_RAW_CLOCK)


if __name__ == "__main__":
    main()
