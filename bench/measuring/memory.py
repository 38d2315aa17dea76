"""The most memory that this process, and the accelerators for it, have held."""

import re
import sys
from pathlib import Path

from tpuens.hardware.devices import peak_device_memory

from ..records.record import Memory


def collect_memory() -> Memory:
    """Returns the peaks of this process so far. Asks TensorFlow, so call it where TensorFlow runs."""
    return Memory(peak_resident_bytes=peak_resident_bytes(), device_peak_bytes=peak_device_memory())


def peak_resident_bytes(status: Path = Path("/proc/self/status")) -> int:
    """Returns the most main memory, in bytes, that this process has held at once.

    On Linux from VmHWM, since there ru_maxrss is inherited through exec: a worker would start with the peak
    of the process that launched it (getrusage(2) counts it, and so does GNU time).

    Args:
        status: Linux's description of this process; where it is absent or silent, the system is asked.
    """
    try:
        found = re.search(r"^VmHWM:\s*(\d+) kB$", status.read_text(), re.MULTILINE)
    except OSError:
        found = None
    if found:
        return int(found[1]) * 1024
    if sys.platform == "win32":
        import psutil

        return int(psutil.Process().memory_info().peak_wset)
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # bytes on macOS, KiB elsewhere
