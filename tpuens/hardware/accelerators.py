"""The GPUs and TPUs of this machine, listed without starting them.

TensorFlow says which accelerators it can use; NVML (nvidia-ml-py, optional) adds a GPU's memory and the
driver, the PCI bus and the environment add what a TPU is. Whatever does not answer becomes a note.
"""

import contextlib
import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

# PCI device numbers of Google's TPU chips (vendor 0x1ae0), as the public kernel driver, gVisor and JAX list
# them. A TPU v2 and a v3 share one number.
_TPU_PCI_VENDOR = "0x1ae0"
_TPU_PCI_MODELS = {
    "0x0027": "TPU (v2 or v3)",
    "0x005e": "TPU v4",
    "0x0062": "TPU v5p",
    "0x0063": "TPU v5e",
    "0x006f": "TPU v6e",
    "0x0076": "TPU7x",
}
_TPU_TYPES = {"v5litepod": "TPU v5e", "v5lite": "TPU v5e", "tpu7x": "TPU7x"}


@dataclass(frozen=True, kw_only=True)
class Accelerator:
    """One accelerator as TensorFlow counts them: half a board on K80, a core on TPU v2 and v3.

    Attributes:
        kind: ``"gpu"`` or ``"tpu"``.
        index: TensorFlow's number for it, from 0.
        model: The maker's name for it.
        memory_bytes: Its own memory; None where nothing tells.
        details: What else shows: ``compute_capability``, ``interconnect``; ``accelerator_type``,
            ``topology``.
    """

    kind: Literal["gpu", "tpu"]
    index: int
    model: str
    memory_bytes: int | None = None
    details: dict[str, str | int | float | bool] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class NvidiaDriver:
    """What NVIDIA's driver tells.

    Attributes:
        version: The driver's version; None where there is no driver.
        gpus: Name and memory in bytes (None where unknown) of each GPU, in the driver's own order, which
            need not be TensorFlow's.
        interconnects: How each of these is connected, such as ``"PCIe 5 ×16, NVLink ×18"``; None: untold.
        problem: Why the GPUs could not be read, in words; None where they were.
    """

    version: str | None = None
    gpus: tuple[tuple[str, int | None], ...] = ()
    interconnects: tuple[str | None, ...] = ()
    problem: str | None = None


@dataclass(frozen=True, kw_only=True)
class Listing:
    """The accelerators of this machine, the NVIDIA driver's version, and notes in words."""

    accelerators: tuple[Accelerator, ...]
    driver: str | None
    notes: tuple[str, ...]


def collect_accelerators(root: Path = Path("/"), environ: Mapping[str, str] = os.environ) -> Listing:
    """Returns the accelerators that TensorFlow could use here; neither a GPU nor a TPU is initialised.

    Never fails: a missing driver or a library that misbehaves becomes a note.
    """
    notes: list[str] = []
    driver = read_nvidia_driver(root)
    gpu_details: list[Mapping[str, Any]] = []
    num_tpus, topology = 0, None
    try:
        import tensorflow as tf

        gpu_details = [
            tf.config.experimental.get_device_details(gpu) for gpu in tf.config.list_physical_devices("GPU")
        ]
        num_tpus, topology = len(tf.config.list_physical_devices("TPU")), _initialised_topology()
    except Exception as error:  # a broken installation raises anything
        notes.append(f"TensorFlow did not list its devices: {error}")
    gpus, gpu_notes = describe_gpus(gpu_details, driver)
    tpus, tpu_notes = describe_tpus(num_tpus, topology, root, environ)
    return Listing(accelerators=(*gpus, *tpus), driver=driver.version, notes=(*notes, *gpu_notes, *tpu_notes))


def read_nvidia_driver(root: Path = Path("/"), nvml: Any = None) -> NvidiaDriver:
    """Returns what NVML tells of the driver and its GPUs, else the version that the kernel module shows.

    Args:
        root: Stands for ``/``.
        nvml: The module `pynvml`; None imports it.
    """
    version = _kernel_module_version(root)
    try:
        if nvml is None:
            import pynvml

            nvml = pynvml
    except ImportError:
        return NvidiaDriver(version=version, problem="nvidia-ml-py is not installed")
    try:
        nvml.nvmlInit()
    except Exception as error:  # NVMLError where there is no driver; OSError and more where it is broken
        return NvidiaDriver(version=version, problem=str(error))
    try:
        handles = [nvml.nvmlDeviceGetHandleByIndex(index) for index in range(nvml.nvmlDeviceGetCount())]
        return NvidiaDriver(
            version=_decode(nvml.nvmlSystemGetDriverVersion()),
            gpus=tuple((_decode(nvml.nvmlDeviceGetName(one)), _nvml_memory(nvml, one)) for one in handles),
            interconnects=tuple(_nvml_interconnect(nvml, one) for one in handles),
        )
    except Exception as error:
        return NvidiaDriver(version=version, problem=str(error))
    finally:
        with contextlib.suppress(Exception):
            nvml.nvmlShutdown()


