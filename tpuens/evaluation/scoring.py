"""Single scores of probabilities in vectorised NumPy: what a search for weights computes again and again.

They agree with scikit-learn's (`tpuens.evaluation.metrics` reports those), in a fraction of the time. Labels
are class numbers (n,), or 0s and 1s (n, classes) where classes do not exclude each other.
"""

import numpy as np

from ..errors import DataError

# Where a probability of 0 is cut off before its logarithm, as scikit-learn's log_loss does.
LEAST_PROBABILITY = float(np.finfo(np.float64).eps)
THRESHOLD = 0.5  # above it a class is predicted, where classes do not exclude each other


def right_probabilities(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Returns the probability that was given to what turned out right, float64.

    (n,) with labels (n,); (n × classes,), example by example, with labels (n, classes).
    """
    if labels.ndim == 1:
        return probabilities[np.arange(len(labels)), labels].astype(np.float64)
    wide = probabilities.astype(np.float64)
    return np.where(labels == 1, wide, 1 - wide).ravel()


def example_losses(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Returns each example's log loss, float64 (n,), in nats; with labels (n, classes) the classes' mean."""
    losses = -np.log(np.maximum(right_probabilities(labels, probabilities), LEAST_PROBABILITY))
    return losses.reshape(len(labels), -1).mean(axis=1)


def log_loss(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Returns the mean log loss, in nats."""
    return float(example_losses(labels, probabilities).mean())


def decide(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Returns what is predicted, in the shape of the labels: a class, or a 0 or 1 for each class."""
    if labels.ndim == 1:
        return probabilities.argmax(axis=1)
    return (probabilities > THRESHOLD).astype(np.int64)


def accuracy_of(labels: np.ndarray, predicted: np.ndarray, num_classes: int) -> float:
    """Returns the share of examples that are predicted right, in all their classes."""
    right = labels == predicted
    return float((right if right.ndim == 1 else right.all(axis=1)).mean())


def macro_f1_of(labels: np.ndarray, predicted: np.ndarray, num_classes: int) -> float:
    """Returns the mean over all classes of 2 × hits / (examples + predictions).

    A class that has neither counts 0, as in scikit-learn's f1_score with every class named and
    ``zero_division=0``.
    """
    if labels.ndim == 1:
        hits = np.bincount(labels[labels == predicted], minlength=num_classes)
        total = np.bincount(labels, minlength=num_classes) + np.bincount(predicted, minlength=num_classes)
    else:
        hits = (labels & predicted).sum(axis=0)
        total = labels.sum(axis=0) + predicted.sum(axis=0)
    return float((2 * hits / np.maximum(total, 1)).mean())


def mean_roc_auc(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Returns the mean column-wise area under the ROC curve, each class against the rest.

    By the Mann-Whitney statistic, with mid-ranks for ties [Hanley & McNeil 1982]. Classes that no example,
    or every example, belongs to have no such area and are left out.

    Raises:
        DataError: That leaves none.
    """
    areas = []
    for number, column in enumerate(np.ascontiguousarray(probabilities.T)):
        belongs = labels == number if labels.ndim == 1 else labels[:, number] == 1
        positives = int(belongs.sum())
        negatives = len(column) - positives
        if not positives or not negatives:
            continue
        ordered = np.sort(column)
        values = column[belongs]
        below, upto = ordered.searchsorted(values), ordered.searchsorted(values, side="right")
        ranks = float((below + upto + 1).sum()) / 2
        areas.append((ranks - positives * (positives + 1) / 2) / (positives * negatives))
    if not areas:
        raise DataError(
            "The area under the ROC curve needs a class that some examples belong to and others do not. "
            f"Received: {len(labels)} examples, all alike"
        )
    return float(np.mean(areas))
