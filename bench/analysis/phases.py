"""Where the time of runs went, phase by phase."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ..records.record import Configuration, RunRecord, WorkloadKey
from .accuracy import median_scores
from .labels import MachineNames, Setup, identity, setup_facts, tell_setups_apart

# Phases whose course a record keeps as its result: samples, trainings and predictions that a scenario is
# about, and what the machine itself does. The warm-up, tracing and the first step only lead there.
MEASURING = ("steady", "training", "evaluation", "references")


@dataclass(frozen=True, kw_only=True)
class Measuring:
    """How much of the time of runs went into measuring: seconds, and seconds of all their phases."""

    seconds: float
    total: float

    @property
    def share(self) -> float:
        """Returns the share of the whole."""
        return self.seconds / self.total


@dataclass(frozen=True, kw_only=True)
class RunPhases:
    """The recorded phases of all repeats of a run on one machine: the median seconds of each.

    `distinction` says in what its set-up differs from that of runs that are alike in all else.
    """

    workload: WorkloadKey
    configuration: Configuration
    machine: str
    distinction: str
    seconds: dict[str, float]


def pool_phases(records: Sequence[RunRecord]) -> list[RunPhases]:
    """Returns the phases of the runs that are ok, one for all repeats, in the order of the first ones."""
    names = MachineNames(records)
    groups: dict[tuple[object, ...], dict[Setup, list[RunRecord]]] = {}
    for record in records:
        if record.status == "ok" and record.phases:
            key = (identity(record.workload), identity(record.configuration), names.of(record))
            setups = groups.setdefault(key, {})
            setups.setdefault(setup_facts(record.environment), []).append(record)
    return [
        RunPhases(
            workload=group[0].workload,
            configuration=group[0].configuration,
            machine=names.of(group[0]),
            distinction=distinction,
            seconds=median_scores([record.phases for record in group]),
        )
        for setups in groups.values()
        for group, distinction in zip(setups.values(), tell_setups_apart(list(setups)), strict=True)
    ]


def time_measuring(records: Sequence[RunRecord]) -> Measuring | None:
    """Returns how much of the time of all runs that are ok was measuring; None where no phases are known."""
    phases = [record.phases for record in records if record.status == "ok"]
    total = math.fsum(seconds for one in phases for seconds in one.values())
    measuring = math.fsum(one.get(name, 0.0) for one in phases for name in MEASURING)
    return Measuring(seconds=measuring, total=total) if total > 0 else None
