"""What a training run is asked to do; kept in its folder as config.json."""

import json
from dataclasses import asdict, dataclass, field
from typing import Literal

import msgspec

from ..data.augment import VIEWS
from ..data.datasets import DATASETS
from ..errors import ConfigurationError
from ..models.backbones import BACKBONES
from ..training.losses import LossConfig
from ..training.optimizers import check_optimizer
from ..training.schedules import ScheduleConfig
from .run_folder import RunFolder


@dataclass(frozen=True, kw_only=True)
class SplitConfig:
    """Which of the labelled examples are held out for validation; always stratified and seeded.

    Exact duplicates never stand on both sides. Where a data set comes with a validation part of its own,
    ``"given"`` takes that; every other kind draws from the labelled parts together.

    Attributes:
        kind: ``"holdout"``: a fraction. ``"fold"``: one of k parts, each held out in one fold. ``"shuffle"``:
            the fraction of the split number `fold` of `folds` independent ones. ``"given"``: the data set's.
        fraction: Share held out, for ``"holdout"`` and ``"shuffle"``.
        folds: Number of folds, or of shuffle splits.
        fold: Which of them, from 0.
        seed: Runs that are to be combined share it.
    """

    kind: Literal["holdout", "fold", "shuffle", "given"] = "holdout"
    fraction: float = 0.2
    folds: int = 5
    fold: int = 0
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class PhaseConfig:
    """One stretch of training.

    Attributes:
        name: Stands in the history.
        epochs: Passes over the training part.
        trainable: ``"all"``, ``"head"`` (the backbone is frozen), or ``"top:N"`` (the head and the last N
            blocks of the backbone).
        freeze_batch_norm: Keep batch normalisation as it came, in inference mode, where the layers around it
            train: the statistics of small batches are worse than those it was pretrained with.
        optimizer: A name in `OPTIMIZERS`.
        weight_decay: AdamW's; None takes Keras's own.
        schedule: The learning rate over the steps of this phase.
        patience: Stop after this many epochs without a better validation loss; None trains them all.
            Whatever the reason for its end, such a phase ends with the weights of its best epoch.
    """

    name: str = "train"
    epochs: int = 10
    trainable: str = "all"
    freeze_batch_norm: bool = False
    optimizer: str = "adam"
    weight_decay: float | None = None
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    patience: int | None = None


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """A run: data, network, and the phases of its training.

    Attributes:
        dataset: A name in `DATASETS`.
        data_dir: Where its files lie, or a gs:// URL; None looks in the usual places.
        backbone: A name in `BACKBONES`.
        weights: "imagenet", a file, or None for a random start.
        head_blocks: How many of the backbone's last blocks the head sees besides its end.
        dropout: Rate ahead of the head.
        image_size: Height and width shown to the network; None takes the data set's own.
        colour: "rgb" or "grey".
        strategy: A name in `STRATEGIES`.
        batch_size: Examples on each replica.
        global_batch_size: The whole batch instead, shared evenly.
        phases: In order; each goes on from the weights that the one before left.
        loss: Its name and parameters.
        class_weights: "balanced" weighs a class by the inverse of its share of the training part.
        dtype_policy: Keras's: float32, mixed_bfloat16, mixed_float16.
        jit_compile: Compile the steps with XLA.
        steps_per_execution: Steps in a call of the compiled function; a run stops and is saved between calls.
        deterministic: Ask TensorFlow for the same result on the same machine, at some cost in speed.
        augment: Names in `AUGMENTATIONS`, in order.
        views: Names in `VIEWS`: predictions are the mean over these (test-time augmentation).
        cache: Where decoded images are kept; "memory" only where half of it holds them.
        split: What is held out for validation.
        seed: Of initial weights, shuffling and augmentation.
        on_corrupt: "error" stops at a corrupt image, "skip" leaves it out and counts it.
    """

    dataset: str
    data_dir: str | None = None
    backbone: str = "cifar_cnn"
    weights: str | None = None
    head_blocks: int = 0
    dropout: float = 0.2
    image_size: int | None = None
    colour: Literal["rgb", "grey"] = "rgb"
    strategy: str = "auto"
    batch_size: int | None = None
    global_batch_size: int | None = None
    phases: tuple[PhaseConfig, ...] = (PhaseConfig(),)
    loss: LossConfig = field(default_factory=LossConfig)
    class_weights: Literal["none", "balanced"] = "none"
    dtype_policy: str = "float32"
    jit_compile: bool = False
    steps_per_execution: int = 1
    deterministic: bool = False
    augment: tuple[str, ...] = ()
    views: tuple[str, ...] = ("plain",)
    cache: Literal["none", "memory", "disk"] = "memory"
    split: SplitConfig = field(default_factory=SplitConfig)
    seed: int = 0
    on_corrupt: Literal["error", "skip"] = "error"

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels shown to the network."""
        size = self.image_size or DATASETS[self.dataset].default_image_size
        return size, size, 1 if self.colour == "grey" else 3

    def as_json(self) -> str:
        """Returns the configuration as it stands in config.json."""
        return json.dumps(asdict(self), indent=1) + "\n"


def read_config(folder: RunFolder) -> TrainConfig:
    """Returns the configuration that a run's folder holds.

    Raises:
        ConfigurationError: A field is missing or is of another kind; the message names it.
        DataError: The folder holds no run.
    """
    try:
        return msgspec.json.decode(folder.read_text("config.json"), type=TrainConfig)
    except msgspec.MsgspecError as error:
        raise ConfigurationError(
            "config.json is not of this version of tpuens: start a new run. "
            f"Received: {folder.path} ({error})"
        ) from error


def check_config(config: TrainConfig) -> None:
    """Refuses what can be refused before anything is loaded or written, and before TensorFlow starts.

    Raises:
        ConfigurationError: A name is unknown, or a number makes no sense.
    """
    BACKBONES[config.backbone]
    DATASETS[config.dataset]
    for view in config.views:
        VIEWS[view]
    if not config.views:
        raise ConfigurationError("Predictions need at least one view, such as plain. Received: views=()")
    if not config.phases:
        raise ConfigurationError("A run has at least one phase. Received: phases=()")
    if config.steps_per_execution < 1:
        raise ConfigurationError(
            f"A call runs one step or more. Received: steps_per_execution={config.steps_per_execution}"
        )
    names = [phase.name for phase in config.phases]
    if len(set(names)) < len(names):
        raise ConfigurationError(f"The phases of a run have names of their own. Received: {names}")
    for phase in config.phases:
        if phase.epochs < 1:
            raise ConfigurationError(f"A phase takes at least one epoch. Received: epochs={phase.epochs}")
        if phase.patience is not None and phase.patience < 1:
            raise ConfigurationError(
                f"Early stopping waits for at least one epoch. Received: patience={phase.patience}"
            )
        check_optimizer(phase.optimizer, phase.schedule.learning_rate, phase.weight_decay)
    for name, seed in (("seed", config.seed), ("split seed", config.split.seed)):
        if not 0 <= seed < 2**32:
            raise ConfigurationError(f"A seed is 0 or more and less than 2**32. Received: {name}={seed}")
