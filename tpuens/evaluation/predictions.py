"""What a model said of which example, on disk: probabilities with ids, in an .npz file.

The file is not compressed: 50,000 × 1,000 probabilities, which hold little to compress (189 MB in place of
200), are so written in 0.2 s in place of 6.5, and read in half the time. Compressed files are read as well.
"""

import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..data.examples import Examples
from ..errors import DataError
from ..whole import whole_file


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """Probabilities of one model, or of an ensemble.

    Attributes:
        ids: (n,) str, unique.
        probabilities: (n, classes) float32 in 0..1; rows sum to 1 unless `is_multi_label` or `ranks`.
        labels: (n,) int64, or (n, classes) int64 of 0 and 1, or None where they are not known.
        class_names: One name a column.
        source: What made them: a run's name, or ``"ensemble"``.
        sigmoid: Whether each class has a probability of its own, so that rows need not sum to 1; needed only
            where no labels (n, classes) show it.
        ranks: Whether the values are ranks among the examples: scaling a row would change a column's order.
    """

    ids: np.ndarray
    probabilities: np.ndarray
    labels: np.ndarray | None
    class_names: tuple[str, ...]
    source: str
    sigmoid: bool = False
    ranks: bool = False

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def is_multi_label(self) -> bool:
        """Whether classes do not exclude each other."""
        return self.sigmoid or (self.labels is not None and self.labels.ndim == 2)


def label_predictions(
    examples: Examples, probabilities: np.ndarray, source: str, *, sigmoid: bool = False
) -> Predictions:
    """Returns a model's probabilities with the ids, labels and classes of what it was shown."""
    return Predictions(
        ids=examples.ids,
        probabilities=probabilities,
        labels=examples.labels,
        class_names=examples.class_names,
        source=source,
        sigmoid=sigmoid,
    )


def join_predictions(parts: Sequence[Predictions]) -> Predictions:
    """Returns the predictions of several parts, one after the other, such as those of all folds.

    Raises:
        DataError: Their classes differ, or an id stands in two of them.
    """
    first = parts[0]
    if any(part.class_names != first.class_names for part in parts):
        raise DataError(
            "Predictions are joined where they are of the same classes. "
            f"Received: {', '.join(part.source for part in parts)}, which differ"
        )
    labels = [part.labels for part in parts if part.labels is not None]
    joined = Predictions(
        ids=np.concatenate([part.ids for part in parts]),
        probabilities=np.concatenate([part.probabilities for part in parts]),
        labels=np.concatenate(labels) if len(labels) == len(parts) else None,
        class_names=first.class_names,
        source=first.source,
        sigmoid=first.sigmoid,
        ranks=first.ranks,
    )
    check_predictions(joined)
    return joined


def save_predictions(path: Path, predictions: Predictions) -> None:
    """Writes predictions to an .npz file, whole or not at all.

    Raises:
        DataError: The file cannot be written.
    """
    _write(path, predictions, predictions.probabilities.shape, [predictions.probabilities])


def stream_predictions(
    path: Path, examples: Examples, batches: Iterable[np.ndarray], source: str, *, sigmoid: bool = False
) -> None:
    """Writes predictions as they are made, whole or not at all: memory holds one batch, of however many.

    Args:
        path: The .npz file.
        examples: What is predicted.
        batches: Their probabilities, in their order: float32 (batch, classes), of batches of any size.
        source: What makes them.
        sigmoid: As in `Predictions`.

    Raises:
        DataError: The file cannot be written, or a batch holds what cannot be probabilities.
    """
    shape = (len(examples), len(examples.class_names))
    empty = label_predictions(examples, np.empty((0, shape[1]), np.float32), source, sigmoid=sigmoid)

    def check_batches() -> Iterator[np.ndarray]:
        done = 0
        for batch in batches:
            here = slice(done, done + len(batch))
            labels = None if empty.labels is None else empty.labels[here]
            check_predictions(replace(empty, ids=empty.ids[here], labels=labels, probabilities=batch))
            done += len(batch)
            yield batch
        assert done == len(examples), "every example is predicted once"

    _write(path, empty, shape, check_batches())


