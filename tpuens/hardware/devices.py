"""What this machine is: host, accelerators, driver, versions; its fingerprint and its label.

`collect_host` imports no TensorFlow; `collect_devices` does, in a function, and starts no accelerator.
"""

import hashlib
import json
import os
import platform
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata

from .. import __version__
from .accelerators import Accelerator, collect_accelerators, peak_device_memory
from .host import Cpu, Host, collect_host

__all__ = [
    "Accelerator",
    "Cpu",
    "DeviceReport",
    "Host",
    "collect_devices",
    "collect_host",
    "collect_versions",
    "fingerprint_hardware",
    "make_machine_label",
    "peak_device_memory",
]

_PACKAGES = (
    "tensorflow",
    "tensorflow-tpu",
    "tensorflow-cpu",
    "keras",
    "numpy",
    "libtpu",
    # What runs, where pip brought it; `cuda` and `cudnn` are what TensorFlow was built for.
    "nvidia-cuda-runtime-cu12",
    "nvidia-cudnn-cu12",
    "nvidia-nccl-cu12",
)


@dataclass(frozen=True, kw_only=True)
class DeviceReport:
    """What this machine is.

    Attributes:
        host: Processor, memory, operating system.
        accelerators: The GPUs and TPUs that TensorFlow could use.
        driver: Version of the NVIDIA driver; None without one.
        versions: Of tpuens, python, tensorflow, keras, numpy, libtpu, and the CUDA and cuDNN that
            TensorFlow was built for.
        notes: What could not be read or looks amiss, in words. May hold paths: not for publishing.
    """

    host: Host
    accelerators: tuple[Accelerator, ...] = ()
    driver: str | None = None
    versions: dict[str, str]
    notes: tuple[str, ...] = ()


def collect_devices() -> DeviceReport:
    """Returns what this machine is. Imports TensorFlow, and starts neither a GPU nor a TPU."""
    listing = collect_accelerators()
    return DeviceReport(
        host=collect_host(),
        accelerators=listing.accelerators,
        driver=listing.driver,
        versions=collect_versions() | _build_versions(),
        notes=listing.notes,
    )


def collect_versions() -> dict[str, str]:
    """Returns the versions of tpuens, python and what is installed of the rest, which is not imported.

    ``tensorflow`` is always TensorFlow's own, whichever distribution brought it.
    """
    versions = {"tpuens": __version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    for distribution in ("tensorflow-tpu", "tensorflow-cpu"):
        if distribution in versions:
            versions.setdefault("tensorflow", versions[distribution])
    return versions


def fingerprint_hardware(report: DeviceReport) -> str:
    """Returns the first 16 hex digits of the SHA-256 of the hardware facts; the same after a reboot.

    The facts: CPU model and instruction sets (clouds call processors of several generations by one name),
    cores and memory (of the machine, and what this process may use of them), kind and model of each
    accelerator. Memory is rounded to GiB, since kernels keep a little more or less for
    themselves; a GPU's memory is left out, since it shows only where NVML is installed.
    """
    host = report.host
    facts = [
        host.cpu.model,
        host.cpu.isa,
        [host.cpu.physical_cores, host.cpu.logical_cores, round(host.cpu.usable_cores, 2)],
        [round(size / 2**30) for size in (host.memory_bytes, host.usable_memory_bytes)],
        [[one.kind, one.model] for one in report.accelerators],
    ]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]


def make_machine_label(report: DeviceReport, environ: Mapping[str, str] = os.environ) -> str:
    """Returns a name for this machine: $TPUENS_MACHINE_LABEL, else one made from its hardware.

    Such as ``"AMD EPYC, 2 cores"``, ``"NVIDIA H200 ×1, AMD EPYC, 16 cores"``, or, where a container may use
    a part of the machine only, ``"AMD EPYC, 2 of 64 threads"``.
    """
    if own := environ.get("TPUENS_MACHINE_LABEL", "").strip():
        return own
    models = Counter(one.model for one in report.accelerators)
    cpu = report.host.cpu
    if cpu.usable_cores < cpu.logical_cores:
        cores = f"{cpu.usable_cores:.3g} of {cpu.logical_cores} threads"
    else:
        count = cpu.physical_cores or cpu.logical_cores
        cores = f"{count} core{'s' if count > 1 else ''}"
    return ", ".join([*(f"{model} ×{count}" for model, count in models.items()), _short(cpu.model), cores])


def _short(model: str) -> str:
    """Returns a CPU's name without trade marks, clock rate and core count."""
    bare = re.sub(r"\((?:R|TM)\)|\bCPU\b|@.*|\b\d+-Core Processor\b", " ", model, flags=re.IGNORECASE)
    return " ".join(bare.split())


def _build_versions() -> dict[str, str]:
    """Returns the CUDA and cuDNN versions that TensorFlow was built for; empty where for none."""
    try:
        import tensorflow as tf

        build = tf.sysconfig.get_build_info()
    except Exception:  # already noted when the accelerators were listed
        return {}
    names = {"cuda": "cuda_version", "cudnn": "cudnn_version"}
    return {name: str(build[key]) for name, key in names.items() if build.get(key)}
