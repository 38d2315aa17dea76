"""Records as pytest-benchmark's JSON, which its `compare` and its histograms read, and back again.

A series becomes a benchmark whose data are seconds a step. What pytest-benchmark has no place for stands in
its `extra_info`, so that the way back restores the record: up to the last bit of a division by the steps.
"""

import hashlib
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from tpuens.errors import ConfigurationError

from ..analysis.labels import label_words, reading_text
from ..analysis.statistics import throughput
from ..records.record import Configuration, RunRecord, Series, WorkloadKey
from ..records.store import RecordError, parse_record

# The phase of a run that stands for one that timed no series.
WHOLE_PHASE = "training"

# pytest-benchmark's own settings, which say nothing of samples that were taken elsewhere.
_OPTIONS: dict[str, Any] = {
    "disable_gc": False,
    "timer": "perf_counter",
    "min_rounds": 1,
    "max_time": 0.0,
    "min_time": 0.0,
    "warmup": False,
}


def readings_of(record: RunRecord) -> dict[str, Series | None]:
    """Returns what a run timed, by name: its series, or the training of one that has none (None)."""
    if record.series:
        return {reading_text(series): series for series in record.series}
    return {WHOLE_PHASE: None} if WHOLE_PHASE in record.phases else {}


def step_durations(record: RunRecord, series: Series | None) -> tuple[float, ...]:
    """Returns the seconds a step of each sample; of the training as a whole where there is no series."""
    if series is None:
        return (record.phases[WHOLE_PHASE],)
    return tuple(seconds / steps for seconds, steps in zip(series.seconds, series.steps, strict=True))


def extra_info(record: RunRecord, series: Series | None) -> dict[str, Any]:
    """Returns what pytest-benchmark keeps beside a benchmark: a few figures, and all but the seconds."""
    rate = throughput(series) if series is not None and series.fence == "block" else None
    facts: dict[str, Any] = {"examples_per_second": rate} if rate else {}
    if record.environment:
        facts["machine"] = record.environment.machine_label
    facts["cautions"] = [caution.code for caution in record.warnings]
    whole = msgspec.to_builtins(msgspec.structs.replace(record, series=()))
    timed = None if series is None else msgspec.to_builtins(msgspec.structs.replace(series, seconds=()))
    return facts | {"tpuens": {"record": whole, "series": timed}}


def export_records(records: Iterable[RunRecord]) -> dict[str, Any]:
    """Returns what a file of pytest-benchmark holds, a benchmark for each series of each run that is ok.

    Raises:
        ConfigurationError: pytest-benchmark is not installed, or no run timed anything.
    """
    try:
        from pytest_benchmark import __version__
        from pytest_benchmark.stats import Stats
    except ImportError as error:
        raise ConfigurationError(
            "The statistics are pytest-benchmark's own: pip install pytest-benchmark. Received: "
            "format='pytest-benchmark'"
        ) from error
    benchmarks = []
    runs = [record for record in records if record.status == "ok"]
    for record in runs:
        for reading, series in readings_of(record).items():
            stats = Stats()
            for duration in step_durations(record, series):
                stats.update(duration)
            steps = set(series.steps) if series is not None else {1}
            figures = stats.as_dict() | {
                "data": stats.data,
                "iterations": steps.pop() if len(steps) == 1 else 1,
            }
            benchmarks.append(_describe(record, reading) | {
                "extra_info": extra_info(record, series),
                "options": _OPTIONS,
                "stats": figures,
            })  # fmt: skip
    if not benchmarks:
        raise ConfigurationError(
            "Nothing to export: no run that is ok timed a series or a training. "
            f"Received: {len(runs)} records that are ok"
        )
    return {
        "machine_info": _machine_info(runs[0]),
        "commit_info": _commit_info(runs[0]),
        "benchmarks": benchmarks,
        "datetime": max(record.created for record in runs),
        "version": __version__,
    }


