"""What a worker tells its launcher: one JSON object a line, on the worker's standard output."""

import msgspec

from ..records.record import (
    Caution,
    Configuration,
    Energy,
    Environment,
    Memory,
    Metric,
    Outcomes,
    Series,
    WorkloadKey,
)


class Progress(msgspec.Struct, frozen=True, tag="progress"):
    """What the worker is at; `done` of `of` where it can be counted."""

    phase: str
    done: int = 0
    of: int = 0


class Described(msgspec.Struct, frozen=True, tag="described"):
    """What the run is, as far as it is known; sent early, so that a record of a crash can say it too."""

    environment: Environment | None = None
    workload: WorkloadKey | None = None
    configuration: Configuration | None = None


class Finished(msgspec.Struct, frozen=True, kw_only=True, tag="finished"):
    """What was measured; its fields are those of the record."""

    environment: Environment
    workload: WorkloadKey
    configuration: Configuration
    phases: dict[str, float]
    fence_seconds: tuple[float, ...]
    null_step_seconds: tuple[float, ...]
    series: tuple[Series, ...]
    metrics: tuple[Metric, ...]
    outcomes: tuple[Outcomes, ...] = ()
    memory: Memory
    references: tuple[Series, ...] = ()
    energy: tuple[Energy, ...] = ()
    warnings: tuple[Caution, ...]


class Refused(msgspec.Struct, frozen=True, tag="refused"):
    """Why the run could not be made: skipped where this machine cannot offer it, else failed."""

    reason: str
    skipped: bool


Message = Progress | Described | Finished | Refused


def encode_message(message: Message) -> bytes:
    """Returns the message as one line."""
    return msgspec.json.encode(message) + b"\n"


def decode_message(line: bytes) -> Message:
    """Returns the message that a line holds."""
    message: Message = msgspec.json.decode(line, type=Message)
    return message
