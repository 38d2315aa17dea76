"""Predictions with the model of a finished run."""

from dataclasses import replace
from pathlib import Path
from typing import Literal

import keras

from ..errors import DataError, WeightsError
from ..evaluation.predictions import Predictions, label_predictions, save_predictions
from ..hardware.strategies import open_strategy
from ..training.loop import predict_examples
from ..training.step import PredictStep
from .run import load_parts, make_pipeline, read_config
from .run_folder import RunFolder


def predict_run(
    run: Path,
    *,
    split: Literal["train", "validation", "test"],
    data_dir: str | None = None,
    strategy: str = "auto",
    batch_size: int = 32,
    output: Path | None = None,
) -> tuple[Path, Predictions]:
    """Writes a run's predictions of one part of its data; returns the file and what it holds.

    Args:
        run: The folder of a finished run.
        split: The part, split as the run split it.
        data_dir: Where the data lies now; None where the run found it.
        strategy: A name in `STRATEGIES`; need not be the one that the run trained under.
        batch_size: Examples on each replica.
        output: The file to write; None for the run's own folder.

    Raises:
        DataError: The folder holds no run, or the data is no longer what the run was trained on.
        WeightsError: The run has no trained model yet, or it cannot be read.
    """
    folder = RunFolder(run)
    config = read_config(folder)
    if data_dir is not None:
        config = replace(config, data_dir=data_dir)
    if not folder.model.exists():
        raise WeightsError(
            f"This run has not finished: go on with `tpuens train --resume {run}`. "
            f"Received: {folder.path}, without {folder.model.name}"
        )
    opened = open_strategy(strategy)
    examples = load_parts(config)[0][split]
    if examples.ids.tolist() != folder.read_json("split.json")[split]:
        raise DataError(
            f"The {split} part of {config.dataset} is not what the run was made with: give the same files "
            f"with --data-dir. Received: {config.data_dir or 'the embedded data'}"
        )
    with opened.scope():
        step = PredictStep(model=_load_model(folder.model), strategy=opened)
    probabilities = predict_examples(step, make_pipeline(config, examples), per_replica_batch_size=batch_size)
    predictions = label_predictions(examples, probabilities, folder.path.name)
    path = output or folder.predictions(split)
    save_predictions(path, predictions)
    return path, predictions


def _load_model(path: Path) -> keras.Model:
    try:
        return keras.saving.load_model(path, compile=False)
    except (OSError, ValueError, TypeError) as error:
        raise WeightsError(f"The model cannot be read: train again. Received: {path} ({error})") from error
