"""One phase of a run's training: epochs, checkpoints, early stopping, and a stop in between."""

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import ConfigurationError, InterruptedRunError
from ..evaluation.metrics import Scores, compute_scores
from ..training.checkpoints import Checkpoints
from ..training.interrupts import StopRequest
from ..training.loop import BatchSource, EpochReport, Progress, Trainer
from ..training.workers import count_workers, exchange, passed_by_all
from .config import PhaseConfig
from .run_folder import RunFolder

# A kill may cost this much work; Ctrl-C costs none.
CHECKPOINT_SECONDS = 300
# How often several workers tell each other whether one of them is to stop: it takes time, and so must be
# rarer than every step.
AGREE_STEPS = 10


@dataclass(frozen=True, kw_only=True)
class Observer:
    """Who is told how a run goes; the command line draws its progress bar from this."""

    on_status: Callable[[str], None] = lambda text: None
    on_features: Callable[[str, int, int], None] = lambda part, done, total: None
    on_progress: Callable[[Progress], None] = lambda progress: None
    on_epoch: Callable[[EpochReport, Scores], None] = lambda report, scores: None


class PhaseRun:
    """One phase under way, fresh or resumed.

    Args:
        phase: What is asked.
        trainer: Of the model that trains in this phase.
        rates: The learning rate of every step of the phase.
        sources: What the training and the validation part are drawn from, by part.
        checkpoints: The phase's own.
        folder: The run's; its history gets a row an epoch.
        stop: Turns true when a signal has asked to stop.
        observer: Told of progress.
        is_chief: Whether this process writes.
    """

    def __init__(
        self,
        *,
        phase: PhaseConfig,
        trainer: Trainer,
        rates: npt.NDArray[np.float64],
        sources: Mapping[str, BatchSource],
        checkpoints: Checkpoints,
        folder: RunFolder,
        stop: StopRequest,
        observer: Observer,
        is_chief: bool,
    ) -> None:
        self._phase = phase
        self._trainer = trainer
        self._rates = rates
        self._sources = sources
        self._checkpoints = checkpoints
        self._folder = folder
        self._stop = stop
        self._observer = observer
        self._is_chief = is_chief
        self._strategy = trainer.strategy
        self._agree_steps = AGREE_STEPS if count_workers(self._strategy) > 1 else 1
        self._steps_run = 0

    def finish(self, earlier: list[dict[str, Any]], later: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Trains what is left of the phase and returns its rows of the history.

        Args:
            earlier: The rows of the phases before it.
            later: The rows that an interrupted run has left of this phase.
        """
        epoch, steps_done = self._checkpoints.restore(self._observer.on_status)
        if steps_done and epoch >= self._phase.epochs:
            raise ConfigurationError(
                f"A run goes on, never back: it was stopped within epoch {epoch + 1} of its phase, so give "
                f"{epoch + 1} epochs or more. Received: epochs={self._phase.epochs} for {self._folder.path}"
            )
        rows = later[:epoch]
        for number in range(epoch, self._phase.epochs):
            if self._has_stalled(rows):
                break
            rows.append(self._train_epoch(len(earlier) + number, number, steps_done))
            if self._phase.patience is not None and _best_epoch(rows) == number:
                self._checkpoints.save_best(number)
            with passed_by_all(self._strategy):
                if self._is_chief:
                    self._folder.write_history([*earlier, *rows])
            self._checkpoints.save(epoch=number + 1, steps=0)
            steps_done = 0
        if self._phase.patience is not None:
            best = _best_epoch(rows)
            if best < len(rows) - 1:
                self._observer.on_status(
                    f"going back to epoch {len(earlier) + best + 1}, the best of its phase"
                )
            self._checkpoints.restore_best(best)
        return rows

    def _has_stalled(self, rows: list[dict[str, Any]]) -> bool:
        patience = self._phase.patience
        return patience is not None and bool(rows) and len(rows) - 1 - _best_epoch(rows) >= patience

    def _train_epoch(self, epoch: int, number: int, steps_done: int) -> dict[str, Any]:
        """Trains and validates; `epoch` counts from the run's start, `number` from the phase's."""
        saved = time.monotonic()
        if self._is_chief:
            self._folder.model.unlink(missing_ok=True)  # of fewer epochs; it says that the run is finished

        def on_step(steps: int) -> None:
            nonlocal saved
            self._steps_run += 1
            if self._steps_run % self._agree_steps:
                return
            overdue = time.monotonic() - saved > CHECKPOINT_SECONDS
            said = exchange(self._strategy, self._stop.requested, overdue)
            if said[:, 0].any():
                self._checkpoints.save(epoch=number, steps=steps)
                raise InterruptedRunError(
                    f"Stopped in epoch {epoch + 1} after step {steps}; everything up to there is kept. "
                    f"Go on with: tpuens train --resume {self._folder.path}"
                )
            if said[0, 1]:  # by the chief's clock
                self._checkpoints.save(epoch=number, steps=steps)
                saved = time.monotonic()

        report = self._trainer.train_epoch(
            self._sources["train"],
            epoch,
            skip_steps=steps_done,
            on_step=on_step,
            on_progress=self._observer.on_progress,
        )
        row = {"phase": self._phase.name, "learning_rate": float(self._rates[number * report.steps])}
        return row | judge_epoch(self._trainer, report, self._sources["validation"], self._observer)


def judge_epoch(
    trainer: Trainer, report: EpochReport, validation: BatchSource, observer: Observer
) -> dict[str, Any]:
    """Returns an epoch's row of the history, its validation scores included, and tells the observer."""
    scores = compute_scores(validation.examples.known_labels, trainer.predict(validation))
    observer.on_epoch(report, scores)
    return asdict(report) | {f"validation_{name}": value for name, value in scores.as_dict().items()}


def _best_epoch(rows: list[dict[str, Any]]) -> int:
    """Returns the row with the least validation loss; the first of equals."""
    losses = [float(row["validation_log_loss"]) for row in rows]
    return losses.index(min(losses))
