"""What is published of devices: peaks, memory, bandwidth, prices, each with its source and date.

The figures stand in ``catalogue.toml``, which says how to read them. A device that is not there, or an
arithmetic whose peak is not, stays unknown: None, never a guess.
"""

import functools
import math
import re
import sys
from dataclasses import dataclass, field
from importlib import resources
from typing import Literal

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

# A slice of a GPU (MIG, vGPU) bears the GPU's name, but not its figures.
_SLICE = re.compile(r"\bmig\b|^(nvidia )?grid\b", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class DeviceFacts:
    """What a sheet says of a board or chip. The methods answer for one device as TensorFlow shows it.

    Attributes:
        name: How this project calls it.
        kind: ``"gpu"`` or ``"tpu"``.
        patterns: Regular expressions that find it in the names that NVML, TensorFlow or JAX give it.
        devices: How many devices TensorFlow shows for it: 2 for a K80 board, a TPU v2 or v3 chip.
        memory_gb: Memory in GB, of the whole board or chip.
        bandwidth_gb_per_second: Memory bandwidth in GB/s, of the whole board or chip.
        peak_tflops: Dense peak by arithmetic (``"float16"``, ``"bfloat16"``, ``"tf32"``, ``"float32"``) in
            TFLOP/s, of the whole board or chip.
        source: Where peaks and memory were read.
        bandwidth_source: Where the bandwidth was read, if elsewhere.
        date: The month in which they were read, YYYY-MM.
        note: What a reader must know to use the figures.
    """

    name: str
    kind: Literal["gpu", "tpu"]
    patterns: list[str]
    devices: int = 1
    memory_gb: float | None = None
    bandwidth_gb_per_second: float | None = None
    peak_tflops: dict[str, float] = field(default_factory=dict)
    source: str
    bandwidth_source: str | None = None
    date: str
    note: str | None = None

    def peak_flops_per_second(self, arithmetic: str) -> float | None:
        """Returns the peak of one device in FLOP/s, or None where the catalogue has none."""
        return self._share(self.peak_tflops.get(arithmetic), 1e12)

    def memory_bytes(self) -> float | None:
        """Returns the memory of one device in bytes, or None where the catalogue has none."""
        return self._share(self.memory_gb, 1e9)

    def bandwidth_bytes_per_second(self) -> float | None:
        """Returns the memory bandwidth of one device in bytes/s, or None where the catalogue has none."""
        return self._share(self.bandwidth_gb_per_second, 1e9)

    def _share(self, figure: float | None, unit: float) -> float | None:
        return None if figure is None else figure * unit / self.devices


@dataclass(frozen=True, kw_only=True)
class Price:
    """What a machine costs.

    Attributes:
        provider: Who rents it out.
        region: Where.
        sku: The provider's name for it.
        device: The name of the device in it, as in `DeviceFacts`.
        devices: How many boards or chips of it the machine has.
        price_per_hour: Of the whole machine, on demand.
        currency: ISO 4217.
        date: The day on which it held, YYYY-MM-DD.
        source: Where it was read.
    """

    provider: str
    region: str
    sku: str
    device: str
    devices: int = 1
    price_per_hour: float
    currency: str
    date: str
    source: str


@dataclass(frozen=True, kw_only=True)
class Catalogue:
    """All that ``catalogue.toml`` holds."""

    devices: tuple[DeviceFacts, ...]
    prices: tuple[Price, ...]


@functools.cache
def load_catalogue() -> Catalogue:
    """Returns the catalogue that comes with this package."""
    text = resources.files(__package__).joinpath("catalogue.toml").read_text(encoding="utf-8")
    tables = tomllib.loads(text)
    return Catalogue(
        devices=tuple(DeviceFacts(**row) for row in tables["device"]),
        prices=tuple(Price(**row) for row in tables.get("price", ())),
    )


def find_device(name: str) -> DeviceFacts | None:
    """Returns what is published of a device, or None where the catalogue does not know it.

    Args:
        name: What NVML, TensorFlow or JAX call it (``"NVIDIA H100 80GB HBM3"``, ``"TPU v5 lite"``), or the
            type of a TPU (``"v5litepod-8"``). Where several rows fit, the longest match wins. A slice of a
            GPU (MIG, vGPU) is not that GPU: None.
    """
    if _SLICE.search(name):
        return None
    matches = [
        (len(found[0]), facts)
        for facts in load_catalogue().devices
        for pattern in (*facts.patterns, f"^{re.escape(facts.name)}$")
        if (found := re.search(pattern, name, re.IGNORECASE))
    ]
    return max(matches, key=lambda match: match[0], default=(0, None))[1]


def describe_devices(model: str, count: int) -> str:
    """Returns so many devices in words, such as ``"TPU v3, 8 cores (4 chips)"`` or ``"2 × NVIDIA L4"``.

    Args:
        model: What the maker, TensorFlow or JAX calls it.
        count: As TensorFlow shows them: cores of a TPU v2 or v3, chips of later ones.
    """
    facts = find_device(model)
    if facts is None or (facts.kind == "gpu" and facts.devices == 1):
        return f"{count} × {model}"
    whole, part = ("chip", "core") if facts.kind == "tpu" else ("board", "GPU")
    wholes = _count(math.ceil(count / facts.devices), whole)
    return f"{model}, {wholes}" if facts.devices == 1 else f"{model}, {_count(count, part)} ({wholes})"


def _count(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' if count != 1 else ''}"
