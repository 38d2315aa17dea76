"""The machine without its accelerators: processor, memory, operating system, container. No TensorFlow.

On Linux /proc and /sys are read directly, which takes a millisecond; elsewhere py-cpuinfo tells, which
starts processes and takes up to a second. `root` stands for ``/`` in every function, so that what another
machine shows can be planted in a folder.
"""

import contextlib
import os
import platform
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

ROOT = Path("/")

# What a kernel's guest-only clock, or the firmware's maker, gives away. The first that fits counts.
_HYPERVISOR_MARKS = (
    ("google compute engine", "google"),
    ("amazon ec2", "amazon"),
    ("microsoft corporation virtual machine", "hyper-v"),
    ("vmware", "vmware"),
    ("virtualbox", "virtualbox"),
    ("xen", "xen"),
    ("hyperv", "hyper-v"),
    ("apple virtualization", "apple"),
    ("kvm", "kvm"),
    ("qemu", "qemu"),
)
_CGROUP_MARKS = (
    ("kubepods", "kubernetes"),
    ("libpod", "podman"),
    ("docker", "docker"),
    ("lxc", "lxc"),
    ("containerd", "containerd"),
)
_ISA_NAMES = {"sse4_2", "avx", "avx2", "fma", "f16c", "neon", "sve", "sve2", "i8mm", "bf16"}
_ISA_PREFIXES = ("avx512", "avx_vnni", "amx_")
_ISA_SYNONYMS = {"asimd": "neon", "avx1_0": "avx"}


@dataclass(frozen=True, kw_only=True)
class Cpu:
    """The processors of a machine.

    Attributes:
        model: The maker's name for it.
        physical_cores: Cores of the machine; None where the system does not tell.
        logical_cores: Hardware threads of the machine.
        usable_cores: Hardware threads that this process may keep busy: what its affinity mask and the CPU
            quota of its container leave, such as 1.5.
        numa_nodes: Memory nodes; None where the system does not tell.
        isa: The instruction sets that matter to TensorFlow, as Linux spells them, sorted.
    """

    model: str
    physical_cores: int | None
    logical_cores: int
    usable_cores: float
    numa_nodes: int | None
    isa: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Host:
    """A machine without its accelerators.

    Attributes:
        cpu: Its processors.
        memory_bytes: Main memory of the machine.
        usable_memory_bytes: What the container's limit leaves of it.
        operating_system: Distribution, kernel and architecture.
        container: ``"docker"``, ``"kubernetes"``, … as far as it shows.
        hypervisor: ``"kvm"``, ``"amazon"``, … where this is a virtual machine, as far as it shows.
    """

    cpu: Cpu
    memory_bytes: int
    usable_memory_bytes: int
    operating_system: str
    container: str | None
    hypervisor: str | None


def collect_host(root: Path = ROOT) -> Host:
    """Returns what the operating system tells of this machine; never fails for what it does not tell."""
    fields = read_cpuinfo(root)
    model, flags = fields.get("model name"), (fields.get("flags") or fields.get("Features") or "").split()
    if not model or not flags:
        told_model, told_flags = _ask_cpuinfo()
        model, flags = model or told_model, flags or told_flags
    memory = psutil.virtual_memory().total
    limit = read_memory_limit(root)
    logical = psutil.cpu_count() or 1
    return Host(
        cpu=Cpu(
            model=model,
            physical_cores=psutil.cpu_count(logical=False),
            logical_cores=logical,
            usable_cores=float(min(_allowed_cores(logical), read_core_limit(root) or logical)),
            numa_nodes=count_numa_nodes(root),
            isa=select_isa(flags, platform.machine()),
        ),
        memory_bytes=memory,
        usable_memory_bytes=memory if limit is None else min(memory, limit),
        operating_system=_describe_system(),
        container=detect_container(root),
        hypervisor=detect_hypervisor(root),
    )


def read_cpuinfo(root: Path = ROOT) -> dict[str, str]:
    """Returns the fields of the first processor in /proc/cpuinfo; empty where there is no such file."""
    first, _, _ = _read(root / "proc/cpuinfo").partition("\n\n")
    pairs = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}


def select_isa(flags: Iterable[str], machine: str) -> tuple[str, ...]:
    """Returns those of a processor's flags that TensorFlow and oneDNN choose kernels by, sorted.

    Args:
        flags: As /proc/cpuinfo or py-cpuinfo spell them.
        machine: `platform.machine()`; every 64-bit Arm processor has Neon, whether it says so or not.
    """
    names = {flag.lower().replace(".", "_") for flag in flags}
    names = {_ISA_SYNONYMS.get(name, name) for name in names}
    if machine.lower() in ("aarch64", "arm64"):
        names.add("neon")
    return tuple(sorted(name for name in names if name in _ISA_NAMES or name.startswith(_ISA_PREFIXES)))


