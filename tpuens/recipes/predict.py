"""Predictions with the model of a finished run."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

from ..data.examples import Examples
from ..evaluation.predictions import stream_predictions
from ..hardware.strategies import open_strategy
from ..training.loop import stream_probabilities
from ..training.losses import activation_of
from ..training.step import PredictStep
from .config import read_config
from .members import load_member_parts, load_model
from .parts import make_pipelines
from .run_folder import RunFolder


def predict_run(
    run: Path,
    *,
    split: Literal["train", "validation", "test"],
    data_dir: str | None = None,
    strategy: str = "auto",
    batch_size: int = 32,
    views: tuple[str, ...] = (),
    output: Path | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[Path, Examples]:
    """Writes a run's predictions of one part of its data as they are made; returns the file and the examples.

    Args:
        run: The folder of a finished run.
        split: The part, split as the run split it.
        data_dir: Where the data lies now; None where the run found it.
        strategy: A name in `STRATEGIES`; need not be the one that the run trained under.
        batch_size: Examples on each replica.
        views: Names in `VIEWS` to predict the mean over; none for those that the run was asked for.
        output: The file to write; None for the run's own folder.
        on_progress: Told how many of the examples are predicted, of how many.

    Raises:
        DataError: The folder holds no run, or the data is no longer what the run was trained on.
        WeightsError: The run has no trained model yet, or it cannot be read.
    """
    folder = RunFolder(run)
    config = read_config(folder)
    if data_dir is not None:
        config = replace(config, data_dir=data_dir)
    opened = open_strategy(strategy)
    examples = load_member_parts(config, folder, only=split)[split]
    activation = activation_of(config.loss.name)
    with opened.scope():
        step = PredictStep(model=load_model(folder), strategy=opened, activation=activation)
    config = replace(config, views=views or config.views)
    pipeline = make_pipelines(config, {split: examples})[split]
    batches = stream_probabilities(step, pipeline, config.views, per_replica_batch_size=batch_size)

    def tell_progress() -> Iterator[np.ndarray]:
        done = 0
        for batch in batches:
            done += len(batch)
            on_progress(done, len(examples))
            yield batch

    path = output or folder.predictions(split)
    stream_predictions(path, examples, tell_progress(), folder.path.name, sigmoid=activation == "sigmoid")
    return path, examples
