"""Members as the competitions' public TPU notebooks have them: 512 pixels, 16 images a replica, bfloat16."""

from typing import Any

from ..training.schedules import ScheduleConfig
from .config import TrainConfig


def kaggle_schedule(peak: float, *, warmup_epochs: float, sustain_epochs: float = 0.0) -> ScheduleConfig:
    """Returns their schedule: from 1e-5 up to the peak times replicas, then down by a fifth an epoch."""
    return ScheduleConfig(
        name="kaggle",
        learning_rate=peak,
        start_learning_rate=1e-5,
        min_learning_rate=1e-5,
        warmup_epochs=warmup_epochs,
        sustain_epochs=sustain_epochs,
        decay=0.8,
        scale="replicas",
    )


def kaggle_member(backbone: str, **settings: Any) -> TrainConfig:
    """Returns a network with ImageNet weights; the settings are the other fields of `TrainConfig`."""
    return TrainConfig(
        backbone=backbone,
        weights="imagenet",
        image_size=512,
        batch_size=16,
        dtype_policy="mixed_bfloat16",
        **settings,
    )
