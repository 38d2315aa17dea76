"""How the folder of a measurement becomes the numbers of a claim: one for each pair, process or run of it.

Such numbers are independent of each other, which samples inside a process are not; so an interval is over
them. Each is above 0.
"""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from ..analysis.labels import machine_text
from ..analysis.matching import split_arms
from ..analysis.ratios import pair_log_ratio
from ..analysis.statistics import throughput
from ..records.record import RunRecord, Series
from ..records.store import RECORDS_FOLDER, read_folder

Read = Callable[[Path], Sequence[float]]

SAMPLES_FILE = "samples.json"
FIRST_STEP_PHASES = ("trace", "first_step")  # under fit, tracing is a part of the first step


class CommandSamples(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What came of calling one of our commands, each time in a process of its own.

    Attributes:
        command: As a person types it.
        seconds: From start to end of each process.
        peak_bytes: The most memory that each held.
        page_bytes: The size of the page that it wrote, where it writes one.
        measuring_seconds: Of each process: how long it measured, where it measures.
    """

    command: str
    seconds: tuple[float, ...]
    peak_bytes: tuple[int, ...] = ()
    page_bytes: int | None = None
    measuring_seconds: tuple[float, ...] = ()


def speed(name: str, **parameters: Any) -> Read:
    """Returns what reads the speed of arm B over that of arm A, by wall time, from each pair."""

    def read(folder: Path) -> list[float]:
        found = [[_find(one.series, name, parameters) for one in pair] for pair in _pairs(folder)]
        return [math.exp(pair_log_ratio(a, b)) for a, b in found]

    return read


def first_step(folder: Path) -> list[float]:
    """Returns the seconds until arm B has taken its first step over those of arm A, from each pair.

    They begin with a built model: tracing, compiling and the step itself.
    """
    return [_first_step_seconds(b) / _first_step_seconds(a) for a, b in _pairs(folder)]


def within(a: str, b: str, **arms: str) -> Read:
    """Returns what reads the throughput of series B over that of A in each record.

    Args:
        a: The name of a series.
        b: Likewise.
        **arms: The value of the parameter ``arm``, as ``a_arm`` and ``b_arm``, where series have one.
    """
    wanted = [{"arm": arms[side]} if side in arms else {} for side in ("a_arm", "b_arm")]

    def read(folder: Path) -> list[float]:
        ratios = []
        for record in _records(folder):
            rates = [
                throughput(_find(record.series, name, parameters)) or 0.0
                for name, parameters in zip((a, b), wanted, strict=True)
            ]
            ratios.append(rates[1] / rates[0])
        return ratios

    return read


def metric(name: str) -> Read:
    """Returns what reads a metric of each record; 0 counts as a trillionth, since logarithms are taken."""

    def read(folder: Path) -> list[float]:
        found = [one.value for record in _records(folder) for one in record.metrics if one.name == name]
        return [max(value, 1e-12) for value in found]

    return read


def command_seconds(folder: Path) -> list[float]:
    """Returns how long each call of a command took."""
    return list(_samples(folder).seconds)


def command_megabytes(folder: Path) -> list[float]:
    """Returns the most memory that each call of a command held, in millions of bytes."""
    return [size / 1e6 for size in _samples(folder).peak_bytes]


def page_megabytes(folder: Path) -> list[float]:
    """Returns the size of the page that a command wrote, in millions of bytes."""
    size = _samples(folder).page_bytes
    return [] if size is None else [size / 1e6]


def measuring_share(folder: Path) -> list[float]:
    """Returns which share of each call of a command was spent measuring."""
    samples = _samples(folder)
    return [done / all_ for done, all_ in zip(samples.measuring_seconds, samples.seconds, strict=True)]


def describe_cautions(folder: Path) -> str:
    """Returns what the runs in a folder say against their own numbers, by how many; empty for nothing."""
    records = _records(folder)
    counts = Counter(code for one in records for code in {caution.code for caution in one.warnings})
    return "; ".join(f"{code} in {count} of {len(records)} runs" for code, count in sorted(counts.items()))


def describe_machines(folder: Path) -> str:
    """Returns on which machine the runs in a folder were made, or on which ones, in words."""
    machines = [machine_text(one.environment) for one in _records(folder) if one.environment]
    return "; ".join(dict.fromkeys(machines))


def _records(folder: Path) -> list[RunRecord]:
    has_records = any((folder / RECORDS_FOLDER).glob("*.json"))
    return [one for one in read_folder(folder) if one.status == "ok"] if has_records else []


def _pairs(folder: Path) -> list[tuple[RunRecord, RunRecord]]:
    a, b = ({one.turns.pair: one for one in arm if one.turns} for arm in split_arms(_records(folder)))
    return [(a[pair], b[pair]) for pair in sorted(a.keys() & b.keys())]


def _first_step_seconds(record: RunRecord) -> float:
    return math.fsum(record.phases.get(phase, 0.0) for phase in FIRST_STEP_PHASES)


def _find(series: Sequence[Series], name: str, parameters: dict[str, Any]) -> Series:
    return next(one for one in series if one.name == name and parameters.items() <= one.parameters.items())


def _samples(folder: Path) -> CommandSamples:
    path = folder / SAMPLES_FILE
    if not path.exists():
        return CommandSamples(command="", seconds=())
    return msgspec.json.decode(path.read_bytes(), type=CommandSamples)
