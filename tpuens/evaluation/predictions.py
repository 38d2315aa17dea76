"""What a model said of which example, on disk: probabilities with ids, in a compressed .npz file."""

import zipfile
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile

import numpy as np

from ..data.examples import Examples
from ..errors import DataError


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """Probabilities of one model, or of an ensemble.

    Attributes:
        ids: (n,) str, unique.
        probabilities: (n, classes) float32; rows sum to 1.
        labels: (n,) int64, or None where they are not known.
        class_names: One name a column.
        source: What made them: a run's name, or ``"ensemble"``.
    """

    ids: np.ndarray
    probabilities: np.ndarray
    labels: np.ndarray | None
    class_names: tuple[str, ...]
    source: str

    def __len__(self) -> int:
        return len(self.ids)


def label_predictions(examples: Examples, probabilities: np.ndarray, source: str) -> Predictions:
    """Returns a model's probabilities with the ids, labels and classes of what it was shown."""
    return Predictions(
        ids=examples.ids,
        probabilities=probabilities,
        labels=examples.labels,
        class_names=examples.class_names,
        source=source,
    )


def save_predictions(path: Path, predictions: Predictions) -> None:
    """Writes predictions to an .npz file, whole or not at all.

    Raises:
        DataError: The file cannot be written.
    """
    arrays = {
        "ids": predictions.ids.astype(str),
        "probabilities": predictions.probabilities.astype(np.float32),
        "class_names": np.array(predictions.class_names, dtype=str),
        "source": np.array(predictions.source),
    }
    if predictions.labels is not None:
        arrays["labels"] = predictions.labels.astype(np.int64)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile(dir=path.parent, suffix=".part", delete=False) as file:
            np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
        Path(file.name).replace(path)
    except OSError as error:
        raise DataError(
            "Predictions cannot be written: make room or choose another file. "
            f"Received: {path} ({error.strerror})"
        ) from error


def load_predictions(path: Path) -> Predictions:
    """Returns the predictions in an .npz file that `save_predictions` wrote.

    Raises:
        DataError: The file is missing, is no such file, or holds what cannot be probabilities.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except FileNotFoundError:
        raise DataError(f"No such prediction file. `tpuens predict` writes one. Received: {path}") from None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(
            "Expected an .npz file that `tpuens predict` wrote; this one cannot be read. "
            f"Received: {path} ({error})"
        ) from error
    missing = {"ids", "probabilities", "class_names", "source"} - set(arrays)
    if missing:
        raise DataError(f"A prediction file holds {', '.join(sorted(missing))} too. Received: {path}")
    predictions = Predictions(
        ids=arrays["ids"],
        probabilities=arrays["probabilities"],
        labels=arrays.get("labels"),
        class_names=tuple(str(name) for name in arrays["class_names"]),
        source=str(arrays["source"]),
    )
    _check(predictions, path)
    return predictions


def _check(predictions: Predictions, path: Path) -> None:
    expected = (len(predictions.ids), len(predictions.class_names))
    if predictions.probabilities.shape != expected:
        raise DataError(
            f"Expected one row an id and one column a class, {expected}. "
            f"Received: {path} with {predictions.probabilities.shape}"
        )
    if predictions.labels is not None and predictions.labels.shape != expected[:1]:
        raise DataError(
            f"Expected one label an id, {expected[0]}. Received: {path} with {predictions.labels.shape}"
        )
    bad = ~np.isfinite(predictions.probabilities).all(axis=1)
    bad |= (predictions.probabilities < 0).any(axis=1)
    bad |= np.abs(predictions.probabilities.sum(axis=1) - 1) > 1e-3
    if bad.any():
        first = ", ".join(predictions.ids[bad][:3])
        raise DataError(
            f"Probabilities must be finite, not below 0, and sum to 1 for every example; {bad.sum()} rows "
            f"are not. Predict again. Received: {path}, first ids {first}"
        )
    if len(set(predictions.ids.tolist())) != len(predictions.ids):
        raise DataError(f"An id may stand only once in a prediction file. Received: {path}")
