"""One machine beside another, on the same workloads: ratios, what else differs, and what may be claimed."""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from tpuens.errors import unknown_name_error

from ..records.record import Configuration
from .summary import Row

# The strategy and its replicas belong to the device that is compared; the batch size of a replica follows
# from the global one.
_OF_THE_DEVICE = frozenset({"strategy", "num_replicas", "per_replica_batch_size"})


@dataclass(frozen=True, kw_only=True)
class MachineRatio:
    """A reading on one machine against the same workload on the reference machine.

    Attributes:
        row: The reading.
        reference: The same reading on the reference machine, as alike in its configuration as there is.
        speed_up: How many times as fast as the reference; above 1 is faster.
        differences: The fields of the configuration that differ, as "field: reference's → this one's".
    """

    row: Row
    reference: Row
    speed_up: float
    differences: tuple[str, ...]

    @property
    def division(self) -> str:
        """Returns "fixed" where but for the device both are configured alike, else what differs."""
        return "fixed" if not self.differences else f"differs in {'; '.join(self.differences)}"

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
            counterparts.setdefault(row.what, []).append(row)
    return [
        _compare(row, counterparts[row.what])
        for row in rows
        if row.machine != reference and row.result and row.what in counterparts
    ]


def _compare(row: Row, candidates: Sequence[Row]) -> MachineRatio:
    def distance(candidate: Row) -> tuple[int, bool]:
        differences = _differences(candidate.configuration, row.configuration)
        return len(differences), candidate.configuration.strategy != row.configuration.strategy

    nearest = min(candidates, key=distance)
    ratio = (row.result or 0) / (nearest.result or 1)
    return MachineRatio(
        row=row,
        reference=nearest,
        speed_up=1 / ratio if row.kind in ("latency", "time-to-accuracy") else ratio,
        differences=_differences(nearest.configuration, row.configuration),
    )


def _differences(reference: Configuration, other: Configuration) -> tuple[str, ...]:
    ours, theirs = msgspec.structs.asdict(other), msgspec.structs.asdict(reference)
    return tuple(
        f"{name}: {theirs[name]} → {ours[name]}"
        for name in ours
        if name not in _OF_THE_DEVICE and ours[name] != theirs[name]
    )
