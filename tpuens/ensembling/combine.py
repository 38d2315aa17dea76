"""Several models' predictions of the same examples, combined into one."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..errors import ConfigurationError, DataError
from ..evaluation.predictions import Predictions
from ..registry import Row, Table
from .calibration import from_logits, to_logits

_ROWS = 1024  # at a time: no copy of a whole matrix is made in float64


@dataclass(frozen=True, kw_only=True)
class Method(Row):
    """One way to combine: its factory is ``f(members, weights, multi_label) -> probabilities``.

    Attributes:
        takes_weights: Whether weights may be given; without them all members weigh alike.
        learns: Whether it learns from labels instead: then the factory is ``f(members, labels)``, and what
            it returns is called with members.
        gives_ranks: Whether what comes out are ranks, whose rows do not sum to 1.
    """

    takes_weights: bool = True
    learns: bool = False
    gives_ranks: bool = False


METHODS: Table[Method] = Table(
    "method",
    (
        Method(
            name="mean",
            factory="tpuens.ensembling.combine:arithmetic_mean",
            summary="the mean of the probabilities",
            takes_weights=False,
        ),
        Method(
            name="weighted",
            factory="tpuens.ensembling.combine:arithmetic_mean",
            summary="their weighted mean; weights are given, or searched",
        ),
        Method(
            name="geometric",
            factory="tpuens.ensembling.combine:geometric_mean",
            summary="the mean of their logarithms (of log odds, where classes do not exclude each other)",
        ),
        Method(
            name="rank",
            factory="tpuens.ensembling.combine:rank_average",
            summary="the mean of ranks among the examples, for the area under the ROC curve",
            gives_ranks=True,
        ),
        Method(
            name="stack",
            factory="tpuens.ensembling.stacking:fit_stack",
            summary="a logistic regression on the log probabilities",
            takes_weights=False,
            learns=True,
        ),
    ),
)


def combine_predictions(
    members: Sequence[Predictions], weights: Sequence[float] | None = None, *, method: str | None = None
) -> Predictions:
    """Returns the members combined by a method that needs no labels.

    Args:
        members: At least two, of the same examples and classes; their order of examples may differ, and
            the first one's is kept.
        weights: One a member, not below 0; they are scaled to sum to 1. Without them all weigh alike.
        method: A name in `METHODS`, all but ``"stack"``; None for ``"weighted"`` with weights and ``"mean"``
            without.

    Raises:
        ConfigurationError: There are too few members, or weights do not fit.
        DataError: Members disagree on ids, classes or labels; the message shows the first that differ.
    """
    row = METHODS[method or ("mean" if weights is None else "weighted")]
    if row.learns or (weights is not None and not row.takes_weights):
        raise ConfigurationError(
            "Expected a method that takes weights, or no weights, and none that learns from labels. "
            f"Received: method={row.name!r}, weights={weights}"
        )
    aligned = align_predictions(members)
    shares = check_weights(weights, len(members))
    combined = row.load()(
        [member.probabilities for member in aligned], shares, multi_label=aligned[0].is_multi_label
    )
    return as_ensemble(aligned, combined, row.name)


def as_ensemble(aligned: Sequence[Predictions], probabilities: np.ndarray, method: str) -> Predictions:
    """Returns what a method made, with the ids and classes of the aligned members, and labels of any."""
    labels = next((member.labels for member in aligned if member.labels is not None), None)
    ranks = METHODS[method].gives_ranks
    return replace(aligned[0], probabilities=probabilities, labels=labels, source="ensemble", ranks=ranks)


def arithmetic_mean(
    members: Sequence[np.ndarray], weights: np.ndarray, *, multi_label: bool = False
) -> np.ndarray:
    """Returns Σ weight × p, float32 (n, classes), summed in float64."""
    combined = np.empty(members[0].shape, np.float32)
    for start in range(0, len(combined), _ROWS):
        rows = slice(start, start + _ROWS)
        combined[rows] = sum(
            np.float64(weight) * member[rows] for weight, member in zip(weights, members, strict=True)
        )
    return combined


def geometric_mean(
    members: Sequence[np.ndarray], weights: np.ndarray, *, multi_label: bool = False
) -> np.ndarray:
    """Returns softmax(Σ weight × log p), or sigmoid(Σ weight × logit p); float32 (n, classes).

    The logarithmic opinion pool [Genest & Zidek 1986].
    """
    logits = np.zeros(members[0].shape)
    for weight, member in zip(weights, members, strict=True):
        logits += weight * to_logits(member, multi_label=multi_label)
    return from_logits(logits, multi_label=multi_label)


def rank_average(
    members: Sequence[np.ndarray], weights: np.ndarray, *, multi_label: bool = False
) -> np.ndarray:
    """Returns Σ weight × the share of examples that a column ranks no higher; float32 (n, classes).

    Ranks make members comparable whose probabilities are spread unlike; the area under the ROC curve sees
    nothing but them. Equal probabilities share the mean of their ranks. Each column is ordered by itself and
    rows do not sum to 1, `multi_label` or not, so that the most highly ranked class of an example is a poor
    guess of its class. The result depends on all the examples that are ranked together.
    """
    from scipy.stats import rankdata

    total = np.zeros(members[0].shape)
    for weight, member in zip(weights, members, strict=True):
        total += weight * rankdata(member, axis=0) / len(member)
    return np.asarray(total, np.float32)


def align_predictions(members: Sequence[Predictions]) -> list[Predictions]:
    """Returns the members with their examples in the order of the first one.

    Raises:
        ConfigurationError: There are fewer than two, or one holds ranks.
        DataError: They are not about the same examples and classes, or labels contradict each other.
    """
    if len(members) < 2:
        raise ConfigurationError(f"An ensemble has at least two members. Received: {len(members)}")
    if ranked := [member.source for member in members if member.ranks]:
        raise ConfigurationError(
            "Ranks are no probabilities, and no member: combine what they were made of. "
            f"Received: {', '.join(ranked)}"
        )
    first = members[0]
    aligned = [first]
    for member in members[1:]:
        check_same_classes(first, member)
        _check_same_ids(first, member)
        aligned.append(_reorder(member, first.ids))
    labelled = [member for member in aligned if member.labels is not None]
    for member in labelled[1:]:
        _check_same_labels(labelled[0], member)
    return aligned


def check_same_classes(first: Predictions, member: Predictions) -> None:
    """Checks that two predictions have the same classes in the same order.

    Raises:
        DataError: They have not.
    """
    if member.class_names != first.class_names:
        pairs = zip(first.class_names, member.class_names, strict=False)
        differ = [f"{a!r} and {b!r}" for a, b in pairs if a != b][:3]
        raise DataError(
            "Members of an ensemble have the same classes in the same order. "
            f"Received: {first.source} with {len(first.class_names)} classes and "
            f"{member.source} with {len(member.class_names)}; "
            f"first that differ: {'; '.join(differ) or 'none but the number'}"
        )
    if member.is_multi_label != first.is_multi_label:
        kinds = [
            f"{one.source}, whose classes {'may' if one.is_multi_label else 'do not'} meet in one example"
            for one in (first, member)
        ]
        raise DataError(f"Members of an ensemble predict labels of one kind. Received: {' and '.join(kinds)}")


def check_weights(weights: Sequence[float] | None, count: int) -> np.ndarray:
    """Returns a weight for each of so many members, scaled to sum to 1; all alike for None.

    Raises:
        ConfigurationError: Their number is another, or they make no mean.
    """
    if weights is None:
        return np.full(count, 1 / count)
    shares = np.asarray(weights, dtype=np.float64)
    if len(shares) != count:
        raise ConfigurationError(f"Expected one weight for each of {count} members. Received: {len(shares)}")
    if not np.isfinite(shares).all() or (shares < 0).any() or shares.sum() == 0:
        raise ConfigurationError(
            f"Weights are finite and not below 0, and one at least is above. Received: {list(weights)}"
        )
    return np.asarray(shares / shares.sum())


def _reorder(member: Predictions, ids: np.ndarray) -> Predictions:
    if np.array_equal(member.ids, ids):
        return member
    place = {one: index for index, one in enumerate(member.ids.tolist())}
    order = np.array([place[one] for one in ids.tolist()])
    labels = None if member.labels is None else member.labels[order]
    return replace(member, ids=ids, probabilities=member.probabilities[order], labels=labels)


def _check_same_ids(first: Predictions, member: Predictions) -> None:
    if np.array_equal(first.ids, member.ids):
        return
    ours, theirs = set(first.ids.tolist()), set(member.ids.tolist())
    if ours != theirs:
        only_ours, only_theirs = sorted(ours - theirs)[:3], sorted(theirs - ours)[:3]
        raise DataError(
            "Members of an ensemble predict the same examples: predict the same split with each. Received: "
            f"{first.source} with {len(ours)} ids (only there: {', '.join(only_ours) or 'none'}) and "
            f"{member.source} with {len(theirs)} (only there: {', '.join(only_theirs) or 'none'})"
        )


def _check_same_labels(first: Predictions, member: Predictions) -> None:
    if first.labels is None or member.labels is None or np.array_equal(first.labels, member.labels):
        return
    differ = (first.labels != member.labels).reshape(len(first), -1).any(axis=1)
    raise DataError(
        f"Members of an ensemble agree on labels. Received: {first.source} and {member.source}, "
        f"which differ at ids {', '.join(str(one) for one in first.ids[differ][:3])}"
    )
