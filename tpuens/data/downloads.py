"""Data sets that Keras can download."""

import importlib
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import DataError


def load_with_keras(
    name: str, split: str, remedy: str
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Returns one split as `keras.datasets` gives it, downloading it on first use.

    Args:
        name: The module in `keras.datasets`.
        split: ``"train"`` or ``"test"``.
        remedy: What the user can do instead of downloading, as a sentence.

    Returns:
        Pixels, uint8, (n, height, width) or (n, height, width, channels); labels, int64, (n,).

    Raises:
        DataError: It could not be downloaded.
    """
    module: Any = importlib.import_module(f"keras.datasets.{name}")
    try:
        train, test = module.load_data()
    except Exception as error:  # Keras raises a bare Exception when a download fails
        raise DataError(f"{name} could not be downloaded. {remedy} Received: {error}") from error
    pixels, labels = test if split == "test" else train
    return pixels, np.asarray(labels, dtype=np.int64).reshape(-1)
