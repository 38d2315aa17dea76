"""CIFAR-10 with a small convolutional network: ELU, batch norm, dropout; grey or in colour.

Data: the python version's batches, or Keras's download.
"""

from ..ensembling.ensemble import EnsembleConfig
from ..training.losses import LossConfig
from ..training.schedules import ScheduleConfig
from .config import PhaseConfig, SplitConfig, TrainConfig
from .recipe import RecipeConfig

DATASET = "cifar10"


def make_preset(preset: str) -> RecipeConfig:
    """Returns what a preset does.

    ``kaggle``: the article's grey network and one in colour, with augmentation and early stopping, for a
    GPU. ``cpu-demo``: three networks in colour from three seeds, for two cores.
    """
    if preset == "cpu-demo":
        members = {f"colour{seed}": _member("rgb", epochs=8, seed=seed) for seed in range(3)}
    else:
        members = {
            "grey": _member("grey", epochs=100, seed=0, patience=10),
            "colour": _member("rgb", epochs=100, seed=1, patience=10),
        }
    return RecipeConfig(
        name="cifar10",
        preset=preset,
        members=members,
        split=SplitConfig(kind="shuffle", folds=1, fraction=0.1),
        ensemble=EnsembleConfig(method="mean"),
        metric="top_1_accuracy",
    )


def _member(colour: str, *, epochs: int, seed: int, patience: int | None = None) -> TrainConfig:
    return TrainConfig(
        dataset=DATASET,
        backbone="cifar_cnn",
        dropout=0.5,
        colour="grey" if colour == "grey" else "rgb",
        batch_size=64,
        phases=(
            PhaseConfig(
                epochs=epochs,
                schedule=ScheduleConfig(name="cosine", learning_rate=2e-3, warmup_epochs=1),
                patience=patience,
            ),
        ),
        loss=LossConfig(name="categorical_crossentropy"),
        augment=("flip-horizontal", "shift"),
        seed=seed,
    )
