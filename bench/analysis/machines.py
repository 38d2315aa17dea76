"""One machine beside another, on the same workloads: ratios, what else differs, and what may be claimed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from tpuens.errors import unknown_name_error

from .summary import Row

# The strategy and its replicas belong to the device that is compared; the batch size of a replica follows
# from the global one, and glibc is told to keep memory for a CPU alone. What a device makes of float32 is no
# such thing: it changes results, and is told.
_OF_THE_DEVICE = frozenset({"strategy", "num_replicas", "per_replica_batch_size", "keeps_freed_memory"})


@dataclass(frozen=True, kw_only=True)
class MachineRatio:
    """A reading on one machine against the same workload on the reference machine.

    Attributes:
        row: The reading.
        reference: The same reading on the reference machine, as alike in its configuration as there is.
        speed_up: How many times as fast as the reference; above 1 is faster.
        differences: The fields of the configuration that differ, as "field: reference's → this one's".
        setup_differences: The facts of the set-ups that differ, likewise.
        accuracy: The row that tells how accurate the same backbone became on the same data on the machine;
            None where none does.
        reference_accuracy: Likewise on the reference machine.
    """

    row: Row
    reference: Row
    speed_up: float
    differences: tuple[str, ...]
    setup_differences: tuple[str, ...]
    accuracy: Row | None
    reference_accuracy: Row | None

    @property
    def division(self) -> str:
        """Returns "fixed" where but for the device both are configured alike, else what differs.

        Where both settings were chosen by trials on their own machines, that is "tuned".
        """
        if not self.differences:
            return "fixed"
        tuned = "tuned: each its own; " if self.row.tuning and self.reference.tuning else ""
        return f"{tuned}differs in {'; '.join(self.differences)}"

    @property
    def claim(self) -> str:
        """Returns what the ratio is and how little it says without an interval."""
        if self.row.runs == self.reference.runs == 1:
            return "ratio of single runs; no comparison is claimed"
        return (
            f"ratio of the medians of {self.row.runs} and {self.reference.runs} runs, without an interval; "
            "no comparison is claimed"
        )


def choose_reference(machines: Sequence[str], reference: str | None) -> str:
    """Returns the machine to compare with: the one that is asked for, else the first.

    Raises:
        ConfigurationError: The machine that is asked for is not among them.
    """
    if reference is None:
        return machines[0]
    if reference not in machines:
        raise unknown_name_error("machine", "reference", reference, machines)
    return reference


def compare_machines(rows: Sequence[Row], reference: str) -> list[MachineRatio]:
    """Returns the ratio of every row to the reference machine's row of the same workload and reading.

    Args:
        rows: As `bench.analysis.pooling.pool` gives them.
        reference: The name of a machine.
    """
    counterparts: dict[tuple[object, ...], list[Row]] = {}
    for row in rows:
        if row.machine == reference and row.result and row.kind != "accuracy":
            counterparts.setdefault(row.counterpart, []).append(row)
    # An ensemble's accuracy is not that of the one model whose speed is told.
    accurate = [row for row in rows if "top_1_accuracy" in row.metrics and row.reading != "ensemble"]
    return [
        _compare(row, counterparts[row.counterpart], accurate)
        for row in rows
        if row.machine != reference and row.result and row.counterpart in counterparts
    ]


def _compare(row: Row, candidates: Sequence[Row], accurate: Sequence[Row]) -> MachineRatio:
    def distance(candidate: Row) -> tuple[bool, bool, int, bool, int]:
        return (
            _device(candidate) != _device(row),
            _replica_batch(candidate) != _replica_batch(row),
            len(_differences(_settings(candidate), _settings(row))),
            candidate.configuration.strategy != row.configuration.strategy,
            len(_differences(dict(candidate.setup), dict(row.setup))),
        )

    nearest = min(candidates, key=distance)
    ratio = (row.result or 0) / (nearest.result or 1)
    return MachineRatio(
        row=row,
        reference=nearest,
        speed_up=1 / ratio if row.kind in ("latency", "time-to-accuracy") else ratio,
        differences=_differences(_settings(nearest), _settings(row)),
        setup_differences=_differences(dict(nearest.setup), dict(row.setup)),
        accuracy=_find_accuracy(row, accurate),
        reference_accuracy=_find_accuracy(nearest, accurate),
    )


def _find_accuracy(row: Row, accurate: Sequence[Row]) -> Row | None:
    """Returns the row itself where its run told an accuracy, else one of the same machine, model and data."""
    if "top_1_accuracy" in row.metrics:
        return row

    def model(one: Row) -> tuple[object, ...]:
        return one.machine, one.workload.backbone, one.workload.image_shape, one.workload.dataset

    candidates = [one for one in accurate if model(one) == model(row)]
    strategy = row.configuration.strategy
    return min(candidates, key=lambda one: one.configuration.strategy != strategy, default=None)


def _device(row: Row) -> object:
    return dict(row.parameters).get("device")


def _replica_batch(row: Row) -> float | None:
    return row.batch_size / (row.configuration.num_replicas or 1) if row.batch_size is not None else None


def _settings(row: Row) -> dict[str, object]:
    settings = msgspec.structs.asdict(row.configuration) | {"global_batch_size": row.batch_size}
    return {name: value for name, value in settings.items() if name not in _OF_THE_DEVICE}


def _differences(reference: Mapping[str, object], other: Mapping[str, object]) -> tuple[str, ...]:
    return tuple(
        f"{name}: {reference.get(name, 'not set')} → {other.get(name, 'not set')}"
        for name in {**reference, **other}
        if reference.get(name) != other.get(name)
    )