def describe_gpus(
    listed: Sequence[Mapping[str, Any]], driver: NvidiaDriver
) -> tuple[tuple[Accelerator, ...], tuple[str, ...]]:
    """Returns TensorFlow's GPUs with the memory that the driver tells, and notes on what is amiss.

    A GPU's memory is found by its name, since TensorFlow and the driver number GPUs differently; it stays
    unknown where GPUs of one name differ in memory, or where the name is that of a slice (MIG).

    Args:
        listed: TensorFlow's details of each GPU, in its order.
        driver: What NVML told.
    """
    gpus = []
    for index, details in enumerate(listed):
        model = str(details.get("device_name", "GPU"))
        sizes = {memory for name, memory in driver.gpus if name == model}
        links = {
            link for (name, _), link in zip(driver.gpus, driver.interconnects, strict=False) if name == model
        }
        capability = details.get("compute_capability")
        told: dict[str, str | int | float | bool] = {}
        if capability:
            told["compute_capability"] = "{}.{}".format(*capability)
        if len(links) == 1 and (link := links.pop()):
            told["interconnect"] = link
        gpus.append(
            Accelerator(
                kind="gpu",
                index=index,
                model=model,
                memory_bytes=sizes.pop() if len(sizes) == 1 else None,
                details=told,
            )
        )
    if driver.gpus and not gpus:
        names = ", ".join(name for name, _ in driver.gpus)
        note = (
            f"The NVIDIA driver shows {names}, but TensorFlow lists no GPU: install its CUDA libraries with "
            "pip install 'tpuens[cuda]', and check that CUDA_VISIBLE_DEVICES does not hide it."
        )
        return (), (note,)
    if any(gpu.memory_bytes is None for gpu in gpus):
        why = f" ({driver.problem})" if driver.problem else ""
        return tuple(gpus), (f"The memory of a GPU could not be told{why}.",)
    return tuple(gpus), ()


def describe_tpus(
    num_listed: int, topology: Any, root: Path, environ: Mapping[str, str]
) -> tuple[tuple[Accelerator, ...], tuple[str, ...]]:
    """Returns the TPUs of this machine, or of the whole slice once it is initialised, and notes.

    Args:
        num_listed: TPU devices that TensorFlow lists; 0 where it has no TPU support.
        topology: The `tf.tpu.experimental.Topology` of an initialised TPU, else None.
        root: Stands for ``/``; the PCI bus and /dev are read.
        environ: TPU_ACCELERATOR_TYPE, TPU_TOPOLOGY, TPU_WORKER_ID and TPU_NAME are read.
    """
    chips = _pci_tpu_models(root)
    nodes = [*(root / "dev").glob("accel[0-9]*"), *(root / "dev/vfio").glob("[0-9]*")]
    accelerator_type = environ.get("TPU_ACCELERATOR_TYPE", "")
    model = _tpu_model(accelerator_type) or (chips[0] if chips else "TPU")
    details: dict[str, str | int | float | bool] = {}
    if accelerator_type:
        details["accelerator_type"] = accelerator_type
    if environ.get("TPU_TOPOLOGY"):
        details["topology"] = environ["TPU_TOPOLOGY"]
    if environ.get("TPU_WORKER_ID", "").isdecimal():
        details["worker"] = int(environ["TPU_WORKER_ID"])
    notes = []
    if topology is not None:
        details["mesh_shape"] = "x".join(str(size) for size in topology.mesh_shape)
        details["num_hosts"] = int(topology.num_tasks)
        num_listed = int(topology.num_tasks * topology.num_tpus_per_task)
    elif environ.get("TPU_NAME", "local") != "local":
        notes.append("TPU_NAME names a TPU that is reached over the network; it is listed once it is opened.")
    elif (chips or (accelerator_type and nodes)) and not num_listed:
        notes.append(
            f"This machine has {len(chips) or len(nodes)} {model} chip(s), but TensorFlow lists no TPU: "
            f"{tpu_remedy()}."
        )
        num_listed = len(chips) or len(nodes)
    tpus = (
        Accelerator(kind="tpu", index=index, model=model, details=dict(details))
        for index in range(num_listed)
    )
    return tuple(tpus), tuple(notes)