def count_numa_nodes(root: Path = ROOT) -> int | None:
    """Returns how many memory nodes Linux lists, or None where it lists none."""
    return len(list((root / "sys/devices/system/node").glob("node[0-9]*"))) or None


def read_core_limit(root: Path = ROOT) -> float | None:
    """Returns the CPU quota of this process's control groups in cores (cgroup version 2 or 1), or None."""
    limits = []
    for folder in _cgroup_folders(root, "cpu"):
        text = _read(folder / "cpu.max") or (
            f"{_read(folder / 'cpu.cfs_quota_us')} {_read(folder / 'cpu.cfs_period_us')}"
        )
        quota, _, period = text.strip().partition(" ")
        if quota.strip().isdecimal() and period.strip().isdecimal() and int(period):
            limits.append(int(quota) / int(period))
    return min(limits, default=None)


def read_memory_limit(root: Path = ROOT) -> int | None:
    """Returns the memory limit of this process's control groups in bytes (version 2 or 1), or None."""
    texts = (
        _read(folder / name).strip()
        for folder in _cgroup_folders(root, "memory")
        for name in ("memory.max", "memory.limit_in_bytes")
    )
    # Version 1 writes "no limit" as the largest multiple of a page, 2**63 - 4096.
    return min((int(text) for text in texts if text.isdecimal() and int(text) < 2**62), default=None)


def detect_container(root: Path = ROOT, environ: Mapping[str, str] = os.environ) -> str | None:
    """Returns the kind of container that this process runs in, or None where none shows."""
    for named in (_read(root / "run/systemd/container"), environ.get("container", "")):
        if re.fullmatch(r"[a-z0-9-]+", named.strip()):
            return named.strip()
    if "KUBERNETES_SERVICE_HOST" in environ:
        return "kubernetes"
    if "APPTAINER_CONTAINER" in environ or "SINGULARITY_CONTAINER" in environ:
        return "apptainer"
    if (root / "run/.containerenv").exists():
        return "podman"
    if (root / ".dockerenv").exists():
        return "docker"
    if "microsoft" in _read(root / "proc/sys/kernel/osrelease").lower():
        return "wsl"
    return _first_mark(_read(root / "proc/self/cgroup"), _CGROUP_MARKS)


def detect_hypervisor(root: Path = ROOT) -> str | None:
    """Returns what virtual machine this is, ``"unknown"`` where only that it is one shows, or None.

    On x86 the processor's `hypervisor` flag decides, since a cloud's bare-metal machines carry the same
    maker's name as its virtual ones; on Arm there is no such flag.
    """
    flags = read_cpuinfo(root).get("flags")
    if flags is not None and "hypervisor" not in flags.split():
        return None
    firmware = " ".join(
        _read(root / f"sys/class/dmi/id/{name}").strip() for name in ("sys_vendor", "product_name")
    )
    if flags is None and "metal" in firmware:
        return None
    clocks = _read(root / "sys/devices/system/clocksource/clocksource0/available_clocksource")
    found = _first_mark(f"{firmware} {_read(root / 'sys/hypervisor/type')} {clocks}", _HYPERVISOR_MARKS)
    return found or ("unknown" if flags is not None else None)


def _cgroup_folders(root: Path, controller: str) -> Iterator[Path]:
    """Yields the control group folders whose limits bind this process: its own and all above it.

    A container without a cgroup namespace is told a path of its host's, which it cannot see; its own
    limits then stand at the top.
    """
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        if controllers and controller not in controllers.split(","):
            continue
        top = root / "sys/fs/cgroup" / (controller if controllers else "")
        parts = [part for part in path.split("/") if part]
        for length in range(len(parts), -1, -1):
            yield top.joinpath(*parts[:length])


def _allowed_cores(logical: int) -> int:
    process = psutil.Process()
    return len(process.cpu_affinity()) if hasattr(process, "cpu_affinity") else logical  # not on macOS


def _ask_cpuinfo() -> tuple[str, list[str]]:
    """Returns model and flags as py-cpuinfo has them, or the architecture's name and nothing."""
    # py-cpuinfo raises a bare Exception for an architecture that it does not know.
    with contextlib.suppress(Exception):
        import cpuinfo

        told = cpuinfo.get_cpu_info()
        return told.get("brand_raw") or platform.machine(), list(told.get("flags") or ())
    return platform.processor() or platform.machine() or "unknown", []


def _describe_system() -> str:
    kernel = f"{platform.system()} {platform.release()} {platform.machine()}"
    with contextlib.suppress(OSError):
        return f"{platform.freedesktop_os_release()['PRETTY_NAME']}, {kernel}"
    if platform.system() == "Darwin":
        return f"macOS {platform.mac_ver()[0]}, {kernel}"
    return kernel


def _first_mark(text: str, marks: tuple[tuple[str, str], ...]) -> str | None:
    lowered = text.lower()
    return next((name for mark, name in marks if mark in lowered), None)


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
