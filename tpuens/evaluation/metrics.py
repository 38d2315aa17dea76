"""Metrics of predictions against labels, of one class an example or of any number of them."""

import math
from dataclasses import asdict, dataclass

import numpy as np

from ..errors import DataError, RunError
from .predictions import Predictions

CALIBRATION_BINS = 15
# 95 % of a normal distribution lies within so many standard deviations of its mean.
_Z_95 = 1.959963984540054


@dataclass(frozen=True, kw_only=True)
class Scores:
    """How good predictions are.

    In brackets what each means for multi-label examples, where a class is predicted that has a probability
    above 0.5.

    Attributes:
        top_1_accuracy: Share of examples whose most probable class is the right one. (Share of examples with
            all classes right, yeses and noes.)
        log_loss: Mean negative log of the right class's probability, in nats. (Mean binary cross-entropy over
            examples and classes.)
        macro_f1: Mean over classes of the F1 score; a class that is never predicted counts 0.
        macro_roc_auc: Mean over classes of the area under the ROC curve, each class against the rest, which
            is the mean column-wise ROC AUC of Plant Pathology; None where a class has no example, or all of
            them.
        expected_calibration_error: See `compute_calibration_error`. (Of all yeses and noes.)
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
    """Returns the scores of `probabilities` (n, classes) against labels.

    Args:
        labels: (n,) of 0 … classes-1; or multi-label, (n, classes) of 0 and 1.
        probabilities: Rows of a softmax; for multi-label any values of 0..1.

    Raises:
        RunError: A probability is not finite.
    """
    bad = ~np.isfinite(probabilities).all(axis=1)
    if bad.any():
        raise RunError(
            "Probabilities must be finite, but training diverged: try a lower learning rate, or another "
            f"dtype policy. Received: NaN or infinity for {bad.sum()} of {len(bad)} examples"
        )
    rows = probabilities.astype(np.float64)
    return _score_columns(labels, rows) if labels.ndim == 2 else _score_classes(labels, rows)


def find_right(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Returns which examples are right, bool (n,): their most probable class is (all of their classes are).

    The arguments are those of `compute_scores`; in brackets what it means for multi-label examples.
    """
    if labels.ndim == 2:
        return np.asarray(((probabilities > 0.5) == labels).all(axis=1))
    return np.asarray(probabilities.argmax(axis=1) == labels)


def _score_classes(labels: np.ndarray, rows: np.ndarray) -> Scores:
    from sklearn.metrics import f1_score, log_loss

    classes = np.arange(rows.shape[1])
    area = _macro_roc_auc(labels[:, None] == classes, rows)  # of ranks, scaled rows have another order
    rows = rows / rows.sum(axis=1, keepdims=True)  # float32 rows sum to 1 only nearly
    predicted = rows.argmax(axis=1)
    return Scores(
        top_1_accuracy=float(find_right(labels, rows).mean()),
        log_loss=float(log_loss(labels, rows, labels=classes)),
        macro_f1=float(f1_score(labels, predicted, labels=classes, average="macro", zero_division=0)),
        macro_roc_auc=area,
        expected_calibration_error=compute_calibration_error(labels, rows),
    )


def _score_columns(labels: np.ndarray, rows: np.ndarray) -> Scores:
    from sklearn.metrics import f1_score, log_loss

    predicted = rows > 0.5
    decisions = np.stack([1 - rows, rows], axis=-1).reshape(-1, 2)  # each cell's no and yes
    return Scores(
        top_1_accuracy=float(find_right(labels, rows).mean()),
        log_loss=float(log_loss(labels.ravel(), decisions, labels=[0, 1])),
        macro_f1=float(f1_score(labels, predicted.astype(int), average="macro", zero_division=0)),
        macro_roc_auc=_macro_roc_auc(labels == 1, rows),
        expected_calibration_error=compute_calibration_error(labels.ravel(), decisions),
    )


def _macro_roc_auc(truth: np.ndarray, rows: np.ndarray) -> float | None:
    from sklearn.metrics import roc_auc_score

    if truth.all(axis=0).any() or not truth.any(axis=0).all():
        return None
    return float(roc_auc_score(truth, rows, average="macro"))


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


def accuracy_interval(right: int, n: int) -> tuple[float, float]:
    """Returns the 95 % interval of a share that was `right` times right in `n` independent trials.

    Wilson's score interval [Wilson 1927; recommended by Brown, Cai & DasGupta 2001, "Interval Estimation for
    a Binomial Proportion"]: unlike share ± 1.96 standard errors it stays within 0..1 and holds for shares
    near 1.
    """
    share, squared = right / n, _Z_95**2
    centre = (share + squared / (2 * n)) / (1 + squared / n)
    spread = _Z_95 / (1 + squared / n) * math.sqrt(share * (1 - share) / n + squared / (4 * n**2))
    return max(0.0, centre - spread), min(1.0, centre + spread)


def confusion_matrix(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Returns how many examples of each class (row) were taken for each class (column), int64.

    Args:
        labels: (n,) of 0 … classes-1.
        probabilities: (n, classes); the most probable class is the one predicted.
    """
    classes = probabilities.shape[1]
    cells = labels * classes + probabilities.argmax(axis=1)
    return np.bincount(cells, minlength=classes**2).reshape(classes, classes)
