"""Checkpoints of a run: weights, optimizer, and where in which epoch it stands."""

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tensorflow as tf

from ..errors import WeightsError
from ..hardware.strategies import is_chief
from .step import TrainStep
from .workers import exchange, passed_by_all

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
        self._step = step
        self._strategy = strategy
        self._epoch = tf.Variable(0, trainable=False, dtype=tf.int64)
        self._steps = tf.Variable(0, trainable=False, dtype=tf.int64)
        self._checkpoint = tf.train.Checkpoint(
            model=step.model,
            optimizer=step.optimizer,
            totals=step.totals,
            # Dropout's: Keras keeps them where a checkpoint of the model does not look.
            generators=[one.value for one in step.model.variables if "seed_generator" in one.path],
            epoch=self._epoch,
            steps=self._steps,
        )
        self._best = tf.train.Checkpoint(model=step.model)
        self._scratch = None if is_chief(strategy) else Path(tempfile.mkdtemp(prefix="tpuens-checkpoint-"))
        self._manager = tf.train.CheckpointManager(
            self._checkpoint, str(self._scratch or folder), max_to_keep=KEEP
        )

    def save(self, *, epoch: int, steps: int) -> None:
        """Writes a checkpoint: `steps` of `epoch` (from 0) are done.

        Raises:
            WeightsError: It cannot be written: disk full, no permission.
        """
        self._step.synchronise()
        self._epoch.assign(epoch)
        self._steps.assign(steps)
        self._write(self._manager.save)

    def save_best(self, epoch: int) -> None:
        """Keeps the model's weights as those of its best epoch so far, and those of the best before it.

        Raises:
            WeightsError: They cannot be written.
        """
        self._step.synchronise()
        self._write(lambda: self._best.write(str((self._scratch or self._folder) / f"best-{epoch}")))
        for number in self._list_best()[:-KEEP]:
            for path in self._folder.glob(f"best-{number}.*"):
                path.unlink(missing_ok=True)

    def restore_best(self, epoch: int) -> None:
        """Gives the model the weights that `save_best` kept of an epoch.

        Raises:
            WeightsError: They cannot be read.
        """
        try:
            with passed_by_all(self._strategy):
                self._best.read(str(self._folder / f"best-{epoch}")).assert_existing_objects_matched()
        except (tf.errors.OpError, AssertionError, ValueError) as error:
            raise WeightsError(
                f"The weights of the best epoch, best-{epoch} in {self._folder}, cannot be read: start a new "
                f"run. TensorFlow said: {error}"
            ) from error

    def _list_best(self) -> list[int]:
        return sorted(int(path.stem.removeprefix("best-")) for path in self._folder.glob("best-*.index"))

    def _write(self, write: Callable[[], Any]) -> None:
        try:
            # Saving talks to the others as well, but only before it writes, which is what may fail.
            with passed_by_all(self._strategy):
                write()
        except (tf.errors.OpError, OSError) as error:
            raise WeightsError(
                f"The checkpoint cannot be written to {self._folder}: make room or choose another --output. "
                f"The checkpoint before it is whole. TensorFlow said: {error}"
            ) from error
        finally:
            if self._scratch is not None:
                shutil.rmtree(self._scratch, ignore_errors=True)

    def restore(self, on_status: Callable[[str], None] = lambda text: None) -> tuple[int, int]:
        """Restores the newest checkpoint and returns (epoch, steps of it that are done); (0, 0) without one.

        Where the newest cannot be read, the one before it is taken.

        Args:
            on_status: Told of a checkpoint that was passed over.

        Raises:
            WeightsError: None can be read, or they do not fit the model; or the workers do not see the same.
        """
        with passed_by_all(self._strategy):
            position = self._restore_newest(on_status)
        positions = exchange(self._strategy, *position)
        if (positions != positions[0]).any():
            seen = "; ".join(f"epoch {epoch:.0f}, step {steps:.0f}" for epoch, steps in positions)
            raise WeightsError(
                "All workers resume from one checkpoint: the run's folder must lie on a file system that "
                f"they share, and the folder of a new run must be new on all of them. Received: "
                f"{self._folder}, which holds, worker by worker: {seen}"
            )
        return position

    def _restore_newest(self, on_status: Callable[[str], None]) -> tuple[int, int]:
        # By the files there, not by the list that TensorFlow keeps of them: that may be broken as well.
        paths = [path.with_suffix("") for path in self._folder.glob("ckpt-*.index")]
        problem: Exception | None = None
        for path in sorted(paths, key=lambda path: int(path.name.removeprefix("ckpt-")), reverse=True):
            try:
                self._checkpoint.restore(str(path)).assert_existing_objects_matched()
            except (tf.errors.OpError, AssertionError, ValueError) as error:
                on_status(f"{path} cannot be read: looking for the checkpoint before it")
                problem = problem or error
            else:
                return int(self._epoch.numpy()), int(self._steps.numpy())
        if problem is not None:
            raise WeightsError(
                f"No checkpoint in {self._folder} can be restored: start a new run with another --output. "
                f"TensorFlow said of the newest: {problem}"
            ) from problem
        return 0, 0
