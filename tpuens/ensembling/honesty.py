"""How good a fitted ensemble is on examples that its fit never saw, and how sure one can be of that."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..errors import ConfigurationError, DataError
from ..evaluation.predictions import Predictions
from ..evaluation.scoring import example_losses
from .combine import align_predictions, as_ensemble, check_same_classes
from .ensemble import Ensemble, EnsembleConfig, Pool, fit_arrays, fit_ensemble, known_labels

FOLDS = 5
_CONFIDENCE = 0.95


@dataclass(frozen=True, kw_only=True)
class LossGain:
    """By how much an ensemble's log loss is below its best member's, on the same examples.

    Attributes:
        member: The place of the best member: the one whose log loss on these very examples is lowest.
        gain: Mean over examples of the member's loss less the ensemble's, in nats; above 0 where the ensemble
            is better.
        low, high: Its 95 % interval.
    """

    member: int
    gain: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        """In words, what the interval allows to say."""
        if self.low > 0:
            return "the ensemble beats its best member"
        return "the best member beats the ensemble" if self.high < 0 else "too close to call"


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """An ensemble, its predictions, and its scores' basis.

    Attributes:
        ensemble: Fitted to all examples that there were to fit to: its weights are those to use from now on.
        predictions: What the ensemble says of the members' examples. Where it was fitted to these very
            examples they are out-of-fold: each comes from a fit that did not see it.
        scored: The ensemble's labelled predictions to score, of examples unseen by the fit; None without
            labels.
        scored_members: The members' predictions of the same examples in the same order; empty without
            labels.
        fitted_on: In words, which examples weights, temperatures or a stack were fitted to.
        scored_on: In words, which examples the scores are about.
    """

    ensemble: Ensemble
    predictions: Predictions
    scored: Predictions | None
    scored_members: tuple[Predictions, ...]
    fitted_on: str
    scored_on: str


def evaluate_ensemble(
    members: Sequence[Predictions],
    config: EnsembleConfig,
    *,
    fit_members: Sequence[Predictions] | None = None,
    part: str = "given",
    fit_part: str = "other",
    seed: int = 0,
) -> Evaluation:
    """Returns an ensemble of predictions, scored on examples that its fit never saw.

    Where something is fitted there are three cases. With `fit_members`, the fit is to those, and scored on
    `members`; where `members` are unlabelled, it is scored by cross-fitting on `fit_members`. Without, the
    fit is cross-fitted on `members` (`cross_fit`).

    Args:
        members: Two or more predictions of the examples in question.
        config: How they are combined.
        fit_members: The same members' predictions of other, labelled examples, in the same order.
        part: What the members' examples are called in the words that come back, such as ``"test"``.
        fit_part: What those of `fit_members` are called.
        seed: Of the folds.

    Raises:
        ConfigurationError: Weights do not fit, or there are too few examples to cross-fit.
        DataError: Members do not go together, labels are missing, or both parts share examples.
    """
    aligned = align_predictions(members)
    here = f"{len(aligned[0]):,} {part} examples"
    if not config.is_fitted:
        ensemble = fit_ensemble(aligned, config)
        combined = ensemble.combine(aligned)
        origin = f"nothing ({'the weights were given' if config.weights else 'all members weigh alike'})"
        return _report(ensemble, combined, combined, aligned, origin, here)
    if fit_members is None:
        ensemble = fit_ensemble(aligned, config)
        combined = _cross_fit_predictions(aligned, config, seed)
        return _report(ensemble, combined, combined, aligned, f"all {here}", _in_folds(here))
    fit_aligned = align_predictions(fit_members)
    _check_apart(fit_aligned, aligned)
    ensemble = fit_ensemble(fit_aligned, config)
    combined = ensemble.combine(aligned)
    there = f"{len(fit_aligned[0]):,} {fit_part} examples"
    if combined.labels is not None:
        return _report(ensemble, combined, combined, aligned, there, f"{here}, which the fit has not seen")
    scored = _cross_fit_predictions(fit_aligned, config, seed)
    return _report(ensemble, combined, scored, fit_aligned, there, _in_folds(there))


def cross_fit(
    members: Sequence[np.ndarray],
    labels: np.ndarray,
    fit: Callable[[list[np.ndarray], np.ndarray], Pool],
    folds: int = FOLDS,
    seed: int = 0,
) -> np.ndarray:
    """Returns combined probabilities (n, classes), each row from a fit that never saw it; float32.

    The examples are dealt into stratified folds; for each, `fit` is given the others' rows and what it
    returns combines the rows of the fold [cross-fitting: Stone 1974].

    Args:
        members: Each (n, classes): predictions of examples that the members themselves were not trained on,
            such as validation or out-of-fold predictions. Members that saw them look better than they are,
            and no folds here can mend that.
        labels: (n,) class numbers, or (n, classes) of 0 and 1.
        fit: From members' rows and labels to what combines members' rows.
        folds: How many, 2 or more.
        seed: Of the deal.

    Raises:
        ConfigurationError: There are fewer examples than folds, or fewer than two folds.
    """
    if not 2 <= folds <= len(labels):
        raise ConfigurationError(
            "Cross-fitting deals the examples into two folds or more, with one in each at least. "
            f"Received: {len(labels)} examples for {folds} folds"
        )
    place = deal_folds(labels, folds=folds, seed=seed)
    combined = np.empty(members[0].shape, np.float32)
    for fold in range(folds):
        held_out = place == fold
        pool = fit([member[~held_out] for member in members], labels[~held_out])
        combined[held_out] = pool([member[held_out] for member in members])
    return combined


def deal_folds(labels: np.ndarray, *, folds: int, seed: int) -> np.ndarray:
    """Returns the fold of each example, (n,) of 0 … folds-1, of nearly equal sizes, stratified by label.

    In a random order, sorted by label, examples are dealt in turns: so no label's counts in two folds differ
    by more than one. Labels (n, classes) are stratified by the pattern of a row.
    """
    strata = labels if labels.ndim == 1 else np.unique(labels, axis=0, return_inverse=True)[1].ravel()
    order = np.random.default_rng(seed).permutation(len(labels))
    order = order[np.argsort(strata[order], kind="stable")]
    place = np.empty(len(labels), np.int64)
    place[order] = np.arange(len(labels)) % folds
    return place


def compare_with_best_member(ensemble: Predictions, members: Sequence[Predictions]) -> LossGain:
    """Returns by how much the ensemble's log loss is below its best member's, with an interval.

    The examples' differences of loss are paired; the interval is Student's of their mean, which covers other
    examples, not other trainings. Choosing the best member on these examples favours the member.

    Args:
        ensemble: Labelled predictions.
        members: Of the same examples in the same order.

    Raises:
        DataError: There are fewer than two examples, or no labels.
    """
    from scipy import stats

    labels = known_labels([ensemble])
    if len(labels) < 2:
        raise DataError(f"An interval needs two examples or more. Received: {len(labels)}")
    losses = [example_losses(labels, member.probabilities) for member in members]
    best = min(range(len(losses)), key=lambda index: float(losses[index].mean()))
    gains = losses[best] - example_losses(labels, ensemble.probabilities)
    gain, error = float(gains.mean()), float(gains.std(ddof=1)) / len(gains) ** 0.5
    half = float(stats.t.ppf((1 + _CONFIDENCE) / 2, len(gains) - 1)) * error
    return LossGain(member=best, gain=gain, low=gain - half, high=gain + half)


def _cross_fit_predictions(aligned: Sequence[Predictions], config: EnsembleConfig, seed: int) -> Predictions:
    multi_label = aligned[0].is_multi_label

    def fit(members: list[np.ndarray], labels: np.ndarray) -> Pool:
        return fit_arrays(members, labels, config, multi_label=multi_label).pool

    probabilities = [member.probabilities for member in aligned]
    pooled = cross_fit(probabilities, known_labels(aligned), fit, seed=seed)
    return as_ensemble(aligned, pooled, config.method)


def _report(
    ensemble: Ensemble,
    predictions: Predictions,
    scored: Predictions,
    members: Sequence[Predictions],
    fitted_on: str,
    scored_on: str,
) -> Evaluation:
    is_labelled = scored.labels is not None
    return Evaluation(
        ensemble=ensemble,
        predictions=predictions,
        scored=scored if is_labelled else None,
        scored_members=tuple(replace(m, labels=scored.labels) for m in members) if is_labelled else (),
        fitted_on=fitted_on,
        scored_on=scored_on if is_labelled else "nothing (there are no labels)",
    )


def _in_folds(examples: str) -> str:
    return (
        f"the same {examples}, cross-fitted: each by a fit to the other {FOLDS - 1} of {FOLDS} folds, "
        "which has not seen it"
    )


def _check_apart(fit_members: Sequence[Predictions], members: Sequence[Predictions]) -> None:
    if len(fit_members) != len(members):
        raise ConfigurationError(
            "Weights are fitted to the members that they weigh. "
            f"Received: {len(fit_members)} to fit to and {len(members)} to combine"
        )
    for one, other in zip(fit_members, members, strict=True):
        check_same_classes(one, other)
    shared = np.intersect1d(fit_members[0].ids, members[0].ids)
    if len(shared):
        raise DataError(
            "An ensemble is scored on examples that its fit never saw: fit to one part and score on another. "
            f"Received: {len(shared)} ids in both, the first {', '.join(shared[:3].tolist())}"
        )
