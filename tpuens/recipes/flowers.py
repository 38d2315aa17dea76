"""Flower Classification with TPUs: two networks on TFRecords, and the weight between them searched.

The page beside this file, flowers.md, has the commands, the data's layout and what was measured.
"""

from ..ensembling.ensemble import EnsembleConfig
from ..training.losses import LossConfig
from ..training.schedules import ScheduleConfig
from .config import PhaseConfig, SplitConfig, TrainConfig
from .kaggle import kaggle_member, kaggle_schedule
from .lite import lite_member
from .recipe import RecipeConfig

DATASET = "flowers"
_BACKBONES = ("densenet201", "efficientnetb7")
_AUGMENT = (
    "flip-horizontal",
    "hue",
    "contrast",
    "brightness",
    "saturation",
    "random-resized-crop",
)


def make_preset(preset: str) -> RecipeConfig:
    """Returns what a preset does.

    ``kaggle``: DenseNet201 and EfficientNetB7 at 512 pixels, first their heads, then all of them, for a TPU
    or a data-centre GPU. ``cpu-demo``: three pretrained EfficientNet-Lite with their heads trained, five
    folds, for two cores.
    """
    if preset == "cpu-demo":
        members = {
            f"lite{version}": lite_member(
                version,
                dataset=DATASET,
                image_size=size,
                epochs=60,
                views=("plain", "flip-horizontal"),
                seed=version,
            )
            for version, size in enumerate((224, 240, 260))
        }
        split, run_folds = SplitConfig(kind="fold", folds=5), tuple(range(5))
        ensemble = EnsembleConfig(method="weighted", search="log_loss", temperature=True)
    else:
        members = {
            backbone: _kaggle_member(backbone, seed=number) for number, backbone in enumerate(_BACKBONES)
        }
        split, run_folds = SplitConfig(kind="given"), (0,)
        ensemble = EnsembleConfig(method="weighted", search="alpha")
    return RecipeConfig(
        name="flowers",
        preset=preset,
        members=members,
        split=split,
        run_folds=run_folds,
        ensemble=ensemble,
        metric="macro_f1",
        submission="label",
    )


def _kaggle_member(backbone: str, seed: int) -> TrainConfig:
    head = PhaseConfig(name="head", epochs=3, trainable="head", schedule=ScheduleConfig(learning_rate=1e-3))
    fine_tune = PhaseConfig(name="fine-tune", epochs=20, schedule=kaggle_schedule(5e-5, warmup_epochs=5))
    return kaggle_member(
        backbone,
        dataset=DATASET,
        phases=(head, fine_tune),
        loss=LossConfig(name="categorical_crossentropy", label_smoothing=0.1),
        augment=_AUGMENT,
        seed=seed,
    )
