"""Records as a pandas data frame, for whoever wants to ask more than the report answers."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from ..records.record import Caution, RunRecord, Series
from ..records.store import read_folder
from .roofline import share_flops
from .statistics import Percentile, describe, waiting_verdict
from .summary import series_row

if TYPE_CHECKING:
    import pandas as pd

# The columns of a series; a frame has them all, so that one of failed runs alone can be asked the same.
_FIGURES = (
    "series",
    "fence",
    "samples",
    "examples_per_second",
    "relative_mad",
    "median_step_seconds",
    "mad_step_seconds",
    "p50_step_seconds",
    "p90_step_seconds",
    "p99_step_seconds",
    "steady",
    "steady_from_step",
    "waiting_share",
    "waiting_verdict",
    "flops_per_second",
    "mfu",
)


def load_frame(*folders: str | Path) -> "pd.DataFrame":
    """Returns one row for each series of each record; a record without series gives one row.

    The facts of a record are repeated on each of its rows: ``status`` and ``reason``, the fields of
    workload, configuration and environment by their own names, ``option_…``, ``version_…``,
    ``…_phase_seconds``, and those metrics that occur once in the record and whose name is not taken. The
    figures of a series are derived on reading: ``examples_per_second`` (of "block" series),
    ``relative_mad``, ``steady`` and ``steady_from_step``, ``median_step_seconds``, ``mad_step_seconds``,
    ``p50_step_seconds`` and so on (of "step" series with enough samples), ``waiting_share`` and
    ``waiting_verdict``, ``flops_per_second``, ``cautions``. What does not apply is missing.

    Args:
        folders: Run folders, their ``records`` subfolders or single records. A record that is met twice
            counts once.

    Raises:
        RecordError: A folder or record cannot be read.
    """
    import pandas as pd

    found = {record.id: record for folder in folders for record in read_folder(Path(folder))}
    rows = [
        facts | dict.fromkeys(_FIGURES) | figures
        for record in share_flops(list(found.values()))
        for facts in [_record_facts(record)]
        for figures in ([_series_figures(series, record) for series in record.series] or [{}])
    ]
    frame: pd.DataFrame = pd.DataFrame(rows)
    return frame


def _record_facts(record: RunRecord) -> dict[str, Any]:
    facts: dict[str, Any] = {
        name: getattr(record, name)
        for name in ("id", "request_key", "repeat", "suite", "created", "status", "reason")
    }
    workload = msgspec.structs.asdict(record.workload)
    options = workload.pop("options")
    facts |= workload | {f"option_{name}": value for name, value in options.items()}
    facts |= msgspec.structs.asdict(record.configuration)
    if record.environment:
        environment = msgspec.structs.asdict(record.environment)
        versions, variables = environment.pop("versions"), environment.pop("variables")
        accelerators = environment.pop("accelerators")
        facts |= environment
        facts["accelerators"] = ", ".join(accelerator.model for accelerator in accelerators)
        facts |= {f"version_{name}": version for name, version in versions.items()}
        facts |= {f"variable_{name}": value for name, value in variables.items()}
    facts |= {f"{name}_phase_seconds": seconds for name, seconds in record.phases.items()}
    if record.memory:
        facts["peak_resident_bytes"] = record.memory.peak_resident_bytes
        facts["peak_device_bytes"] = max(record.memory.device_peak_bytes.values(), default=None)
    fence = describe(record.fence_seconds)
    facts["median_fence_seconds"] = fence.median if fence else None
    occurrences = Counter(metric.name for metric in record.metrics)
    metrics = {metric.name: metric.value for metric in record.metrics if occurrences[metric.name] == 1}
    facts = metrics | facts
    facts["cautions"] = _codes(record.warnings)
    return facts


def _series_figures(series: Series, record: RunRecord) -> dict[str, Any]:
    row = series_row(series, record, machine="")
    figures = {
        "series": series.name,
        "fence": series.fence,
        "samples": len(series.seconds),
        "examples_per_second": row.examples_per_second,
        "relative_mad": row.relative_mad,
        "median_step_seconds": row.step_seconds.median if row.step_seconds else None,
        "mad_step_seconds": row.step_seconds.mad if row.step_seconds else None,
        "steady": row.steadiness[0].verdict,
        "steady_from_step": row.steadiness[0].from_step,
        "cautions": _codes(row.cautions),
        "waiting_share": row.waiting_share,
        "waiting_verdict": waiting_verdict(row.waiting_share) if row.waiting_share is not None else None,
        "flops_per_second": row.flops_per_second,
        "mfu": row.utilisation.mfu if row.utilisation else None,
    }
    for found in row.percentiles:
        if isinstance(found, Percentile):
            figures[f"p{100 * found.probability:.0f}_step_seconds"] = found.value
    return figures | {f"parameter_{name}": value for name, value in series.parameters.items()}


def _codes(cautions: Sequence[Caution]) -> str:
    return ", ".join(caution.code for caution in cautions)
