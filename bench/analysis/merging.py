"""The records of many machines as one collection; what cannot be trusted is left out, and it is said why."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..records.record import RunRecord, Series
from ..records.store import RECORDS_FOLDER, RecordError, latest_records, list_records, read_record
from .roofline import plausibility, share_flops

_SLACK = 1e-6  # seconds: two clocks were read one after the other


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """A file that does not count, and why."""

    path: Path
    reason: str


@dataclass(frozen=True, kw_only=True)
class Merged:
    """Records of many folders.

    Attributes:
        folders: For each run folder its records, the latest of each run.
        refusals: What was left out.
    """

    folders: tuple[tuple[RunRecord, ...], ...]
    refusals: tuple[Refusal, ...]


def merge_folders(folders: Sequence[Path]) -> Merged:
    """Returns the records of run folders, of folders of run folders, and of single files, each checked.

    A record counts if it can be read, was not planted, is the first of its id, and could be true: see
    `find_faults` and, for what a device can compute at all, `bench.analysis.roofline.plausibility`.

    Raises:
        RecordError: A folder holds no records, or none of all files counts.
    """
    known: dict[str, Path] = {}
    read: list[list[RunRecord]] = []
    refusals: list[Refusal] = []
    for folder in dict.fromkeys(run for given in folders for run in _find_runs(given)):
        records = []
        for path in list_records(folder):
            try:
                record = read_record(path)
            except RecordError as error:
                refusals.append(Refusal(path=path, reason=str(error).partition(" Received: ")[0]))
                continue
            faults = list(find_faults(record))
            if record.id in known:
                faults.append(f"a record of its id {record.id!r} was read already, from {known[record.id]}")
            if faults:
                refusals.append(Refusal(path=path, reason="; ".join(faults)))
            else:
                known[record.id] = path
                records.append(record)
        read.append(records)
    impossible = _find_impossible([record for records in read for record in records])
    refusals += [Refusal(path=known[id], reason=reason) for id, reason in impossible.items()]
    possible = [[record for record in records if record.id not in impossible] for records in read]
    if not any(possible):
        told = "\n".join(f"{refusal.path}: {refusal.reason}" for refusal in refusals)
        raise RecordError(f"None of the records counts.\n{told}\nReceived: {', '.join(map(str, folders))}")
    folders_read = tuple(tuple(latest_records(records)) for records in possible)
    return Merged(folders=folders_read, refusals=tuple(refusals))


def find_faults(record: RunRecord) -> Iterator[str]:
    """Yields, in words, each reason why a record that can be read must not count."""
    if record.configuration.planted is not None:
        yield f"a fault was planted in the run ({record.configuration.planted})"
    numbers = [*record.phases.values(), *record.fence_seconds]
    if any(not math.isfinite(number) or number < 0 for number in numbers):
        yield "a phase or a fence took no finite time of zero or more"
    for metric in record.metrics:
        if not math.isfinite(metric.value):
            yield f"{metric.name} is no finite number"
        elif metric.name.endswith("accuracy") and not 0 <= metric.value <= 1:
            yield f"{metric.name} is {metric.value:g}, not a share between 0 and 1"
    for series in record.series:
        yield from _series_faults(series, record)
    for reference in record.references:
        if not reference.seconds or min(reference.seconds) <= 0 or min(reference.steps) < 1:
            yield f"reference {reference.name!r} has samples that took no finite time above zero, or no step"
        if any(isinstance(reference.parameters.get(name), str) for name in ("n", "bytes")):
            yield f"reference {reference.name!r} has parameters that are no numbers"


def _find_impossible(records: Sequence[RunRecord]) -> dict[str, str]:
    """Returns why each record that passes what its device can do is refused, by its id."""
    verdicts = {record.id: plausibility(record) for record in share_flops(records)}
    return {id: found.why for id, found in verdicts.items() if found.verdict == "refused"}


def _series_faults(series: Series, record: RunRecord) -> Iterator[str]:
    name = f"series {series.name!r}"
    if not series.seconds or min(series.seconds) <= 0 or not math.isfinite(sum(series.seconds)):
        yield f"{name} has samples that took no finite time above zero"
        return
    if min(series.steps) < 1 or min(series.examples) < 0:
        yield f"{name} has samples of no step, or of fewer than no examples"
    batch = series.parameters.get("batch_size", record.configuration.global_batch_size)
    if isinstance(batch, str):
        yield f"{name} has a batch size that is no number"
    elif batch is not None and any(_exceeds(series.examples, series.steps, float(batch))):
        yield f"{name} counts more examples than its steps of {batch} can hold"
    if series.blocked_seconds and any(_exceeds(series.blocked_seconds, series.seconds, 1 + _SLACK)):
        yield f"{name} waited longer for input than its samples took"
    cores = record.environment.logical_cores if record.environment else None
    # A tenth more: CPU time is counted in ticks.
    if cores and series.cpu_seconds and sum(series.cpu_seconds) > 1.1 * cores * sum(series.seconds):
        yield f"{name} used more CPU time than {cores} cores have"


def _exceeds(parts: Iterable[float], wholes: Iterable[float], most: float) -> Iterator[bool]:
    return (part > most * whole + _SLACK for part, whole in zip(parts, wholes, strict=True))


def _find_runs(given: Path) -> list[Path]:
    """Returns the run folders in a folder, or what is given where it holds records itself."""
    if given.is_dir() and not (given / RECORDS_FOLDER).is_dir() and not any(given.glob("*.json")):
        inner = sorted(path.parent for path in given.glob(f"*/{RECORDS_FOLDER}"))
        if inner:
            return inner
    return [given]
