"""What a worker and its launcher tell each other: one JSON object a line.

The worker speaks on its standard output. Where arms take turns, the launcher orders each turn on its standard
input, after the request, or after both requests of a process that has both arms.
"""

from typing import Literal

import msgspec

from ..records.record import (
    Caution,
    Configuration,
    Energy,
    Environment,
    Flops,
    Memory,
    Metric,
    Outcomes,
    Parameter,
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

    arm: int = 0  # of the process
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
    flops: Flops | None = None
    energy: tuple[Energy, ...] = ()
    warnings: tuple[Caution, ...]


class Refused(msgspec.Struct, frozen=True, tag="refused"):
    """Why the run could not be made: skipped where this machine cannot offer it, else failed."""

    reason: str
    skipped: bool


class Outline(msgspec.Struct, frozen=True, kw_only=True):
    """A probe as its worker describes it; see `bench.measuring.timing.Probe`. Its steps are calls."""

    name: str
    parameters: dict[str, Parameter] = {}  # without the batch size, which may be what the arms differ in
    sample: Literal["block", "step"]
    min_steps: int
    max_block_steps: int
    examples_per_call: int = 0


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """The workload of an arm is prepared, and these are the probes to take turns with."""

    probes: tuple[Outline, ...]


class Warmed(msgspec.Struct, frozen=True, tag="warmed"):
    """The seconds of each step of the warm-up that was ordered."""

    step_seconds: tuple[float, ...]


class Taken(msgspec.Struct, frozen=True, tag="taken"):
    """The turn that was ordered is over; it took so many seconds."""

    seconds: float


Message = Progress | Described | Finished | Refused | Ready | Warmed | Taken


class WarmUp(msgspec.Struct, frozen=True, tag="warm-up"):
    """Take so many single steps of a probe, each with a fence; answered by `Warmed`."""

    probe: int
    steps: int
    arm: int = 0  # of the process


class TakeTurn(msgspec.Struct, frozen=True, tag="take-turn"):
    """Take one block of so many steps, or so many single steps of a step probe; answered by `Taken`."""

    probe: int
    steps: int
    arm: int = 0


class Finish(msgspec.Struct, frozen=True, tag="finish"):
    """All turns are taken; answered by the `Finished` of each arm of the process, in order."""


Order = WarmUp | TakeTurn | Finish


def encode_message(message: Message | Order) -> bytes:
    """Returns the message as one line."""
    return msgspec.json.encode(message) + b"\n"


def decode_message(line: bytes) -> Message:
    """Returns the message of a worker that a line holds."""
    message: Message = msgspec.json.decode(line, type=Message)
    return message


def decode_order(line: bytes) -> Order:
    """Returns the order of a launcher that a line holds."""
    order: Order = msgspec.json.decode(line, type=Order)
    return order