def tpu_remedy() -> str:
    """Returns what to do where a TPU is there and TensorFlow lists none."""
    try:
        metadata.version("tensorflow-tpu")
    except metadata.PackageNotFoundError:
        return "install tensorflow-tpu in place of tensorflow (see 'On a TPU VM' in the README)"
    return "another process holds them, and only one at a time can: end it"


def peak_device_memory() -> dict[str, int]:
    """Returns the most bytes that TensorFlow has held at once on each GPU and TPU, by ``"GPU:0"``.

    What it reserved without using is not counted. Devices that keep no such statistics, the CPU first
    among them, are absent. TensorFlow is started if it is not running yet.
    """
    import tensorflow as tf

    peaks = {}
    for device in tf.config.list_logical_devices():
        if device.device_type == "CPU":
            continue  # its memory is the process's; oneDNN's allocator would report a peak of 0
        name = device.name.removeprefix("/device:")
        # ValueError: the device keeps no statistics. Plug-in devices raise errors of their own.
        with contextlib.suppress(ValueError, NotImplementedError, tf.errors.OpError):
            peaks[name] = int(tf.config.experimental.get_memory_info(name)["peak"])
    return peaks


def _initialised_topology() -> Any:
    """Returns the topology of the TPU that this process has initialised, or None.

    TensorFlow hands it to whoever initialises the TPU and keeps it for later in this module only.
    """
    module = sys.modules.get("tensorflow.python.tpu.tpu_strategy_util")
    systems = module.get_initialized_tpu_systems() if module is not None else {}
    return next(iter(systems.values()), None)


def _pci_tpu_models(root: Path) -> list[str]:
    models = []
    for vendor in sorted((root / "sys/bus/pci/devices").glob("*/vendor")):
        with contextlib.suppress(OSError):
            device = (vendor.parent / "device").read_text().strip()
            if vendor.read_text().strip() == _TPU_PCI_VENDOR and device in _TPU_PCI_MODELS:
                models.append(_TPU_PCI_MODELS[device])
    return models


def _tpu_model(accelerator_type: str) -> str | None:
    """Returns ``"TPU v5e"`` for a type such as ``"v5litepod-8"``, or None."""
    generation = accelerator_type.lower().partition("-")[0]
    if generation in _TPU_TYPES:
        return _TPU_TYPES[generation]
    return f"TPU {generation}" if re.fullmatch(r"v\d+[a-z]?", generation) else None


def _kernel_module_version(root: Path) -> str | None:
    with contextlib.suppress(OSError):
        found = re.search(r"\d+\.\d+(\.\d+)?", (root / "proc/driver/nvidia/version").read_text())
        return found[0] if found else None
    return None


def _nvml_memory(nvml: Any, handle: Any) -> int | None:
    try:
        return int(nvml.nvmlDeviceGetMemoryInfo(handle).total)
    except Exception:  # GPUs that share the host's memory have none of their own to tell
        return None


def _nvml_interconnect(nvml: Any, handle: Any) -> str | None:
    """Returns the widest PCIe that GPU and board allow, and how many NVLinks are up; None where untold."""
    words, links = [], 0
    with contextlib.suppress(Exception):  # NVMLError of a GPU that has none
        generation = nvml.nvmlDeviceGetMaxPcieLinkGeneration(handle)
        words.append(f"PCIe {generation} ×{nvml.nvmlDeviceGetMaxPcieLinkWidth(handle)}")
    with contextlib.suppress(Exception):
        for link in range(nvml.NVML_NVLINK_MAX_LINKS):
            links += nvml.nvmlDeviceGetNvLinkState(handle, link) == nvml.NVML_FEATURE_ENABLED
    return ", ".join([*words, *([f"NVLink ×{links}"] if links else [])]) or None


def _decode(text: str | bytes) -> str:
    return text.decode() if isinstance(text, bytes) else text  # bytes before nvidia-ml-py 12
