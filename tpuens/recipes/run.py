"""A training run from a configuration to a folder with the model, its predictions and its scores."""

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import keras

from ..data.datasets import DATASETS, load_examples
from ..data.decode import drop_corrupt
from ..data.examples import Examples
from ..data.pipeline import Pipeline, PipelineConfig
from ..data.splits import split_holdout
from ..errors import ConfigurationError, InterruptedRunError
from ..evaluation.metrics import Scores, compute_scores
from ..evaluation.predictions import Predictions, label_predictions, save_predictions
from ..hardware.batches import resolve_batch_size
from ..hardware.host import collect_host
from ..hardware.strategies import is_chief, open_strategy
from ..models.backbones import BACKBONES
from ..models.classifier import build_classifier
from ..training.checkpoints import Checkpoints
from ..training.interrupts import StopRequest, catch_stop_signals
from ..training.loop import EpochReport, Progress, Trainer
from ..training.optimizers import check_optimizer, make_optimizer
from ..training.workers import count_workers, exchange, passed_by_all
from .run_folder import RunFolder

# A kill may cost this much work; Ctrl-C costs none.
CHECKPOINT_SECONDS = 300
# How often several workers tell each other whether one of them is to stop: it takes time, and so must be
# rarer than every step.
AGREE_STEPS = 10


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """What a run is asked to do; kept in its folder as config.json.

    Attributes:
        dataset: A name in `DATASETS`.
        data_dir: Where its files lie; None for embedded data, or for Keras's download.
        backbone: A name in `BACKBONES`.
        weights: "imagenet", a file, or None for a random start.
        image_size: Height and width shown to the network; None takes the data set's own.
        colour: "rgb" or "grey".
        strategy: A name in `STRATEGIES`.
        batch_size: Examples on each replica; the global batch grows with the replicas.
        global_batch_size: The whole batch instead, shared evenly.
        epochs: Passes over the training part.
        optimizer: A name in `OPTIMIZERS`.
        learning_rate: Constant.
        dtype_policy: Keras's: float32, mixed_bfloat16, mixed_float16.
        jit_compile: Compile the steps with XLA.
        augment: Names in `AUGMENTATIONS`, in order.
        cache: Keep decoded images in memory, where half of it holds them.
        validation_fraction: Share of the training part held out, stratified.
        split_seed: Of that split: runs that are to be combined share it.
        seed: Of initial weights, shuffling and augmentation.
        on_corrupt: "error" stops at a corrupt image, "skip" leaves it out and counts it.
    """

    dataset: str
    data_dir: str | None = None
    backbone: str = "cifar_cnn"
    weights: str | None = None
    image_size: int | None = None
    colour: Literal["rgb", "grey"] = "rgb"
    strategy: str = "auto"
    batch_size: int | None = None
    global_batch_size: int | None = None
    epochs: int = 10
    optimizer: str = "adam"
    learning_rate: float = 1e-3
    dtype_policy: str = "float32"
    jit_compile: bool = False
    augment: tuple[str, ...] = ()
    cache: bool = True
    validation_fraction: float = 0.2
    split_seed: int = 0
    seed: int = 0
    on_corrupt: Literal["error", "skip"] = "error"

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels shown to the network."""
        size = self.image_size or DATASETS[self.dataset].default_image_size
        return size, size, 1 if self.colour == "grey" else 3


DEFAULT_BATCH_SIZE = 32


@dataclass(frozen=True, kw_only=True)
class Observer:
    """Who is told how a run goes; the command line draws its progress bar from this."""

    on_status: Callable[[str], None] = lambda text: None
    on_progress: Callable[[Progress], None] = lambda progress: None
    on_epoch: Callable[[EpochReport, Scores], None] = lambda report, scores: None


@dataclass(frozen=True, kw_only=True)
class RunSummary:
    """Where a finished run lies, the scores of its validation and test parts, and the trained model."""

    folder: Path
    scores: dict[str, Scores]
    model: keras.Model


def train(config: TrainConfig, output: Path, *, observer: Observer | None = None) -> RunSummary:
    """Trains as configured, writes the run's folder, and returns its scores.

    Args:
        config: What to do.
        output: A folder that does not exist yet, or is empty.
        observer: Told of progress.

    Raises:
        TpuensError: A name, file, device or number cannot be used; the message says which and what would do.
        InterruptedRunError: Ctrl-C or SIGTERM; a checkpoint holds everything up to the last step.
    """
    _check(config)
    strategy = open_strategy(config.strategy)
    with passed_by_all(strategy):
        if is_chief(strategy):
            RunFolder(output).create()
    return _Run(config, RunFolder(output), strategy, observer or Observer()).finish()


def resume(output: Path, *, observer: Observer | None = None, epochs: int | None = None) -> RunSummary:
    """Goes on with an interrupted run from its last checkpoint, as if it had not been interrupted.

    Args:
        output: The run's folder.
        observer: Told of progress.
        epochs: Another number of epochs than the run was asked for; None keeps it.
    """
    folder = RunFolder(output)
    config = read_config(folder)
    if epochs is not None:
        config = replace(config, epochs=epochs)
    _check(config)
    return _Run(config, folder, open_strategy(config.strategy), observer or Observer()).finish()


def read_config(folder: RunFolder) -> TrainConfig:
    """Returns the configuration that a run's folder holds."""
    content = folder.read_json("config.json")
    try:
        return TrainConfig(**content | {"augment": tuple(content["augment"])})
    except (TypeError, KeyError) as error:
        raise ConfigurationError(
            f"config.json is not of this version of tpuens. Received: {folder.path} ({error})"
        ) from error


