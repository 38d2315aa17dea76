"""Several models' predictions of the same examples, combined into one."""

from collections.abc import Sequence

import numpy as np

from ..errors import ConfigurationError, DataError
from ..evaluation.predictions import Predictions


def combine_predictions(
    members: Sequence[Predictions], weights: Sequence[float] | None = None
) -> Predictions:
    """Returns the weighted mean of the members' probabilities; the plain mean without weights.

    Args:
        members: At least two, of the same examples and classes; their order of examples may differ, and
            the first one's is kept.
        weights: One a member, not below 0; they are scaled to sum to 1.

    Raises:
        ConfigurationError: There are too few members, or weights do not fit.
        DataError: Members disagree on ids, classes or labels; the message shows the first that differ.
    """
    if len(members) < 2:
        raise ConfigurationError(f"An ensemble has at least two members. Received: {len(members)}")
    shares = _check_weights(weights, len(members))
    aligned = align_predictions(members)
    probabilities = sum(
        share * member.probabilities.astype(np.float64) for share, member in zip(shares, aligned, strict=True)
    )
    first = aligned[0]
    return Predictions(
        ids=first.ids,
        probabilities=np.asarray(probabilities, dtype=np.float32),
        labels=next((member.labels for member in aligned if member.labels is not None), None),
        class_names=first.class_names,
        source="ensemble",
    )


def align_predictions(members: Sequence[Predictions]) -> list[Predictions]:
    """Returns the members with their examples in the order of the first one.

    Raises:
        DataError: They are not about the same examples and classes, or labels contradict each other.
    """
    first = members[0]
    aligned = [first]
    for member in members[1:]:
        if member.class_names != first.class_names:
            pairs = zip(first.class_names, member.class_names, strict=False)
            differ = [f"{a!r} and {b!r}" for a, b in pairs if a != b][:3]
            raise DataError(
                "Members of an ensemble have the same classes in the same order. "
                f"Received: {first.source} with {len(first.class_names)} classes and "
                f"{member.source} with {len(member.class_names)}; "
                f"first that differ: {'; '.join(differ) or 'none but the number'}"
            )
        _check_same_ids(first, member)
        place = {id_: index for index, id_ in enumerate(member.ids.tolist())}
        order = np.array([place[id_] for id_ in first.ids.tolist()])
        labels = None if member.labels is None else member.labels[order]
        if labels is not None and first.labels is not None and not np.array_equal(labels, first.labels):
            differ = first.ids[labels != first.labels][:3].tolist()
            raise DataError(
                f"Members of an ensemble agree on labels. Received: {first.source} and {member.source}, "
                f"which differ at ids {', '.join(differ)}"
            )
        aligned.append(
            Predictions(
                ids=first.ids,
                probabilities=member.probabilities[order],
                labels=labels,
                class_names=member.class_names,
                source=member.source,
            )
        )
    return aligned


def _check_same_ids(first: Predictions, member: Predictions) -> None:
    ours, theirs = set(first.ids.tolist()), set(member.ids.tolist())
    if ours != theirs:
        only_ours, only_theirs = sorted(ours - theirs)[:3], sorted(theirs - ours)[:3]
        raise DataError(
            "Members of an ensemble predict the same examples: predict the same split with each. Received: "
            f"{first.source} with {len(ours)} ids (only there: {', '.join(only_ours) or 'none'}) and "
            f"{member.source} with {len(theirs)} (only there: {', '.join(only_theirs) or 'none'})"
        )


def _check_weights(weights: Sequence[float] | None, count: int) -> np.ndarray:
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
