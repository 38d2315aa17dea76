"""A training run from a configuration to a folder with the model, its predictions and its scores."""

import functools
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from ..data.datasets import load_splits
from ..data.examples import Examples
from ..errors import ConfigurationError, InterruptedRunError
from ..evaluation.metrics import Scores, score_predictions
from ..evaluation.pictures import draw_history
from ..evaluation.predictions import label_predictions
from ..hardware.batches import resolve_batch_size
from ..hardware.devices import collect_devices
from ..hardware.strategies import is_chief, open_strategy
from ..models.classifier import build_classifier
from ..models.freezing import freeze
from ..training.checkpoints import Checkpoints
from ..training.features import FeatureStore
from ..training.interrupts import StopRequest, catch_stop_signals
from ..training.loop import BatchSource, Trainer
from ..training.losses import activation_of
from ..training.optimizers import TabulatedSchedule, choose_implementation, make_optimizer
from ..training.schedules import learning_rates
from ..training.workers import check_shared, passed_by_all
from .config import PhaseConfig, TrainConfig, check_config, read_config
from .frozen import open_features
from .parts import Loader, load_parts, make_pipelines, weigh_classes
from .phases import Observer, PhaseRun
from .results import write_predictions
from .run_folder import RunFolder

DEFAULT_BATCH_SIZE = 32


@dataclass(frozen=True, kw_only=True)
class RunSummary:
    """Where a finished run lies, the scores of its validation and labelled test part, and the model."""

    folder: Path
    scores: dict[str, Scores]
    model: keras.Model


def train(
    config: TrainConfig,
    output: Path,
    *,
    observer: Observer | None = None,
    strategy: Any = None,
    features: Path | None = None,
    load: Loader = load_splits,
) -> RunSummary:
    """Trains as configured, writes the run's folder, and returns its scores.

    Args:
        config: What to do.
        output: A folder that does not exist yet, or is empty.
        observer: Told of progress.
        strategy: An open one, for several runs in one process; None opens the one that `config` names.
        features: Where the features of frozen backbones are kept; runs may share it. None: the run's folder.
        load: Reads the data; see `load_parts`.

    Raises:
        TpuensError: A name, file, device or number cannot be used; the message says which and what would do.
        InterruptedRunError: Ctrl-C or SIGTERM; a checkpoint holds everything up to the last step.
    """
    check_config(config)
    strategy = strategy or open_strategy(config.strategy)
    with passed_by_all(strategy):
        if is_chief(strategy):
            RunFolder(output).create()
    check_shared(strategy, output)
    return _Run(config, RunFolder(output), strategy, observer or Observer(), features, load).finish()


def resume(
    output: Path,
    *,
    observer: Observer | None = None,
    epochs: int | None = None,
    data_dir: str | None = None,
    strategy: Any = None,
    features: Path | None = None,
    load: Loader = load_splits,
) -> RunSummary:
    """Goes on with an interrupted run from its last checkpoint, as if it had not been interrupted.

    Args:
        output: The run's folder.
        observer: Told of progress.
        epochs: Another number of epochs for the last phase than the run was asked for; None keeps it.
        data_dir: Where the data lies now; None: where it lay.
        strategy: As for `train`.
        features: As for `train`.
        load: As for `train`.

    Raises:
        ConfigurationError: The run is finished and has no checkpoints any more, the strategy has another
            number of replicas than the run was begun with, or there are fewer epochs than are done.
    """
    folder = RunFolder(output)
    config = read_config(folder)
    if folder.model.exists() and not folder.checkpoints.exists():
        raise ConfigurationError(
            "This run is finished, and its checkpoints were removed, as a recipe and a sweep do: `--resume` "
            f"the recipe, or train anew. Received: {output}"
        )
    if data_dir is not None:
        config = replace(config, data_dir=data_dir)
    if epochs is not None:
        last = config.phases[-1]
        done = sum(row["phase"] == last.name for row in folder.read_history())
        if epochs < done:
            raise ConfigurationError(
                f"A run goes on, never back: give {done} epochs or more. Received: epochs={epochs} for "
                f"{output}, which has done {done}"
            )
        config = replace(config, phases=(*config.phases[:-1], replace(last, epochs=epochs)))
    check_config(config)
    strategy = strategy or open_strategy(config.strategy)
    return _Run(config, folder, strategy, observer or Observer(), features, load).finish()