def load_parts(config: TrainConfig) -> tuple[dict[str, Examples], list[str]]:
    """Returns the train, validation and test parts, and the corrupt files that were left out."""
    train_part, skipped = _load(config, "train")
    test_part, skipped_too = _load(config, "test")
    rest, held_out = split_holdout(train_part, fraction=config.validation_fraction, seed=config.split_seed)
    return {"train": rest, "validation": held_out, "test": test_part}, skipped + skipped_too


def make_pipeline(config: TrainConfig, examples: Examples) -> Pipeline:
    """Returns the pipeline over some part of the data; it caches only what half of the memory holds."""
    size = len(examples) * math.prod(config.image_shape)
    return Pipeline(
        examples,
        PipelineConfig(
            image_shape=config.image_shape,
            augment=config.augment,
            cache=config.cache and size < collect_host().usable_memory_bytes / 2,
            seed=config.seed,
        ),
    )


def _check(config: TrainConfig) -> None:
    """Refuses what can be refused before anything is loaded or written."""
    BACKBONES[config.backbone]
    DATASETS[config.dataset]
    if config.epochs < 1:
        raise ConfigurationError(f"A run takes at least one epoch. Received: epochs={config.epochs}")
    check_optimizer(config.optimizer, config.learning_rate)


def _load(config: TrainConfig, split: str) -> tuple[Examples, list[str]]:
    examples = load_examples(config.dataset, split, config.data_dir)
    return drop_corrupt(examples) if config.on_corrupt == "skip" else (examples, [])