def _write(
    path: Path, predictions: Predictions, shape: tuple[int, ...], batches: Iterable[np.ndarray]
) -> None:
    """Writes `predictions` with the probabilities of `batches`, of this shape when put together."""
    arrays = {
        "ids": predictions.ids.astype(str),
        "class_names": np.array(predictions.class_names, dtype=str),
        "source": np.array(predictions.source),
        "sigmoid": np.array(predictions.is_multi_label),
        "ranks": np.array(predictions.ranks),
    }
    if predictions.labels is not None:
        arrays["labels"] = predictions.labels.astype(np.int64)
    header = {"descr": "<f4", "fortran_order": False, "shape": shape}
    refusal = "Predictions cannot be written: make room or choose another file."
    with whole_file(path, refusal) as part, zipfile.ZipFile(part, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w") as entry:
                np.lib.format.write_array(entry, array, allow_pickle=False)
        with archive.open("probabilities.npy", "w", force_zip64=True) as entry:
            np.lib.format.write_array_header_1_0(entry, header)
            for batch in batches:
                entry.write(np.ascontiguousarray(batch, "<f4").data)


def load_predictions(path: Path) -> Predictions:
    """Returns the predictions in an .npz file that `save_predictions` wrote.

    Raises:
        DataError: The file is missing, is no such file, or holds what cannot be probabilities.
    """
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
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
        sigmoid=bool(arrays.get("sigmoid", False)),
        ranks=bool(arrays.get("ranks", False)),
    )
    try:
        check_predictions(predictions)
    except DataError as error:
        raise DataError(f"{error}. In {path}") from None
    return predictions


def check_predictions(predictions: Predictions) -> None:
    """Checks that ids, probabilities, labels and classes fit each other.

    Raises:
        DataError: They do not; the message shows the first ids in question.
    """
    ids, probabilities, labels = predictions.ids, predictions.probabilities, predictions.labels
    expected = (len(ids), len(predictions.class_names))
    if probabilities.shape != expected:
        raise DataError(
            f"Expected one row an id and one column a class, {expected}. Received: {probabilities.shape}"
        )
    unique, counts = np.unique(ids, return_counts=True)
    if len(unique) != len(ids):
        raise DataError(
            "An id may stand only once in a prediction file. "
            f"Received: {_first(unique, counts > 1)} more than once"
        )
    _refuse_rows(
        predictions,
        ~np.isfinite(probabilities).all(axis=1),
        "Probabilities must be finite, but the model's were not: train again with a lower learning rate, or "
        "another dtype policy",
    )
    _refuse_rows(
        predictions,
        (probabilities.min(axis=1, initial=0) < 0) | (probabilities.max(axis=1, initial=0) > 1 + 1e-3),
        "Probabilities lie between 0 and 1: logits must pass through softmax or sigmoid first",
    )
    if not (predictions.is_multi_label or predictions.ranks):
        _refuse_rows(
            predictions,
            np.abs(probabilities.sum(axis=1) - 1) > 1e-3,
            "Probabilities of one example must sum to 1, unless classes do not exclude each other",
        )
    if labels is not None:
        _check_labels(predictions, labels)


def _check_labels(predictions: Predictions, labels: np.ndarray) -> None:
    shape = predictions.probabilities.shape
    if labels.shape != (shape if predictions.is_multi_label else shape[:1]):
        raise DataError(
            "Expected one label an id, or a 0 or 1 for every id and class where classes do not exclude each "
            f"other. Received: labels of {labels.shape} for probabilities of {shape}"
        )
    last = 1 if predictions.is_multi_label else shape[1] - 1
    wrong = (labels < 0) | (labels > last)
    rows = np.asarray(wrong.reshape(len(labels), -1).any(axis=1))
    _refuse_rows(predictions, rows, f"Labels must lie in 0..{last}")


def _refuse_rows(predictions: Predictions, bad: np.ndarray, rule: str) -> None:
    if bad.any():
        raise DataError(
            f"{rule}. Received: {predictions.source} with {bad.sum()} of {len(bad)} rows that are not so, "
            f"first ids {_first(predictions.ids, bad)}"
        )


def _first(ids: np.ndarray, chosen: np.ndarray) -> str:
    return ", ".join(str(one) for one in ids[chosen][:3])