class _Run:
    """One run under way, fresh or resumed."""

    def __init__(
        self,
        config: TrainConfig,
        folder: RunFolder,
        strategy: Any,
        observer: Observer,
        features: Path | None,
        load: Loader,
    ) -> None:
        self._started = time.monotonic()
        self._config = config
        self._folder = folder
        self._observer = observer
        self._strategy = strategy
        self._is_chief = is_chief(strategy)
        if config.deterministic:
            tf.config.experimental.enable_op_determinism()
        observer.on_status(f"loading {config.dataset}")
        with passed_by_all(strategy):
            self._parts, skipped = self._load_parts(load)
        self._pipelines = make_pipelines(config, self._parts)
        train_part = self._parts["train"]
        self._loss = weigh_classes(config, train_part)
        observer.on_status(f"building {config.backbone}")
        keras.utils.set_random_seed(config.seed)
        self._batch = resolve_batch_size(
            strategy.num_replicas_in_sync,
            per_replica_batch_size=DEFAULT_BATCH_SIZE
            if config.batch_size is None and config.global_batch_size is None
            else config.batch_size,
            global_batch_size=config.global_batch_size,
        )
        with strategy.scope():
            self._model = build_classifier(
                backbone=config.backbone,
                num_classes=len(train_part.class_names),
                image_shape=config.image_shape,
                weights=config.weights,
                head_blocks=config.head_blocks,
                dropout=config.dropout,
                dtype_policy=config.dtype_policy,
            )
        identity = {
            "backbone": config.backbone,
            "weights": config.weights or f"random, seed {config.seed}",
            "head_blocks": config.head_blocks,
            "image_shape": config.image_shape,
            "dtype_policy": config.dtype_policy,
        }
        self._store = FeatureStore(features or folder.features, identity, may_write=self._is_chief)
        for phase in config.phases:
            freeze(self._model, phase.trainable, freeze_batch_norm=phase.freeze_batch_norm)  # refuses
        # A call that was refused up to here has left nothing, and may be mended and made again.
        with passed_by_all(strategy):
            if self._is_chief:
                ids = {name: part.ids.tolist() for name, part in self._parts.items()}
                if not (folder.path / "config.json").exists():  # with one, a folder can be gone on with
                    folder.write_text("config.json", config.as_json())
                folder.write_batch(strategy.num_replicas_in_sync, self._batch.global_)
                folder.write_split(ids | {"skipped": skipped})
                folder.write_text("config.json", config.as_json())

    def finish(self) -> RunSummary:
        """Trains what is left and writes what comes out."""
        before = self._folder.read_history()
        history: list[dict[str, Any]] = []
        with catch_stop_signals() as stop:
            for number, phase in enumerate(self._config.phases):
                # What is trainable counts when a step is made of the model.
                freeze(self._model, phase.trainable, freeze_batch_norm=phase.freeze_batch_norm)
                sources: Mapping[str, BatchSource] = self._pipelines
                model = self._model
                if number == 0 and phase.trainable == "head" and not self._config.augment:
                    sources, model = open_features(
                        self._model,
                        self._pipelines,
                        self._store,
                        strategy=self._strategy,
                        per_replica_batch_size=self._batch.per_replica,
                        jit_compile=self._config.jit_compile,
                        on_progress=functools.partial(self._tell_features, stop),
                    )
                rates = self._compute_rates(phase)
                trainer = self._make_trainer(phase, model, rates)
                checkpoints = self._folder.checkpoints / f"{number + 1}-{phase.name}"
                run = PhaseRun(
                    phase=phase,
                    trainer=trainer,
                    rates=rates,
                    sources=sources,
                    checkpoints=Checkpoints(checkpoints, trainer.step, self._strategy),
                    folder=self._folder,
                    stop=stop,
                    observer=self._observer,
                    is_chief=self._is_chief,
                )
                history += run.finish(history, [row for row in before if row["phase"] == phase.name])
            freeze(self._model, "all", freeze_batch_norm=False)  # whoever loads the model may train all of it
            return self._write_results(trainer, sources, history, stop)

    def _load_parts(self, load: Loader) -> tuple[dict[str, Examples], list[str]]:
        parts, skipped = load_parts(self._config, load)
        if skipped:
            first = ", ".join(skipped[:3])
            self._observer.on_status(
                f"left out {len(skipped)} corrupt images, listed in split.json; the first: {first}"
            )
        return parts, skipped

    def _compute_rates(self, phase: PhaseConfig) -> npt.NDArray[np.float64]:
        steps_per_epoch = max(1, len(self._parts["train"]) // self._batch.global_)
        return learning_rates(
            phase.schedule,
            steps=steps_per_epoch * phase.epochs,
            steps_per_epoch=steps_per_epoch,
            num_replicas=self._strategy.num_replicas_in_sync,
            global_batch_size=self._batch.global_,
        )

    def _make_trainer(
        self, phase: PhaseConfig, model: keras.Model, rates: npt.NDArray[np.float64]
    ) -> Trainer:
        with self._strategy.scope():
            optimizer = make_optimizer(
                phase.optimizer,
                learning_rate=TabulatedSchedule(rates),
                weight_decay=phase.weight_decay,
                dtype_policy=self._config.dtype_policy,
                implementation=choose_implementation(self._strategy),
            )
        return Trainer(
            model=model,
            optimizer=optimizer,
            strategy=self._strategy,
            per_replica_batch_size=self._batch.per_replica,
            loss=self._loss,
            jit_compile=self._config.jit_compile,
            steps_per_execution=self._config.steps_per_execution,
        )

    def _tell_features(self, stop: StopRequest, part: str, done: int, total: int) -> None:
        self._observer.on_features(part, done, total)
        if stop.requested:
            raise InterruptedRunError(
                f"Stopped after the features of {done} of {total} {part} images; they are kept. "
                f"Go on with: tpuens train --resume {self._folder.path}"
            )

    def _write_results(
        self,
        trainer: Trainer,
        sources: Mapping[str, BatchSource],
        history: list[dict[str, Any]],
        stop: StopRequest,
    ) -> RunSummary:
        self._observer.on_status("predicting and writing the results")
        sigmoid = activation_of(self._config.loss.name) == "sigmoid"
        predictions = {
            part: label_predictions(
                self._parts[part],
                trainer.predict(sources[part], self._config.views),
                self._folder.path.name,
                sigmoid=sigmoid,
            )
            for part in ("validation", "test")
        }
        scores = {part: score_predictions(one) for part, one in predictions.items() if one.labels is not None}
        with passed_by_all(self._strategy):  # others may read them as soon as they are through here
            if self._is_chief:
                for part, one in predictions.items():
                    write_predictions(self._folder, part, self._parts[part], one)
                draw_history(history, self._folder.path / "history.png")
                self._folder.write_json("metrics.json", {name: s.as_dict() for name, s in scores.items()})
                self._folder.write_json("environment.json", self._describe_environment())
                self._folder.write_model(self._model)
            if stop.requested:  # what comes after this run shall not begin
                raise InterruptedRunError(f"Stopped. This run was just finished: {self._folder.path}")
        return RunSummary(folder=self._folder.path, scores=scores, model=self._model)

    def _describe_environment(self) -> dict[str, Any]:
        return asdict(collect_devices()) | {
            "num_replicas": self._strategy.num_replicas_in_sync,
            "global_batch_size": self._batch.global_,
            "seconds": time.monotonic() - self._started,
        }