def import_benchmarks(payload: Any, path: Path) -> list[RunRecord]:
    """Returns the records that a file of pytest-benchmark holds.

    Our own come back as they were. A benchmark of somebody else's becomes the record of a scenario named
    `pytest-benchmark`, with the benchmark's full name as an option and a round as a sample; its machine is
    not known, since pytest-benchmark keeps the name of the host and nothing like a fingerprint.

    Args:
        payload: The JSON object.
        path: Where it comes from, for messages.

    Raises:
        RecordError: It is no such file, it has no data or no date, or what it holds cannot be true.
    """
    if not (isinstance(payload, dict) and isinstance(payload.get("benchmarks"), list)):
        raise RecordError(
            f"A file of pytest-benchmark has a list 'benchmarks'; this has none. Received: {path}"
        )
    ours: dict[str, RunRecord] = {}
    others = []
    for benchmark in payload["benchmarks"]:
        try:
            kept = benchmark.get("extra_info", {}).get("tpuens")
            if kept is None:
                others.append(_import_foreign(benchmark, payload, path))
                continue
            known = ours.get(kept["record"]["id"]) or parse_record(kept["record"], path)
            ours[known.id] = msgspec.structs.replace(
                known, series=(*known.series, *_restore(kept["series"], benchmark["stats"]))
            )
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise RecordError(
                "A benchmark has a fullname and stats with data; save them with --benchmark-json or "
                f"--benchmark-save-data ({type(error).__name__}: {error}). Received: {path}"
            ) from error
    # A record that was put together here is held to the same rules as one that was read.
    return [parse_record(msgspec.to_builtins(record), path) for record in (*ours.values(), *others)]


def _describe(record: RunRecord, reading: str) -> dict[str, Any]:
    """Returns the name of a benchmark: the same for the same workload, configuration and repeat."""
    words = label_words(record.workload, record.configuration, (reading,))
    words += [f"repeat {record.repeat}"] if record.repeat else []
    param = ", ".join(word for word in words if word)
    name = f"{record.workload.scenario}[{param}]"
    return {
        "group": record.workload.scenario,
        "name": name,
        "fullname": f"tpuens-bench::{name}",
        "params": {"reading": reading},
        "param": param,
    }


def _machine_info(record: RunRecord) -> dict[str, Any]:
    environment = record.environment
    if environment is None:
        return {}
    return {
        "node": environment.machine_label,
        "system": environment.operating_system,
        "python_version": environment.versions.get("python", ""),
        "cpu": {"brand_raw": environment.cpu_model, "count": environment.logical_cores},
    }


def _commit_info(record: RunRecord) -> dict[str, Any]:
    environment = record.environment
    return {
        "id": environment.git_commit if environment else None,
        "dirty": environment.git_dirty if environment else None,
        "project": "tpuens",
    }


def _restore(series: dict[str, Any] | None, stats: Mapping[str, Any]) -> tuple[Series, ...]:
    if series is None:
        return ()
    seconds = [duration * steps for duration, steps in zip(stats["data"], series["steps"], strict=True)]
    return (msgspec.convert(series | {"seconds": seconds}, Series),)


def _import_foreign(benchmark: Mapping[str, Any], payload: Mapping[str, Any], path: Path) -> RunRecord:
    stats, name = benchmark["stats"], str(benchmark["fullname"])
    data, iterations = [float(duration) for duration in stats["data"]], int(stats["iterations"])
    created = _created(payload, path)
    # The same file imported twice gives the same record.
    id_source = msgspec.json.encode([name, created, data])
    series = Series(
        name=str(benchmark["name"]),
        fence="step" if iterations == 1 else "block",
        steps=(iterations,) * len(data),
        examples=(iterations,) * len(data),
        seconds=tuple(duration * iterations for duration in data),
    )
    return RunRecord(
        id=hashlib.sha256(id_source).hexdigest()[:12],
        request_key=hashlib.sha256(name.encode()).hexdigest()[:12],
        repeat=0,
        suite="pytest-benchmark",
        created=created,
        status="ok",
        # A call is timed as an inference is: one example in, one out.
        workload=WorkloadKey(scenario="pytest-benchmark", phase="inference", options={"benchmark": name}),
        configuration=Configuration(strategy="pytest"),
        environment=None,
        series=(series,),
    )


def _created(payload: Mapping[str, Any], path: Path) -> str:
    created = str(payload.get("datetime"))
    try:
        datetime.fromisoformat(created.replace("Z", "+00:00"))  # Python 3.10 does not read the Z
    except ValueError:
        raise RecordError(
            "A file of pytest-benchmark says when it was written, as ISO 8601, such as 2026-11-25T12:00:00: "
            f"restore it, or benchmark again. Received: datetime={payload.get('datetime')!r}, in {path}"
        ) from None
    return created
