"""A stopwatch that knows nothing of the instrument, beside the instrument: do both read the same?

A program of its own, which the self-test starts: a request on standard input, and one line of JSON on
standard output, with the series of the instrument and that of the stopwatch. Both time blocks of the same
compiled steps in this process, and take turns in the order A B B A. The stopwatch is a bare loop; its clock
is the raw one of the kernel where there is one, which no time server bends; and it waits for the devices by
TensorFlow's own `sync_devices`, not by our fence.
"""

import os
import statistics
import sys
import time

import msgspec
import tensorflow as tf

from tpuens.hardware.strategies import open_strategy

from ..measuring.timing import Block, Clocks, Probe, make_series, time_block
from ..records.record import Series
from ..suites import Request, Timing
from .planting import prepare_workload
from .workload import Phases

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
    """Returns the series of "instrument" and "stopwatch"; samples of one index were adjacent."""
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
    whole = make_series(probe, instrument, warmup)
    outside = Series(
        name=probe.name, fence="block", steps=whole.steps, examples=whole.examples, seconds=tuple(seconds)
    )
    return {"instrument": whole, "stopwatch": outside}


def stop_time(probe: Probe, steps: int) -> float:
    """Returns the seconds that so many steps take, as anyone would time them."""
    start = _read_clock()
    for _ in range(steps):
        probe.step()
    tf.test.experimental.sync_devices()
    return (_read_clock() - start) * 1e-9


def _read_clock() -> int:
    return time.monotonic_ns() if _RAW_CLOCK is None else time.clock_gettime_ns(_RAW_CLOCK)


if __name__ == "__main__":
    main()
