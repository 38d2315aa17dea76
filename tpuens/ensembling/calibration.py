"""Temperature scaling: one number a model that makes its confidence fit how often it is right."""

from collections.abc import Iterator

import numpy as np

_LEAST = float(np.finfo(np.float32).tiny)  # a probability that underflowed to 0 has a logarithm too
# A float32 near 1 is a multiple of 2⁻²⁴ away: half of that stands for 0, and the same at the other end, or a
# certain no would outweigh a certain yes.
_LEAST_ODDS = 2.0**-25
_SMALLEST, _LARGEST = 0.05, 20.0  # a model that is never wrong would be scaled without end
_BLOCK_VALUES = 2**20


def fit_temperature(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Returns the temperature T that minimises the log loss of `apply_temperature` [Guo et al. 2017].

    The log loss is convex in 1/T: Newton's steps find it, inside a bracket that the slope's sign narrows.

    Args:
        probabilities: (n, classes).
        labels: (n,) class numbers, or (n, classes) of 0 and 1.

    Returns:
        Between 0.05 and 20; above 1 for a model that is too sure of itself.
    """
    low, high = 1 / _LARGEST, 1 / _SMALLEST
    inverse = 1.0
    for _ in range(60):
        slope, curvature = _derivatives(probabilities, labels, inverse)
        low, high = (inverse, high) if slope < 0 else (low, inverse)
        proposed = inverse - slope / curvature if curvature > 0 else np.inf
        if not low < proposed < high:
            proposed = (low + high) / 2
        moved, inverse = abs(proposed - inverse), proposed
        if moved < 1e-7 * inverse:
            break
    return float(1 / inverse)


def apply_temperature(
    probabilities: np.ndarray, temperature: float, *, multi_label: bool = False
) -> np.ndarray:
    """Returns softmax(log p / T) of every row, or sigmoid(logit p / T) of every value; float32.

    A logit is known from softmax's output but for a constant of the row, which softmax does not see: so
    log p stands for the logits.
    """
    scaled = np.empty(probabilities.shape, np.float32)
    for block in _blocks(probabilities):
        logits = to_logits(probabilities[block], multi_label=multi_label) / temperature
        scaled[block] = _sigmoid(logits) if multi_label else _softmax(logits)
    return scaled


def to_logits(probabilities: np.ndarray, *, multi_label: bool) -> np.ndarray:
    """Returns log p, or with `multi_label` log(p / (1 − p)); float64, finite for 0 and 1 too."""
    wide = probabilities.astype(np.float64)
    if not multi_label:
        return np.asarray(np.log(np.maximum(wide, _LEAST)))
    wide = np.clip(wide, _LEAST_ODDS, 1 - _LEAST_ODDS)
    return np.asarray(np.log(wide) - np.log1p(-wide))


def from_logits(logits: np.ndarray, *, multi_label: bool) -> np.ndarray:
    """Returns the probabilities of `to_logits`, float32; rows sum to 1 unless `multi_label`."""
    return np.asarray(_sigmoid(logits) if multi_label else _softmax(logits), np.float32)


def _derivatives(probabilities: np.ndarray, labels: np.ndarray, inverse: float) -> tuple[float, float]:
    """Returns the first and second derivative of the summed log loss by 1/T."""
    slope = curvature = 0.0
    multi_label = labels.ndim == 2
    for block in _blocks(probabilities):
        logits, truth = to_logits(probabilities[block], multi_label=multi_label), labels[block]
        if multi_label:
            given = _sigmoid(inverse * logits)
            slope += float((logits * (given - truth)).sum())
            curvature += float((logits**2 * given * (1 - given)).sum())
        else:
            given = _softmax(inverse * logits)
            mean = (given * logits).sum(axis=1)
            slope += float((mean - logits[np.arange(len(truth)), truth]).sum())
            curvature += float(((given * logits**2).sum(axis=1) - mean**2).sum())
    return slope, curvature


def _softmax(logits: np.ndarray) -> np.ndarray:
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))


def _sigmoid(logits: np.ndarray) -> np.ndarray:
    return np.asarray(0.5 * (1 + np.tanh(logits / 2)))


def _blocks(probabilities: np.ndarray) -> Iterator[slice]:
    rows = max(1, _BLOCK_VALUES // max(1, probabilities.shape[1]))
    return (slice(start, start + rows) for start in range(0, len(probabilities), rows))
