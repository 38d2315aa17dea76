"""Predictions with the model of a finished run."""

from dataclasses import replace
from pathlib import Path
from typing import Literal

from ..errors import DataError
from ..evaluation.predictions import Predictions, label_predictions, save_predictions
from ..hardware.strategies import open_strategy
from ..training.loop import predict_views
from ..training.losses import activation_of
from ..training.step import PredictStep
from .config import read_config
from .members import load_model
from .parts import load_parts, make_pipeline
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
) -> tuple[Path, Predictions]:
    """Writes a run's predictions of one part of its data; returns the file and what it holds.

    Args:
        run: The folder of a finished run.
        split: The part, split as the run split it.
        data_dir: Where the data lies now; None where the run found it.
        strategy: A name in `STRATEGIES`; need not be the one that the run trained under.
        batch_size: Examples on each replica.
        views: Names in `VIEWS` to predict the mean over; none for those that the run was asked for.
        output: The file to write; None for the run's own folder.

    Raises:
        DataError: The folder holds no run, or the data is no longer what the run was trained on.
        WeightsError: The run has no trained model yet, or it cannot be read.
    """
    folder = RunFolder(run)
    config = read_config(folder)
    if data_dir is not None:
        config = replace(config, data_dir=data_dir)
    opened = open_strategy(strategy)
    examples = load_parts(config)[0][split]
    if examples.ids.tolist() != folder.read_json("split.json")[split]:
        raise DataError(
            f"The {split} part of {config.dataset} is not what the run was made with: give the same files "
            f"with --data-dir. Received: {config.data_dir or 'the data where it usually lies'}"
        )
    activation = activation_of(config.loss.name)
    with opened.scope():
        step = PredictStep(model=load_model(folder), strategy=opened, activation=activation)
    probabilities = predict_views(
        step, make_pipeline(config, examples), views or config.views, per_replica_batch_size=batch_size
    )
    predictions = label_predictions(
        examples, probabilities, folder.path.name, sigmoid=activation == "sigmoid"
    )
    path = output or folder.predictions(split)
    save_predictions(path, predictions)
    return path, predictions
