"""Where the time of runs went, phase by phase."""

from collections.abc import Sequence
from dataclasses import dataclass

from ..records.record import Configuration, RunRecord, WorkloadKey
from .accuracy import median_scores
from .labels import MachineNames, identity


@dataclass(frozen=True, kw_only=True)
class RunPhases:
    """The recorded phases of all repeats of a run on one machine: the median seconds of each."""

    workload: WorkloadKey
    configuration: Configuration
    machine: str
    seconds: dict[str, float]


def pool_phases(records: Sequence[RunRecord]) -> list[RunPhases]:
    """Returns the phases of the runs that are ok, one for all repeats, in the order of the first ones."""
    names = MachineNames(records)
    groups: dict[tuple[object, ...], list[RunRecord]] = {}
    for record in records:
        if record.status == "ok" and record.phases:
            key = (identity(record.workload), identity(record.configuration), names.of(record))
            groups.setdefault(key, []).append(record)
    return [
        RunPhases(
            workload=group[0].workload,
            configuration=group[0].configuration,
            machine=names.of(group[0]),
            seconds=median_scores([record.phases for record in group]),
        )
        for group in groups.values()
    ]
