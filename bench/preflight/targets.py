"""The devices that a graph can be compiled for without having one."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from tpuens.errors import ConfigurationError, unknown_name_error
from tpuens.hardware.catalogue import DeviceFacts, find_device

from .gpus import A100_40GB, A100_80GB, H100, Card

_GIB = 2**30


@dataclass(frozen=True, kw_only=True)
class Compiler:
    """What compiles for a kind of device.

    Attributes:
        need: Which device needs which, to be read after "Compiling for".
        extra: What of this package brings it.
        packages: Whose versions decide what it says.
    """

    need: str
    extra: str
    packages: tuple[str, ...]


COMPILERS = {
    "tpu": Compiler(
        need="a TPU needs Google's compiler", extra="preflight", packages=("jax", "jaxlib", "libtpu")
    ),
    "cuda": Compiler(
        need="a GPU needs XLA's compiler for CUDA",
        extra="preflight-gpu",
        packages=("jax", "jaxlib", "jax-cuda12-pjrt"),
    ),
}


@dataclass(frozen=True, kw_only=True)
class Target:
    """A device, and how the compiler calls a machine that has some.

    Attributes:
        name: What users type.
        device: Its name in the catalogue.
        topology: The compiler's name for a machine with this device.
        replicas: How many devices that machine has.
        memory_gib: What the compiler allows a program on one device, in GiB: its own message when one does
            not fit (libtpu 0.0.42.1). Of a GPU all its memory: that compiler refuses nothing.
        link_gb_per_second: Of one link of a chip, each way; None where no sheet was read. From Google Cloud's
            TPU documentation (2026-11): the all-reduce bandwidth of a pod over its chips and the links of
            each, four in a 2D torus and six in a 3D one; of v5p half of what its links move both ways.
        options: More of what the topology is made with.
        platform: A key of `COMPILERS`.
    """

    name: str
    device: str
    topology: str
    replicas: int
    memory_gib: float
    link_gb_per_second: float | None = None
    options: dict[str, str] = field(default_factory=dict)
    platform: Literal["tpu", "cuda"] = "tpu"

    @property
    def compiler(self) -> Compiler:
        """Returns what compiles for it."""
        return COMPILERS[self.platform]

    @property
    def facts(self) -> DeviceFacts:
        """Returns what is published of the device."""
        facts = find_device(self.device)
        assert facts is not None, self.device
        return facts

    @property
    def memory_bytes(self) -> int:
        """Returns what the compiler allows a program on one device."""
        return round(self.memory_gib * _GIB)


def _gpu(name: str, device: str, card: Card) -> Target:
    machine = "1x1x8"  # hosts, processes on each, GPUs of each
    return Target(
        name=name,
        device=device,
        topology=machine,
        replicas=8,
        memory_gib=card.memory_bytes / _GIB,
        options={"topology": machine, "target_config": card.describe()},
        platform="cuda",
    )


TARGETS = {
    target.name: target
    for target in (
        Target(name="v2", device="TPU v2", topology="v2:2x2", replicas=8, memory_gib=7.48),
        Target(
            name="v3",
            device="TPU v3",
            topology="v3:2x2",
            replicas=8,
            memory_gib=15.48,
            link_gb_per_second=340_000 / 1024 / 4,
        ),
        Target(
            name="v4",
            device="TPU v4",
            topology="v4:2x2x1",
            replicas=4,
            memory_gib=30.75,
            link_gb_per_second=1_100_000 / 4096 / 6,
            options={"chip_config_name": "megacore"},  # both cores of a chip as one device, as on a TPU VM
        ),
        Target(
            name="v5e",
            device="TPU v5e",
            topology="v5e:2x2",
            replicas=4,
            memory_gib=15.75,
            link_gb_per_second=51_200 / 256 / 4,
        ),
        Target(
            name="v5p",
            device="TPU v5p",
            topology="v5p:2x2x1",
            replicas=4,
            memory_gib=95.74,
            link_gb_per_second=1200 / 2 / 6,
        ),
        Target(
            name="v6e",
            device="TPU v6e",
            topology="v6e:2x2",
            replicas=4,
            memory_gib=31.25,
            link_gb_per_second=102_400 / 256 / 4,
        ),
        Target(name="tpu7x", device="TPU7x", topology="tpu7x:2x2x1", replicas=8, memory_gib=94.75),
        _gpu("a100-40gb", "NVIDIA A100 40GB", A100_40GB),
        _gpu("a100-80gb", "NVIDIA A100 SXM 80GB", A100_80GB),
        _gpu("h100", "NVIDIA H100 SXM", H100),
    )
}


def find_targets(text: str) -> tuple[Target, ...]:
    """Returns the targets of a text such as ``v3,v5e``, each once.

    Raises:
        ConfigurationError: It names none, or one that is not in the table.
    """
    names = dict.fromkeys(name.strip() for name in text.split(",") if name.strip())
    if not names:
        raise ConfigurationError(
            f"Name at least one device to compile for. Expected some of: {', '.join(TARGETS)}. "
            f"Received: target={text!r}"
        )
    for name in names:
        if name not in TARGETS:
            raise unknown_name_error("target", "target", name, TARGETS)
    return tuple(TARGETS[name] for name in names)


def check_replicas(targets: Sequence[Target], replicas: int) -> None:
    """Holds the number of replicas against what one machine of each target has.

    Raises:
        ConfigurationError: There are too many, or none.
    """
    for target in targets:
        if not 1 <= replicas <= target.replicas:
            raise ConfigurationError(
                f"A program for {target.name} is compiled for one machine, which has {target.replicas} "
                f"devices. Expected 1 to {target.replicas}. Received: replicas={replicas}"
            )
