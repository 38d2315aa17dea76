"""What several workers tell each other, so that all of them go on, or all of them stop.

Workers meet in collective operations, and one that does not come lets the others wait for ever. So whatever
may turn out differently from one to the next (a clock, a signal, a disk) is told round before it counts.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from ..errors import ConfigurationError, DeviceError, RunError


def count_workers(strategy: Any) -> int:
    """Returns how many processes train together."""
    return int(strategy.num_replicas_in_sync // len(strategy.extended.worker_devices))


def check_reachable(strategy: Any) -> None:
    """Holds a strategy against what an input pipeline needs: that it runs where its devices are.

    Raises:
        DeviceError: Its TPU is reached over the network, and the pipeline calls Python, which is here.
    """
    devices = strategy.extended.worker_devices
    remote = [device for device in devices if "TPU" in device and "/job:localhost" not in device]
    if remote:
        raise DeviceError(
            "The machine that a TPU is part of reads and draws the images: run this on the TPU VM itself, "
            f"with the strategy tpu. Received: a TPU over the network, {remote[0]}"
        )


def exchange(strategy: Any, *values: float) -> np.ndarray:
    """Returns what every worker passed, float32 (workers, values); the chief's row is the first.

    Every worker has to call it at the same point. A single worker gets its own row back at once.
    """
    workers, replicas = count_workers(strategy), strategy.num_replicas_in_sync
    if workers == 1:
        return np.array([values], np.float32)

    def place(context: Any) -> Any:
        return tf.one_hot(context.replica_id_in_sync_group, replicas)[:, tf.newaxis] * tf.constant(
            values, tf.float32
        )

    rows = strategy.reduce("SUM", strategy.experimental_distribute_values_from_function(place), axis=None)
    return np.asarray(rows.numpy()[:: replicas // workers])


@contextlib.contextmanager
def passed_by_all(strategy: Any) -> Iterator[None]:
    """Lets the workers go on only if none of them failed in the block.

    The block must not communicate, or a worker that fails in it would leave the others waiting there.

    Raises:
        RunError: Another worker failed; its own error is raised there.
    """
    failure: Exception | None = None
    try:
        yield
    except Exception as error:
        failure = error
    failed = exchange(strategy, failure is not None)[:, 0]
    if failure is not None:
        raise failure
    if failed.any():
        numbers = ", ".join(str(number) for number in np.flatnonzero(failed))
        raise RunError(
            "All workers stop when one cannot go on: mend what that one says, and start all of them again. "
            f"Received: an error on worker {numbers} (0 is the chief)"
        )


def check_shared(strategy: Any, folder: Path) -> None:
    """Sees that every worker has the folder that the chief has made.

    Raises:
        ConfigurationError: This one has not.
        RunError: Another one has not.
    """
    with passed_by_all(strategy):
        if not folder.is_dir():
            raise ConfigurationError(
                "All workers of a run have one folder: give all of them the same --output, on a file system "
                f"that they share. Received: output={str(folder)!r}, which this worker does not see"
            )
