"""Which class wins each example under any weights, at a fraction of the cost of whole matrices."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

_BLOCK_VALUES = 2**18  # float32s of a block of rows that should stay in a processor's cache
_COMPACT_SHARE = 0.25  # a copy of the classes that can win is made where it is smaller than this
_ABSENT = np.float32(-1)  # below every probability: fills the rows that have fewer classes


@dataclass(frozen=True, kw_only=True)
class _Group:
    """Examples with about as many classes that can win.

    Attributes:
        rows: Which examples.
        classes: (rows, width) the classes that can win, in their order; None for all of them.
        values: For each member (rows, width), their probabilities.
    """

    rows: np.ndarray | slice
    classes: np.ndarray | None
    values: Sequence[np.ndarray]

    def winners(self, totals: np.ndarray) -> np.ndarray:
        best = totals.argmax(axis=1)
        return np.asarray(best if self.classes is None else self.classes[np.arange(len(best)), best])


class Contest:
    """Finds the most probable class of every example for weighted sums of members.

    Whatever the weights, a class c cannot win where some class d has, with every member, more than c has
    with any: max over members of p(c) < max over d of min over members of p(d). What is left are a few
    classes an example, and only these are summed. Where members contradict each other so much that little
    falls away, the members' own arrays are used, block by block, and nothing is copied.
    """

    def __init__(self, members: Sequence[np.ndarray]) -> None:
        """Looks once through the members, each float32 (n, classes); they may be memory maps."""
        self.count = len(members)
        self._length = len(members[0])
        found = _find_contenders(members)
        groups = _view_blocks(members) if found is None else _copy_contenders(members, *found)
        self._groups = list(groups)

    def predict(self, weights: Sequence[float]) -> np.ndarray:
        """Returns the winning classes (n,) of Σ weight × probability; the first class where two are equal.

        The sum is taken in float64, where fewer classes are equal than in float32.
        """
        predicted = np.empty(self._length, np.int64)
        for group in self._groups:
            totals = sum(
                np.float64(weight) * values for weight, values in zip(weights, group.values, strict=True)
            )
            predicted[group.rows] = group.winners(np.asarray(totals))
        return predicted

    def predict_each(self, selection: Sequence[int], candidates: Sequence[int]) -> np.ndarray:
        """Returns the winners (candidates, n) of the selected members' sum with each candidate added.

        Args:
            selection: How often each member was selected.
            candidates: The members to add, one at a time.
        """
        predicted = np.empty((len(candidates), self._length), np.int64)
        for group in self._groups:
            totals = np.zeros_like(group.values[0], np.float32)
            for times, values in zip(selection, group.values, strict=True):
                if times:
                    totals += np.float32(times) * values
            proposed = np.empty_like(totals)
            for place, candidate in enumerate(candidates):
                np.add(totals, group.values[candidate], out=proposed)
                predicted[place, group.rows] = group.winners(proposed)
        return predicted


def _blocks(members: Sequence[np.ndarray]) -> Iterator[slice]:
    length, width = members[0].shape
    rows = max(1, _BLOCK_VALUES // width)
    return (slice(start, start + rows) for start in range(0, length, rows))


def _view_blocks(members: Sequence[np.ndarray]) -> Iterator[_Group]:
    for block in _blocks(members):
        yield _Group(rows=block, classes=None, values=[member[block] for member in members])


def _find_contenders(members: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray] | None:
    """Returns how many classes of each example can win, and all of them in a row; None for too many."""
    budget = _COMPACT_SHARE * members[0].size
    counts, classes = [], []
    for block in _blocks(members):
        least, most = members[0][block], members[0][block]
        for member in members[1:]:
            least, most = np.minimum(least, member[block]), np.maximum(most, member[block])
        # A sum in float32 rounds: what lies that near is kept.
        can_win = most >= least.max(axis=1, keepdims=True) * np.float32(1 - 1e-5)
        counts.append(can_win.sum(axis=1))
        classes.append(np.nonzero(can_win)[1].astype(np.int32))
        budget -= len(classes[-1])
        if budget < 0:
            return None
    return np.concatenate(counts), np.concatenate(classes)


def _copy_contenders(
    members: Sequence[np.ndarray], counts: np.ndarray, classes: np.ndarray
) -> Iterator[_Group]:
    """Yields groups as wide as a power of two, so that little of them is filling."""
    starts = np.cumsum(counts) - counts
    widths = 2 ** np.ceil(np.log2(counts)).astype(np.int64)
    for width in np.unique(widths):
        rows = np.flatnonzero(widths == width)
        places = np.arange(min(width, members[0].shape[1]))
        absent = places >= counts[rows, None]
        chosen = classes[np.where(absent, starts[rows, None], starts[rows, None] + places)]
        values = []
        for member in members:
            kept = np.asarray(member[rows[:, None], chosen], np.float32)
            kept[absent] = _ABSENT
            values.append(kept)
        yield _Group(rows=rows, classes=chosen, values=values)
