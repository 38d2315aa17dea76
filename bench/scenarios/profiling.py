"""A trace of a few steps for TensorBoard or Perfetto, apart from those that are timed."""

from collections.abc import Iterable
from pathlib import Path

import tensorflow as tf

from ..measuring.timing import Probe

TRACED_STEPS = 5


def trace_probes(probes: Iterable[Probe], folder: Path) -> None:
    """Writes the trace of a few more steps of each probe, every one fenced, to a subfolder of its own.

    The profiler names its files after the machine.
    """
    for number, probe in enumerate(probes):
        tf.profiler.experimental.start(str(folder / f"{number:02d}-{probe.name}"))
        try:
            with probe.setting():
                for step in range(TRACED_STEPS):
                    with tf.profiler.experimental.Trace(probe.name, step_num=step, _r=1):
                        probe.step()
                        probe.fence()
        finally:
            tf.profiler.experimental.stop()
