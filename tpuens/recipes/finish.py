"""The runs of a recipe or a sweep: each is begun, gone on with, or left as it is."""

import functools
import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import keras

from ..data.datasets import load_splits
from ..errors import ConfigurationError
from ..hardware.strategies import is_chief
from ..training.workers import passed_by_all
from .config import TrainConfig, read_config
from .parts import Loader
from .phases import Observer
from .run import resume, train
from .run_folder import RunFolder


@dataclass(frozen=True, kw_only=True)
class RunSeries:
    """Runs one after another in one process, which share what they read and what frozen backbones say.

    Attributes:
        strategy: An open one.
        observer: Told of progress.
        features: Where the features of frozen backbones are kept.
    """

    strategy: Any
    observer: Observer
    features: Path
    _load: Loader = field(default_factory=lambda: functools.cache(load_splits))  # from a bucket for minutes

    def finish(self, config: TrainConfig, output: Path) -> None:
        """Trains a run, goes on with it, or leaves it as it is: whatever its folder calls for.

        Its checkpoints are removed at the end: those of one fold of the large networks take gigabytes.

        Raises:
            ConfigurationError: The folder holds a run with another configuration.
        """
        folder = RunFolder(output)
        shared: dict[str, Any] = {
            "observer": self.observer,
            "strategy": self.strategy,
            "features": self.features,
            "load": self._load,
        }
        if not (output / "config.json").exists():
            train(config, output, **shared)
        elif replace(read_config(folder), data_dir=config.data_dir) != config:
            raise ConfigurationError(
                "A run goes on as it was configured: choose another --output. "
                f"Received: {output}, which holds a run with other settings"
            )
        elif not folder.model.exists():
            resume(output, data_dir=config.data_dir, **shared)
        with passed_by_all(self.strategy):
            if is_chief(self.strategy):
                shutil.rmtree(folder.checkpoints, ignore_errors=True)
        keras.utils.clear_session()
