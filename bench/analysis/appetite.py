"""How many host cores an accelerator needs to be fed: its appetite over what a core reads and decodes."""

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..records.record import RunRecord
from .statistics import throughput


@dataclass(frozen=True, kw_only=True)
class InputNeed:
    """What feeding an accelerator takes.

    Attributes:
        appetite: Examples a second that the training step alone takes.
        per_core: Examples a second that a core of this or another machine delivers from photographs.
        elsewhere: Whether that was measured on another machine.
        cores: That many are needed.
        available: That many this machine has.
    """

    appetite: float
    per_core: float
    elsewhere: bool
    available: float

    @property
    def cores(self) -> int:
        """Returns how many cores deliver what the accelerator takes, if they scale evenly."""
        return math.ceil(self.appetite / self.per_core)


def find_input_need(record: RunRecord, records: Sequence[RunRecord]) -> InputNeed | None:
    """Returns what feeding the accelerator of a run takes; None where no record tells.

    The appetite is the rate of the step alone on this hardware in this configuration, the pipeline's rate a
    core that of `input-pipeline` at the same image size: on this hardware where it was measured, else the
    median of others.
    """
    if record.environment is None:
        return None
    fingerprint = record.environment.fingerprint
    appetites = _rates(
        (
            one
            for one in records
            if one.environment
            and one.environment.fingerprint == fingerprint
            and one.workload.backbone == record.workload.backbone
            and one.workload.image_shape == record.workload.image_shape
            and _same_step(one, record)
        ),
        "compute",
    )
    pipelines = [
        one
        for one in records
        if one.workload.scenario == "input-pipeline"
        and one.workload.image_shape == record.workload.image_shape
        and one.environment
        and _is_our_decoding(one)
    ]
    own = [one for one in pipelines if one.environment and one.environment.fingerprint == fingerprint]
    per_core = [rate / _cores(one) for one in own or pipelines for rate in _rates([one], "input")]
    if not appetites or not per_core:
        return None
    return InputNeed(
        appetite=statistics.median(appetites),
        per_core=statistics.median(per_core),
        elsewhere=not own,
        available=record.environment.usable_cores or record.environment.logical_cores,
    )


def _same_step(one: RunRecord, other: RunRecord) -> bool:
    names = ("strategy", "num_replicas", "global_batch_size", "dtype_policy", "jit_compile")
    return all(getattr(one.configuration, name) == getattr(other.configuration, name) for name in names)


def _is_our_decoding(pipeline: RunRecord) -> bool:
    """Returns whether it read files by this project's loader: no cache, nobody else's arm beside it."""
    how = pipeline.configuration
    return how.cache in (None, "none") and how.loader in (None, "tpuens")


def _rates(records: Iterable[RunRecord], name: str) -> list[float]:
    rates = (throughput(series) for record in records for series in record.series if series.name == name)
    return [rate for rate in rates if rate]


def _cores(record: RunRecord) -> float:
    """Returns the cores that a pipeline used: one for each of its parallel calls, no more than there are."""
    environment = record.environment
    available = (environment.usable_cores or environment.logical_cores) if environment else 1
    return min(record.configuration.num_parallel_calls or available, available)
