"""The table that ``tpuens devices`` prints."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from .devices import DeviceReport

if TYPE_CHECKING:
    from rich.console import RenderableType


def format_devices(report: DeviceReport, availability: Mapping[str, str | None]) -> "RenderableType":
    """Returns what to print, with rich, of a machine and the strategies that can run on it.

    Args:
        report: The machine.
        availability: By strategy, None where it can run, else why it cannot, in words.
    """
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    facts = Table(show_header=False, box=None, pad_edge=False)
    facts.add_column(style="bold", no_wrap=True)
    facts.add_column()
    for name, value in list_facts(report):
        facts.add_row(name, Text(value))
    strategies = Table(box=None, pad_edge=False)
    strategies.add_column("Strategy", no_wrap=True)
    strategies.add_column("Here")
    for name, reason in availability.items():
        here = Text("can run", style="green") if reason is None else Text(f"cannot: {reason}", style="dim")
        strategies.add_row(Text(name), here)
    notes = [Text(f"\nNote: {note}", style="yellow") for note in report.notes]
    return Group(facts, "", strategies, *notes)


def list_facts(report: DeviceReport) -> list[tuple[str, str]]:
    """Returns the facts of a machine as pairs of a name and a text, in the order to show them."""
    host, cpu = report.host, report.host.cpu
    cores = f"{cpu.physical_cores or '?'} physical, {cpu.logical_cores} logical"
    if cpu.usable_cores < cpu.logical_cores:
        cores += f"; this process may use {cpu.usable_cores:.3g}"
    if cpu.numa_nodes and cpu.numa_nodes > 1:
        cores += f"; {cpu.numa_nodes} NUMA nodes"
    memory = _gib(host.memory_bytes)
    if host.usable_memory_bytes < host.memory_bytes:
        memory += f"; this process may use {_gib(host.usable_memory_bytes)}"
    system = host.operating_system
    if host.container:
        system += f"; in a container ({host.container})"
    if host.hypervisor:
        system += f"; in a virtual machine ({host.hypervisor})"
    facts = [
        ("Processor", cpu.model),
        ("Cores", cores),
        ("Instructions", ", ".join(cpu.isa) or "unknown"),
        ("Memory", memory),
        ("System", system),
    ]
    for one in report.accelerators:
        about = [_gib(one.memory_bytes)] if one.memory_bytes else []
        about += [f"{key.replace('_', ' ')} {value}" for key, value in one.details.items()]
        facts.append((f"{one.kind.upper()} {one.index}", ", ".join([one.model, *about])))
    if not report.accelerators:
        facts.append(("Accelerators", "none"))
    if report.driver:
        facts.append(("NVIDIA driver", report.driver))
    facts.append(("Versions", ", ".join(f"{name} {version}" for name, version in report.versions.items())))
    return facts


def _gib(size: int) -> str:
    return f"{size / 2**30:.1f} GiB"
