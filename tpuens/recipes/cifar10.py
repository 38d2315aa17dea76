"""CIFAR-10 with a small convolutional network (ELU, batch norm, dropout), grey or in colour.

The page beside this file, cifar10.md, has the commands, the data's layout and what was measured.
"""

from ..ensembling.ensemble import EnsembleConfig
from ..training.losses import LossConfig
from ..training.schedules import ScheduleConfig
from .config import PhaseConfig, SplitConfig, TrainConfig
from .lite import lite_member
from .recipe import RecipeConfig

DATASET = "cifar10"


def make_preset(preset: str) -> RecipeConfig:
    """Returns what a preset does.

    ``kaggle``: the article's network in grey and in colour, with augmentation and early stopping, for a GPU.
    ``cpu-demo``: two networks in colour from two seeds, for two cores; spare members are a grey one, and two
    that are pretrained, at a larger size: EfficientNet-Lite0, fine-tuned, and EfficientNet-Lite1, frozen.
    """
    if preset == "cpu-demo":
        members = {f"colour{seed}": _member("rgb", epochs=10, seed=seed) for seed in range(2)}
        spare = {
            "grey": _member("grey", epochs=10, seed=2),
            "lite0": _tuned_member(),
            "lite1": lite_member(1, dataset=DATASET, image_size=128, epochs=20, head_blocks=9),
        }
    else:
        members = {
            "grey": _member("grey", epochs=100, seed=0, patience=10),
            "colour": _member("rgb", epochs=100, seed=1, patience=10),
        }
        spare = {}
    return RecipeConfig(
        name="cifar10",
        preset=preset,
        members=members,
        spare_members=spare,
        split=SplitConfig(kind="shuffle", folds=1, fraction=0.1),
        ensemble=EnsembleConfig(method="weighted", search="log_loss"),
        metric="top_1_accuracy",
    )


def _member(colour: str, *, epochs: int, seed: int, patience: int | None = None) -> TrainConfig:
    schedule = ScheduleConfig(name="cosine", learning_rate=2e-3, warmup_epochs=1)
    return TrainConfig(
        dataset=DATASET,
        backbone="cifar_cnn",
        dropout=0.3,
        colour="grey" if colour == "grey" else "rgb",
        batch_size=32,
        phases=(PhaseConfig(epochs=epochs, schedule=schedule, patience=patience),),
        loss=LossConfig(name="categorical_crossentropy"),
        augment=("flip-horizontal",),
        seed=seed,
    )


def _tuned_member() -> TrainConfig:
    """Returns EfficientNet-Lite0: its head on features first, then all of it but its batch norm."""
    head = ScheduleConfig(name="cosine", learning_rate=3e-3)
    tune = ScheduleConfig(name="cosine", learning_rate=3e-4, warmup_epochs=0.2)
    return TrainConfig(
        dataset=DATASET,
        backbone="efficientnet_lite0",
        weights="imagenet",
        image_size=96,
        batch_size=32,
        phases=(
            PhaseConfig(name="head", epochs=5, trainable="head", schedule=head),
            PhaseConfig(name="fine-tune", epochs=3, freeze_batch_norm=True, schedule=tune),
        ),
        loss=LossConfig(name="categorical_crossentropy"),
        views=("plain", "flip-horizontal"),
    )
