"""A phase in which the backbone is frozen: each image passes through it once, and the head trains on that."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np

from ..data.pipeline import Pipeline
from ..models.classifier import split_at_head
from ..training.features import FeaturePipeline, FeatureStore, collect_features
from ..training.loop import BatchSource
from ..training.step import PredictStep
from ..training.workers import passed_by_all


def open_features(
    model: keras.Model,
    pipelines: Mapping[str, Pipeline],
    store: FeatureStore,
    *,
    strategy: Any,
    per_replica_batch_size: int,
    jit_compile: bool,
    on_progress: Callable[[str, int, int], None],
) -> tuple[dict[str, BatchSource], keras.Model]:
    """Returns pipelines of features, which are computed when they are first wanted, and the model they feed.

    A frozen backbone says the same of an image every time, as long as the image is not augmented.

    Args:
        model: The classifier.
        pipelines: Of images, by the name of their part.
        store: Where features are kept.
        strategy: The strategy that the model was made under.
        per_replica_batch_size: Images on each replica.
        jit_compile: Compile the backbone with XLA.
        on_progress: Told the part, and of how many of its images the features are there; may raise to stop.
    """
    backbone, head = split_at_head(model)
    step = PredictStep(model=backbone, strategy=strategy, activation="none", jit_compile=jit_compile)

    def open_part(part: str, pipeline: Pipeline) -> FeaturePipeline:
        @functools.cache  # every epoch asks again, and a frozen backbone says the same
        def collect(view: str) -> np.ndarray:
            with passed_by_all(strategy):
                return collect_features(
                    store,
                    step,
                    pipeline,
                    view,
                    per_replica_batch_size=per_replica_batch_size,
                    on_progress=lambda done, total: on_progress(part, done, total),
                )

        return FeaturePipeline(pipeline, collect)

    return {part: open_part(part, pipeline) for part, pipeline in pipelines.items()}, head
