"""How much memory this process, and the accelerators for it, have held: the most, and over time."""

import os
import re
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from tpuens.hardware.devices import peak_device_memory

from ..records.record import Memory

TIMELINE_SECONDS = 0.1
MOST_POINTS = 600  # even, so that points can be paired


def collect_memory() -> Memory:
    """Returns the peaks of this process so far. Asks TensorFlow, so call it where TensorFlow runs."""
    return Memory(peak_resident_bytes=peak_resident_bytes(), device_peak_bytes=peak_device_memory())


class MemoryTimeline:
    """The resident memory of this process over time, read ten times a second by a thread of its own.

    A long run is thinned out, so that its record stays small: whenever there are `MOST_POINTS` points, each
    two become one, the larger, and stand for twice the time.

    Args:
        read: Returns the resident memory in bytes.
        clock: Seconds, monotonic.
    """

    def __init__(
        self,
        read: Callable[[], int] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read = read or _find_reader()
        self._clock = clock
        self._start = clock()
        self._per_point = 1  # readings that a point stands for
        self._readings = 0
        self._points: list[int] = []
        self._lock = threading.Lock()

    def start(self) -> "MemoryTimeline":
        """Reads from now on until the process ends."""
        self.read_now()
        threading.Thread(target=self._go_on, name="memory-timeline", daemon=True).start()
        return self

    def read_now(self) -> None:
        """Takes in the memory of this moment; it also stands for what was missed since the last reading."""
        resident = self._read()
        with self._lock:
            due = int((self._clock() - self._start) / TIMELINE_SECONDS) + 1
            for number in range(self._readings, due):
                if number % self._per_point == 0:
                    self._make_room()
                    self._points.append(resident)
                else:
                    self._points[-1] = max(self._points[-1], resident)
            self._readings = max(due, self._readings)

    def add_to(self, memory: Memory) -> Memory:
        """Returns the memory with the timeline so far in it."""
        with self._lock:
            return msgspec.structs.replace(
                memory,
                timeline_interval_seconds=TIMELINE_SECONDS * self._per_point,
                timeline_bytes=tuple(self._points),
            )

    def _make_room(self) -> None:
        if len(self._points) == MOST_POINTS:
            self._points = [max(pair) for pair in zip(self._points[::2], self._points[1::2], strict=True)]
            self._per_point *= 2

    def _go_on(self) -> None:
        while True:
            time.sleep(TIMELINE_SECONDS - (self._clock() - self._start) % TIMELINE_SECONDS)
            self.read_now()


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


def _find_reader(statm: Path = Path("/proc/self/statm")) -> Callable[[], int]:
    """Returns what reads the resident memory: the second number of Linux's statm, else psutil."""
    try:
        file = os.open(statm, os.O_RDONLY)
    except OSError:
        import psutil

        process = psutil.Process()
        return lambda: int(process.memory_info().rss)
    page = os.sysconf("SC_PAGE_SIZE")
    return lambda: int(os.pread(file, 64, 0).split()[1]) * page
