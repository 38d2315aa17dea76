"""What meters read over the timed part of a series: RAPL for CPU packages, NVML for GPU boards.

Where no meter is readable there is no figure: nothing is estimated from a sheet. A counter is read at both
ends and in between, often enough that it cannot wrap around twice; a power meter is sampled and integrated.
"""

import contextlib
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..records.record import Energy

POWERCAP = Path("/sys/class/powercap")
INTERVAL_SECONDS = 0.25  # 1 Hz or faster is the rule; power meters of GPUs renew theirs about every 0.1 s


@dataclass(frozen=True, kw_only=True)
class Meter:
    """Something that can be read again and again.

    Attributes:
        method: "rapl", "nvml" (the board's own energy counter) or "nvml-power" (its power, integrated).
        scope: What it covers.
        read: Returns joules since some moment, or watts.
        reads_power: Whether it returns watts.
        range_joules: Where a counter starts again from zero; None: never.
    """

    method: str
    scope: str
    read: Callable[[], float]
    reads_power: bool = False
    range_joules: float | None = None


def find_meters(
    gpus: Sequence[int],
    *,
    powercap: Path = POWERCAP,
    nvml: Any = None,
    environ: Mapping[str, str] = os.environ,
) -> tuple[Meter, ...]:
    """Returns the meters that can be read here: of every CPU package, and of the GPUs that the run uses.

    Args:
        gpus: TensorFlow's numbers of the GPUs that the run uses; without any NVML is not asked.
        powercap: Linux's folder of power domains.
        nvml: The module `pynvml`; None imports it where it is installed.
        environ: Tells which GPUs TensorFlow may see, and in which order.
    """
    return (*_package_meters(powercap), *(_board_meters(gpus, nvml, environ) if gpus else ()))


class EnergyReading:
    """What the meters read over one series: from `begin` to the end of the ``with`` block.

    Args:
        meters: What to read; with none of them no thread is started.
        clock: Seconds, monotonic.
        interval_seconds: Between two readings.
    """

    def __init__(
        self,
        meters: Sequence[Meter],
        *,
        clock: Callable[[], float] = time.monotonic,
        interval_seconds: float = INTERVAL_SECONDS,
    ) -> None:
        self._tallies = [_Tally(meter) for meter in meters]
        self._clock, self._interval_seconds = clock, interval_seconds
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._read_on, daemon=True)

    def begin(self) -> None:
        """Starts counting."""
        if self._tallies:
            self._read()
            self._thread.start()

    def energies(self, series: str) -> tuple[Energy, ...]:
        """Returns what each meter read, under the name of the series; nothing of one that failed."""
        return tuple(energy for tally in self._tallies if (energy := tally.energy(series)))

    def __enter__(self) -> "EnergyReading":
        return self

    def __exit__(self, *error: object) -> None:
        if self._thread.is_alive():
            self._over.set()
            self._thread.join()
            self._read()

    def _read(self) -> None:
        for tally in self._tallies:
            tally.add(self._clock())

    def _read_on(self) -> None:
        while not self._over.wait(self._interval_seconds):
            self._read()


@dataclass
class _Tally:
    """The readings of one meter, added up as they come."""

    meter: Meter
    joules: float = 0.0
    seconds: float = 0.0
    samples: int = 0
    failed: bool = False
    last: tuple[float, float] | None = None  # seconds, and what the meter showed

    def add(self, now: float) -> None:
        try:
            value = self.meter.read()
        except Exception:  # OSError, ValueError, NVMLError: a figure with a gap would be a guess
            self.failed = True
            return
        if self.last is not None:
            elapsed = now - self.last[0]
            self.seconds += elapsed
            if self.meter.reads_power:
                self.joules += elapsed * (value + self.last[1]) / 2
            elif value >= self.last[1]:
                self.joules += value - self.last[1]
            elif self.meter.range_joules is not None:
                self.joules += value - self.last[1] + self.meter.range_joules
            else:
                self.failed = True  # a counter that never wraps was set back
        self.last = (now, value)
        self.samples += 1

    def energy(self, series: str) -> Energy | None:
        if self.failed or self.seconds <= 0:
            return None
        return Energy(
            series=series,
            joules=self.joules,
            seconds=self.seconds,
            method=self.meter.method,
            scope=self.meter.scope,
            samples=self.samples,
        )


def _package_meters(powercap: Path) -> list[Meter]:
    """Returns a meter for each CPU package; its domains (cores, memory) are parts of it and left out.

    AMD's counters stand under the same name. Since Linux 5.10 the files are root's own unless told otherwise
    (CVE-2020-8694), and few virtual machines have them.
    """
    meters = []
    for domain in sorted(powercap.glob("intel-rapl:[0-9]*")):
        with contextlib.suppress(OSError, ValueError):
            name = (domain / "name").read_text().strip()
            reach = int((domain / "max_energy_range_uj").read_text()) / 1e6
            if name.startswith("package") and ":" not in domain.name.partition(":")[2]:
                read = _counter(domain / "energy_uj")
                read()
                meters.append(Meter(method="rapl", scope=name, read=read, range_joules=reach))
    return meters


def _counter(path: Path) -> Callable[[], float]:
    return lambda: int(path.read_text()) / 1e6


def _board_meters(gpus: Sequence[int], nvml: Any, environ: Mapping[str, str]) -> list[Meter]:
    try:
        if nvml is None:
            import pynvml

            nvml = pynvml
        nvml.nvmlInit()
        handles = _used_boards(gpus, nvml, environ)
    except Exception:  # not installed, no driver, a board that will not answer
        return []
    return [meter for index, handle in handles if (meter := _board_meter(nvml, index, handle))]


def _used_boards(gpus: Sequence[int], nvml: Any, environ: Mapping[str, str]) -> list[tuple[int, Any]]:
    """Returns number and handle of the boards that the run uses; none where that cannot be told.

    NVML counts boards by their place on the bus, CUDA by their speed unless CUDA_DEVICE_ORDER says
    otherwise: among unlike boards the first of the one need not be the first of the other.
    """
    boards = [(index, nvml.nvmlDeviceGetHandleByIndex(index)) for index in range(nvml.nvmlDeviceGetCount())]
    models = {nvml.nvmlDeviceGetName(handle) for _, handle in boards}
    visible = environ.get("CUDA_VISIBLE_DEVICES")
    if len(models) > 1 and environ.get("CUDA_DEVICE_ORDER") != "PCI_BUS_ID":
        return []
    if visible is not None:
        boards = [boards[int(number)] for number in visible.split(",")]
    return [boards[number] for number in gpus]


def _board_meter(nvml: Any, index: int, handle: Any) -> Meter | None:
    scope = f"GPU {index} (board)"

    def counter() -> float:
        return float(nvml.nvmlDeviceGetTotalEnergyConsumption(handle)) / 1e3

    def power() -> float:
        return float(nvml.nvmlDeviceGetPowerUsage(handle)) / 1e3

    # The counter exists since Volta; a slice of a GPU has neither.
    for method, read in (("nvml", counter), ("nvml-power", power)):
        with contextlib.suppress(Exception):
            read()
            return Meter(method=method, scope=scope, read=read, reads_power=method == "nvml-power")
    return None
