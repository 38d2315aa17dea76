"""Weights for several models' probabilities, searched by a metric on labelled examples.

What is found is fitted to those examples: score it on others (`tpuens.ensembling.honesty`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ..errors import ConfigurationError, DataError
from ..evaluation.scoring import (
    LEAST_PROBABILITY,
    accuracy_of,
    decide,
    macro_f1_of,
    mean_roc_auc,
    right_probabilities,
)
from .contest import Contest
from .mixture import fit_mixture

METRICS = ("log_loss", "accuracy", "macro_f1", "roc_auc")
ROUNDS = 40  # of the greedy selection, so that weights are multiples of about 1/40
PATIENCE = 10  # rounds without a better selection before it ends
_DECISIONS = {"accuracy": accuracy_of, "macro_f1": macro_f1_of}


@dataclass(frozen=True, kw_only=True)
class FoundWeights:
    """Weights, and how good they are on the very examples that they were fitted to.

    Attributes:
        weights: One a member, summing to 1.
        metric: What was optimised.
        score: Its value there: an optimistic figure, since the search has seen the labels.
    """

    weights: tuple[float, ...]
    metric: str
    score: float


def search_weights(
    members: Sequence[np.ndarray], labels: np.ndarray, metric: str = "log_loss"
) -> FoundWeights:
    """Returns the weights of the arithmetic mean that are best by a metric.

    The log loss is convex in the weights and is minimised to within 1e-9 (`fit_mixture`). The others are
    step functions: they are raised by greedy selection with replacement, begun with the best members in
    their order, as many as are best together [Caruana, Niculescu-Mizil, Crew & Ksikes 2004, "Ensemble
    selection from libraries of models"]; of two equal selections the one with the lower log loss is taken.
    The result is there no worse than the best member, nor than the plain mean. Bagging of members was tried
    (halves of 3, 8 and 16 simulated members, ten times) and was no better on new examples, so no random
    number is drawn.

    Args:
        members: Two or more of shape (n, classes); float32 is used as it is, memory maps too.
        labels: (n,) class numbers, or (n, classes) of 0 and 1.
        metric: One of `METRICS`.

    Raises:
        ConfigurationError: No such metric, or fewer than two members.
        DataError: Shapes do not fit, or probabilities are not finite.
    """
    right = _check(members, labels, metric)
    if metric == "log_loss":
        weights = fit_mixture(right)
        return FoundWeights(weights=_as_tuple(weights), metric=metric, score=_mixture_loss(right, weights))
    return _select(_make_trials(members, labels, metric), right, metric)


def search_alpha(
    a: np.ndarray, b: np.ndarray, labels: np.ndarray, metric: str = "macro_f1", steps: int = 101
) -> FoundWeights:
    """Returns the best weights (α, 1 − α) of two models, over a grid of α from 0 to 1.

    The grid of the Kaggle recipe for flowers. Its loop has the 100 values of ``np.linspace(0, 1, 100)``;
    these are among those tried whatever `steps` is, so that the result is never worse. Of equal values of
    α the one with the lower log loss is taken. For ``"log_loss"`` itself no grid is needed: it is convex.

    Args:
        a: (n, classes), the model that α weighs.
        b: The other one.
        labels: (n,) class numbers, or (n, classes) of 0 and 1.
        metric: One of `METRICS`.
        steps: How many values from 0 to 1, both included.

    Raises:
        ConfigurationError: No such metric, or fewer than two steps.
        DataError: Shapes do not fit, or probabilities are not finite.
    """
    if steps < 2:
        raise ConfigurationError(f"A grid of α has two values or more. Received: steps={steps}")
    if metric == "log_loss":
        return search_weights([a, b], labels, metric)
    right = _check([a, b], labels, metric)
    score_of = _make_alpha_score(a, b, labels, metric)
    alphas = np.union1d(np.linspace(0, 1, steps), np.linspace(0, 1, 100)).tolist()
    ranked = [(score_of(alpha), -_mixture_loss(right, np.array([alpha, 1 - alpha]))) for alpha in alphas]
    best = max(range(len(alphas)), key=ranked.__getitem__)
    return FoundWeights(weights=(alphas[best], 1 - alphas[best]), metric=metric, score=ranked[best][0])


def _make_alpha_score(
    a: np.ndarray, b: np.ndarray, labels: np.ndarray, metric: str
) -> Callable[[float], float]:
    if labels.ndim == 1 and metric in _DECISIONS:
        contest = Contest([a, b])
        return lambda alpha: _DECISIONS[metric](labels, contest.predict([alpha, 1 - alpha]), a.shape[1])
    return lambda alpha: _score(labels, np.float64(alpha) * a + np.float64(1 - alpha) * b, metric)


class _Trials(Protocol):
    def __call__(self, selection: Sequence[int], candidates: Sequence[int]) -> list[float]:
        """Returns the score of a selection with each of the candidates added; higher is better."""


def _make_trials(members: Sequence[np.ndarray], labels: np.ndarray, metric: str) -> _Trials:
    if labels.ndim == 1 and metric in _DECISIONS:
        contest, width = Contest(members), members[0].shape[1]

        def by_contest(selection: Sequence[int], candidates: Sequence[int]) -> list[float]:
            predicted = contest.predict_each(selection, candidates)
            return [_DECISIONS[metric](labels, row, width) for row in predicted]

        return by_contest

    def by_whole_matrices(selection: Sequence[int], candidates: Sequence[int]) -> list[float]:
        totals = np.zeros(members[0].shape, np.float32)
        for times, member in zip(selection, members, strict=True):
            if times:
                totals += np.float32(times) * member
        share = np.float32(1 / (sum(selection) + 1))
        return [_score(labels, (totals + members[candidate]) * share, metric) for candidate in candidates]

    return by_whole_matrices


def _select(trials: _Trials, right: np.ndarray, metric: str) -> FoundWeights:
    """Returns the best selection met: of the first so many members, then with one more a round."""
    count = right.shape[1]

    def rank(selection: list[int], candidates: Sequence[int]) -> list[tuple[float, float]]:
        scores = trials(selection, candidates)
        chosen, size = right @ np.array(selection, np.float64), sum(selection) + 1
        losses = [
            float(np.log(np.maximum((chosen + right[:, j]) / size, LEAST_PROBABILITY)).mean())
            for j in candidates
        ]
        return list(zip(scores, losses, strict=True))

    nobody = [0] * count
    alone = rank(nobody, range(count))
    order = sorted(range(count), key=alone.__getitem__, reverse=True)
    selection, best_selection, best = nobody, nobody, (-np.inf, -np.inf)
    for member in order:
        reached = rank(selection, [member])[0]
        selection = _with(selection, member)
        if reached > best:
            best_selection, best = selection, reached
    selection, waited = best_selection, 0
    while sum(selection) < ROUNDS and waited < PATIENCE:
        ranked = rank(selection, range(count))
        member = max(range(count), key=ranked.__getitem__)
        selection = _with(selection, member)
        waited += 1
        if ranked[member] > best:
            best_selection, best, waited = selection, ranked[member], 0
    weights = np.array(best_selection) / sum(best_selection)
    return FoundWeights(weights=_as_tuple(weights), metric=metric, score=best[0])


def _with(selection: list[int], member: int) -> list[int]:
    return [times + (index == member) for index, times in enumerate(selection)]


def _score(labels: np.ndarray, probabilities: np.ndarray, metric: str) -> float:
    if metric == "roc_auc":
        return mean_roc_auc(labels, probabilities)
    return _DECISIONS[metric](labels, decide(labels, probabilities), probabilities.shape[1])


def _mixture_loss(right: np.ndarray, weights: np.ndarray) -> float:
    return -float(np.log(np.maximum(right @ weights, LEAST_PROBABILITY)).mean())


def _as_tuple(weights: np.ndarray) -> tuple[float, ...]:
    return tuple(float(weight) for weight in weights)


def _check(members: Sequence[np.ndarray], labels: np.ndarray, metric: str) -> np.ndarray:
    """Returns what each member gave to the right outcome (outcomes, members), where all fits together."""
    if metric not in METRICS:
        raise ConfigurationError(f"Expected one of: {', '.join(METRICS)}. Received: metric={metric!r}")
    if len(members) < 2:
        raise ConfigurationError(f"An ensemble has at least two members. Received: {len(members)}")
    shapes = sorted({member.shape for member in members})
    if len(shapes) > 1 or len(labels) != shapes[0][0] or (labels.ndim == 2 and labels.shape != shapes[0]):
        raise DataError(
            "Weights are fitted to members of one shape (examples, classes) with a label for each example. "
            f"Received: members of {', '.join(map(str, shapes))} and labels of {labels.shape}"
        )
    if not len(labels):
        raise DataError("Weights are fitted to labelled examples. Received: none")
    right = np.stack([right_probabilities(labels, member) for member in members], axis=1)
    if not np.isfinite(right).all():
        raise DataError(
            "Weights are fitted to finite probabilities: predict again. Received: NaN or infinity"
        )
    return right
