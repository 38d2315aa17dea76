"""When a worker is stopped."""

from dataclasses import dataclass

import psutil

from tpuens.hardware.host import collect_host


@dataclass(frozen=True, kw_only=True)
class Limits:
    """When a worker is stopped.

    Attributes:
        seconds: Wall time of one run.
        memory_bytes: Resident memory of the worker and its children.
    """

    seconds: float
    memory_bytes: int


def default_limits() -> Limits:
    """Returns an hour, and nine tenths of the memory that is free now and that a container leaves us."""
    usable = min(psutil.virtual_memory().available, collect_host().usable_memory_bytes)
    return Limits(seconds=3600.0, memory_bytes=int(usable * 0.9))
