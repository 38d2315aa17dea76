"""The runs of a recipe or a sweep: each is begun, gone on with, or left as it is."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import ConfigurationError
from ..hardware.strategies import is_chief
from ..training.workers import passed_by_all
from .config import TrainConfig, read_config
from .parts import Loader
from .phases import Observer
from .run import resume, train
from .run_folder import RunFolder


def finish_run(
    config: TrainConfig, output: Path, *, observer: Observer, strategy: Any, features: Path, load: Loader
) -> None:
    """Trains a run, goes on with it, or leaves it as it is: whatever its folder calls for.

    Its checkpoints are removed at the end: those of one fold of the large networks take gigabytes.

    Raises:
        ConfigurationError: The folder holds a run with another configuration.
    """
    folder = RunFolder(output)
    if not (output / "config.json").exists():
        train(config, output, observer=observer, strategy=strategy, features=features, load=load)
    elif replace(read_config(folder), data_dir=config.data_dir) != config:
        raise ConfigurationError(
            f"A run goes on as it was configured: choose another --output. Received: {output}, which holds a "
            "run with other settings"
        )
    elif not folder.model.exists():
        resume(
            output,
            observer=observer,
            data_dir=config.data_dir,
            strategy=strategy,
            features=features,
            load=load,
        )
    with passed_by_all(strategy):
        if is_chief(strategy):
            shutil.rmtree(folder.checkpoints, ignore_errors=True)
