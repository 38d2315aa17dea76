"""Checkpoints of a run: weights, optimizer, and where in which epoch it stands."""

import shutil
import tempfile
from pathlib import Path
from typing import Any

import tensorflow as tf

from ..errors import WeightsError
from ..hardware.strategies import is_chief
from .step import TrainStep

KEEP = 2  # the newest, and the one before in case a kill hits while it is written


class Checkpoints:
    """Keeps the state of training in a folder.

    Every worker of a cluster has to call `save`, since reading mirrored state talks to the others; the
    chief's is kept, the rest are thrown away, as TensorFlow's guide for several workers has it.

    Args:
        folder: Where checkpoints lie; made when missing.
        step: Its model, optimizer and running sums are kept.
        strategy: The strategy that the step runs under.
    """

    def __init__(self, folder: Path, step: TrainStep, strategy: Any) -> None:
        self._folder = folder
        self._epoch = tf.Variable(0, trainable=False, dtype=tf.int64)
        self._steps = tf.Variable(0, trainable=False, dtype=tf.int64)
        self._checkpoint = tf.train.Checkpoint(
            model=step.model,
            optimizer=step.optimizer,
            totals=step.totals,
            epoch=self._epoch,
            steps=self._steps,
        )
        self._scratch = None if is_chief(strategy) else Path(tempfile.mkdtemp(prefix="tpuens-checkpoint-"))
        self._manager = tf.train.CheckpointManager(
            self._checkpoint, str(self._scratch or folder), max_to_keep=KEEP
        )

    def save(self, *, epoch: int, steps: int) -> None:
        """Writes a checkpoint: `steps` of `epoch` (from 0) are done.

        Raises:
            WeightsError: It cannot be written: disk full, no permission.
        """
        self._epoch.assign(epoch)
        self._steps.assign(steps)
        try:
            self._manager.save()
        except (tf.errors.OpError, OSError) as error:
            raise WeightsError(
                f"The checkpoint cannot be written to {self._folder}: make room or choose another --output. "
                f"The checkpoint before it is whole. TensorFlow said: {error}"
            ) from error
        finally:
            if self._scratch is not None:
                shutil.rmtree(self._scratch, ignore_errors=True)

    def restore(self) -> tuple[int, int]:
        """Restores the newest checkpoint and returns (epoch, steps of it that are done); (0, 0) without one.

        Raises:
            WeightsError: It cannot be read, or does not fit the model.
        """
        newest = tf.train.latest_checkpoint(str(self._folder))
        if newest is None:
            return 0, 0
        try:
            self._checkpoint.restore(newest).assert_existing_objects_matched()
        except (tf.errors.OpError, AssertionError, ValueError) as error:
            raise WeightsError(
                f"The checkpoint {newest} cannot be restored: delete it to go on from the one before, or "
                f"start a new run. TensorFlow said: {error}"
            ) from error
        return int(self._epoch.numpy()), int(self._steps.numpy())