class _Run:
    """One run under way, fresh or resumed."""

    def __init__(self, config: TrainConfig, folder: RunFolder, strategy: Any, observer: Observer) -> None:
        self._config = config
        self._folder = folder
        self._observer = observer
        self._strategy = strategy
        self._is_chief = is_chief(strategy)
        self._agree_steps = AGREE_STEPS if count_workers(strategy) > 1 else 1
        self._steps_run = 0
        observer.on_status(f"loading {config.dataset}")
        with passed_by_all(strategy):
            self._parts = self._load_parts()
        self._pipelines = {name: make_pipeline(config, part) for name, part in self._parts.items()}
        observer.on_status(f"building {config.backbone}")
        keras.utils.set_random_seed(config.seed)
        batch = resolve_batch_size(
            strategy.num_replicas_in_sync,
            per_replica_batch_size=DEFAULT_BATCH_SIZE
            if config.batch_size is None and config.global_batch_size is None
            else config.batch_size,
            global_batch_size=config.global_batch_size,
        )
        with strategy.scope():
            model = build_classifier(
                backbone=config.backbone,
                num_classes=len(self._parts["train"].class_names),
                image_shape=config.image_shape,
                weights=config.weights,
                dtype_policy=config.dtype_policy,
            )
            optimizer = make_optimizer(
                config.optimizer, learning_rate=config.learning_rate, dtype_policy=config.dtype_policy
            )
        self._trainer = Trainer(
            model=model,
            optimizer=optimizer,
            strategy=strategy,
            per_replica_batch_size=batch.per_replica,
            jit_compile=config.jit_compile,
        )
        self._checkpoints = Checkpoints(folder.checkpoints, self._trainer.step, strategy)
        self._history: list[dict[str, Any]] = []

    def finish(self) -> RunSummary:
        """Trains what is left and writes what comes out."""
        epoch, steps_done = self._checkpoints.restore(self._observer.on_status)
        self._history = [dict(row) for row in self._folder.read_history()[:epoch]]
        with catch_stop_signals() as stop:
            for number in range(epoch, self._config.epochs):
                self._train_epoch(number, steps_done, stop)
                steps_done = 0
        self._observer.on_status("predicting and writing the results")
        return self._write_results()

    def _load_parts(self) -> dict[str, Examples]:
        parts, skipped = load_parts(self._config)
        if skipped:
            first = ", ".join(skipped[:3])
            self._observer.on_status(
                f"left out {len(skipped)} corrupt images, listed in split.json; the first: {first}"
            )
        if self._is_chief:
            ids = {name: part.ids.tolist() for name, part in parts.items()}
            self._folder.write_split(ids | {"skipped": skipped})
            self._folder.write_json("config.json", asdict(self._config))
        return parts

    def _train_epoch(self, epoch: int, steps_done: int, stop: StopRequest) -> None:
        saved = time.monotonic()

        def on_step(steps: int) -> None:
            nonlocal saved
            self._steps_run += 1
            if self._steps_run % self._agree_steps:
                return
            overdue = time.monotonic() - saved > CHECKPOINT_SECONDS
            said = exchange(self._strategy, stop.requested, overdue)
            if said[:, 0].any():
                self._checkpoints.save(epoch=epoch, steps=steps)
                raise InterruptedRunError(
                    f"Stopped in epoch {epoch + 1} after step {steps}; everything up to there is kept. "
                    f"Go on with: tpuens train --resume {self._folder.path}"
                )
            if said[0, 1]:  # by the chief's clock
                self._checkpoints.save(epoch=epoch, steps=steps)
                saved = time.monotonic()

        report = self._trainer.train_epoch(
            self._pipelines["train"],
            epoch,
            skip_steps=steps_done,
            on_step=on_step,
            on_progress=self._observer.on_progress,
        )
        scores, _ = self._predict("validation")
        row = asdict(report) | {f"validation_{name}": value for name, value in scores.as_dict().items()}
        self._history.append(row)
        with passed_by_all(self._strategy):
            if self._is_chief:
                self._folder.write_history(self._history)
        self._checkpoints.save(epoch=epoch + 1, steps=0)
        self._observer.on_epoch(report, scores)

    def _predict(self, part: str) -> tuple[Scores, Predictions]:
        examples = self._parts[part]
        probabilities = self._trainer.predict(self._pipelines[part])
        assert examples.labels is not None, "a run's data sets are labelled"
        predictions = label_predictions(examples, probabilities, self._folder.path.name)
        return compute_scores(examples.labels, probabilities), predictions

    def _write_results(self) -> RunSummary:
        scores = {}
        for part in ("validation", "test"):
            scores[part], predictions = self._predict(part)
            if self._is_chief:
                save_predictions(self._folder.predictions(part), predictions)
        if self._is_chief:
            self._folder.write_json("metrics.json", {name: s.as_dict() for name, s in scores.items()})
            self._folder.write_model(self._trainer.model)
        return RunSummary(folder=self._folder.path, scores=scores, model=self._trainer.model)
