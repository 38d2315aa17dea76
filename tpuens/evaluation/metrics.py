"""Metrics of predictions against labels. scikit-learn computes all but the calibration error."""

from dataclasses import asdict, dataclass

import numpy as np

from ..errors import DataError, RunError
from .predictions import Predictions

CALIBRATION_BINS = 15


@dataclass(frozen=True, kw_only=True)
class Scores:
    """How good predictions are.

    Attributes:
        top_1_accuracy: Share of examples whose most probable class is the right one.
        log_loss: Mean negative log of the right class's probability, in nats.
        macro_f1: Mean over classes of the F1 score; a class that is never predicted counts 0.
        macro_roc_auc: Mean over classes of the area under the ROC curve, each class against the rest;
            None where a class has no example, or all of them.
        expected_calibration_error: See `compute_calibration_error`.
    """

    top_1_accuracy: float
    log_loss: float
    macro_f1: float
    macro_roc_auc: float | None
    expected_calibration_error: float

    def as_dict(self) -> dict[str, float]:
        """Returns the scores that there are, by name."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def score_predictions(predictions: Predictions) -> Scores:
    """Returns the scores of predictions whose labels are known.

    Raises:
        DataError: They have no labels.
    """
    if predictions.labels is None:
        raise DataError(
            f"Only predictions with labels can be scored. Received: {predictions.source}, unlabelled"
        )
    return compute_scores(predictions.labels, predictions.probabilities)


def compute_scores(labels: np.ndarray, probabilities: np.ndarray) -> Scores:
    """Returns the scores of `probabilities` (n, classes) against `labels` (n,) of 0 … classes-1.

    Raises:
        RunError: A probability is not finite.
    """
    from sklearn.metrics import f1_score, log_loss, roc_auc_score

    bad = ~np.isfinite(probabilities).all(axis=1)
    if bad.any():
        raise RunError(
            "Probabilities must be finite, but training diverged: try a lower learning rate, or another "
            f"dtype policy. Received: NaN or infinity for {bad.sum()} of {len(bad)} examples"
        )
    classes = np.arange(probabilities.shape[1])
    rows = probabilities.astype(np.float64)
    rows /= rows.sum(axis=1, keepdims=True)  # float32 rows sum to 1 only nearly
    predicted = rows.argmax(axis=1)
    counts = np.bincount(labels, minlength=len(classes))
    auc = None
    if ((counts > 0) & (counts < len(labels))).all():
        auc = float(roc_auc_score(labels[:, None] == classes, rows, average="macro"))
    return Scores(
        top_1_accuracy=float((predicted == labels).mean()),
        log_loss=float(log_loss(labels, rows, labels=classes)),
        macro_f1=float(f1_score(labels, predicted, labels=classes, average="macro", zero_division=0)),
        macro_roc_auc=auc,
        expected_calibration_error=compute_calibration_error(labels, rows),
    )


def compute_calibration_error(
    labels: np.ndarray, probabilities: np.ndarray, bins: int = CALIBRATION_BINS
) -> float:
    """Returns the expected calibration error: the mean gap between confidence and accuracy.

    Predictions fall into equal bins by their highest probability; each bin's gap weighs by its share of
    the examples [Guo et al. 2017, "On Calibration of Modern Neural Networks", eq. 3, 15 bins].
    """
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    index = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = np.abs(np.bincount(index, right, minlength=bins) - np.bincount(index, confidence, minlength=bins))
    return float(gaps.sum() / len(labels))
