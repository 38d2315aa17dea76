"""Plant Pathology 2020: which disease an apple leaf has, by an ensemble of networks.

The page beside this file, plant_pathology.md, has the commands, the data's layout and what was measured.
"""

from ..ensembling.ensemble import EnsembleConfig
from ..training.losses import LossConfig
from .config import PhaseConfig, SplitConfig, TrainConfig
from .kaggle import kaggle_member, kaggle_schedule
from .lite import lite_member
from .recipe import RecipeConfig

DATASET = "plant_pathology"
_BACKBONES = ("efficientnetb7", "efficientnetb6", "resnet152v2", "inceptionresnetv2")


def make_preset(preset: str) -> RecipeConfig:
    """Returns what a preset does.

    ``kaggle``: the networks, image size and schedule of the competition's public TPU notebooks, for a TPU or
    a data-centre GPU. ``cpu-demo``: three pretrained EfficientNet-Lite with their heads trained, five folds,
    for two cores.
    """
    if preset == "cpu-demo":
        members = {
            f"lite{version}": lite_member(version, dataset=DATASET, image_size=size, epochs=40, seed=version)
            for version, size in enumerate((256, 240, 260))
        }
    else:
        members = {
            backbone: _kaggle_member(backbone, seed=number) for number, backbone in enumerate(_BACKBONES)
        }
    return RecipeConfig(
        name="plant-pathology",
        preset=preset,
        members=members,
        split=SplitConfig(kind="fold", folds=5),
        run_folds=tuple(range(5)) if preset == "cpu-demo" else (0,),
        ensemble=EnsembleConfig(method="geometric", temperature=True)
        if preset == "cpu-demo"
        else EnsembleConfig(method="mean"),
        metric="macro_roc_auc",
        submission="probabilities",
    )


def _kaggle_member(backbone: str, seed: int) -> TrainConfig:
    schedule = kaggle_schedule(1e-4, warmup_epochs=15, sustain_epochs=3)
    return kaggle_member(
        backbone,
        dataset=DATASET,
        phases=(PhaseConfig(epochs=40, schedule=schedule),),
        loss=LossConfig(name="categorical_crossentropy"),
        augment=("flip-horizontal", "flip-vertical"),
        seed=seed,
    )
