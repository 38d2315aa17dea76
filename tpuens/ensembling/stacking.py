"""Stacking: a logistic regression that learns from the members' log probabilities how to combine them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .calibration import from_logits, to_logits

_LEAST = 1e-6  # log probabilities are cut off here: -14 and -80 both say "no", but the second would rule all
_PENALTY = 1.0  # L2, against the log loss summed over the examples, as with scikit-learn's C = 1


@dataclass(frozen=True, kw_only=True)
class Stack:
    """A fitted logistic regression: softmax(Σ coefficient × log p + intercept), or sigmoid of log odds.

    Attributes:
        coefficients: (members,); not below any number, and not summing to 1.
        intercepts: (classes,).
        multi_label: Whether classes do not exclude each other.
    """

    coefficients: np.ndarray
    intercepts: np.ndarray
    multi_label: bool

    def __call__(self, members: Sequence[np.ndarray]) -> np.ndarray:
        """Returns probabilities (n, classes), float32."""
        logits = sum(
            coefficient * _inputs(member, self.multi_label)
            for coefficient, member in zip(self.coefficients, members, strict=True)
        )
        return from_logits(np.asarray(logits + self.intercepts), multi_label=self.multi_label)


def fit_stack(members: Sequence[np.ndarray], labels: np.ndarray) -> Stack:
    """Returns the logistic regression of the labels on the members' log probabilities.

    A member has one coefficient for all classes, and a class has an intercept: that is the conditional
    logit [McFadden 1974], a stacked generalisation [Wolpert 1992] that holds the geometric mean (equal
    coefficients), temperatures (their sum) and a shift of the class balance. A regression with a coefficient
    of its own for every pair of classes in every member has members × classes² of them, far more than there
    are examples to learn them from: with four simulated members of 104 classes and 2,969 examples to learn
    from, its log loss on new ones came out above that of every member. The L2 penalty pulls towards the plain
    geometric mean, not towards nothing.

    Args:
        members: Each (n, classes).
        labels: (n,) class numbers, or (n, classes) of 0 and 1; then log odds stand for log probabilities.
    """
    from scipy.optimize import minimize

    multi_label = labels.ndim == 2
    inputs = np.stack([_inputs(member, multi_label) for member in members])
    count, _, width = inputs.shape
    truth = labels if multi_label else np.eye(width)[labels]
    prior = np.concatenate([np.full(count, 1 / count), np.zeros(width)])

    def loss_and_gradient(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        logits = np.tensordot(parameters[:count], inputs, axes=1) + parameters[count:]
        if multi_label:
            loss = float((np.logaddexp(0, logits) - truth * logits).sum())
        else:
            logits -= logits.max(axis=1, keepdims=True)
            loss = float((np.log(np.exp(logits).sum(axis=1)) - (truth * logits).sum(axis=1)).sum())
        error = from_logits(logits, multi_label=multi_label) - truth
        gradient = np.concatenate([np.tensordot(inputs, error, axes=2), error.sum(axis=0)])
        away = parameters - prior
        return loss + _PENALTY / 2 * float(away @ away), gradient + _PENALTY * away

    found = minimize(loss_and_gradient, prior, jac=True, method="L-BFGS-B", options={"maxiter": 500}).x
    return Stack(coefficients=found[:count], intercepts=found[count:], multi_label=multi_label)


def _inputs(member: np.ndarray, multi_label: bool) -> np.ndarray:
    return to_logits(np.clip(member.astype(np.float64), _LEAST, 1 - _LEAST), multi_label=multi_label)
