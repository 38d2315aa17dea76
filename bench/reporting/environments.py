"""The recorded facts of the machines, side by side."""

from collections.abc import Mapping, Sequence

from ..analysis.labels import setup_facts
from ..records.record import Environment, Parameter
from .numbers import format_number, plain
from .tables import Table

# Of the values that one fact took in different runs.
_VALUE_LIMIT = 6


def environment_table(environments: Mapping[str, Sequence[Environment]]) -> Table:
    """Returns a row for each fact and a column for each machine.

    Args:
        environments: For each machine by its name all that was recorded with its runs.
    """
    columns = [_facts(known) for known in environments.values()]
    facts = dict.fromkeys(fact for column in columns for fact in column)
    return Table(
        name="environment",
        title="Environment",
        explanation="What was recorded with the runs. Several values: it changed from run to run.",
        headers=("fact", *(plain(name) for name in environments)),
        numeric=(False,) * (1 + len(environments)),
        wraps=(False,) + (True,) * len(environments),
        rows=tuple((plain(fact), *(plain(column.get(fact, "")) for column in columns)) for fact in facts),
    )


def _facts(environments: Sequence[Environment]) -> dict[str, str]:
    words: dict[str, dict[str, None]] = {}
    for environment in environments:
        for fact, value in _words(environment).items():
            if value:
                words.setdefault(fact, {})[value] = None
    return {fact: _join(list(found)) for fact, found in words.items()} | _ranges(environments)


def _words(environment: Environment) -> dict[str, str]:
    facts = {
        "fingerprint": environment.fingerprint,
        "processor": environment.cpu_model,
        "cores": f"{environment.physical_cores or '?'} physical, {environment.logical_cores} logical",
        "NUMA nodes": str(environment.numa_nodes or ""),
        "instruction sets": " ".join(environment.isa),
        "memory": _gibibytes(environment.memory_bytes),
        "memory that may be used": _gibibytes(environment.usable_memory_bytes),
        "operating system": environment.operating_system,
        "container or virtual machine": environment.container or "",
    }
    for number, accelerator in enumerate(environment.accelerators):
        memory = f"{accelerator.memory_bytes / 2**30:.0f} GiB" if accelerator.memory_bytes else ""
        parts = [accelerator.model, memory, *_pairs(accelerator.details)]
        facts[f"{accelerator.kind.upper()} {number}"] = ", ".join(part for part in parts if part)
    facts |= dict(setup_facts(environment))
    facts["seed"] = str(environment.seed) if environment.seed is not None else ""
    return facts


def _ranges(environments: Sequence[Environment]) -> dict[str, str]:
    """Returns what is another number in every run as the range of it."""
    samples = {
        "load before": [environment.load_before for environment in environments],
        "load after": [environment.load_after for environment in environments],
        "processor GHz before": [_giga(one.cpu_frequency_hz_before) for one in environments],
        "processor GHz after": [_giga(one.cpu_frequency_hz_after) for one in environments],
    }
    ranges = {}
    for fact, values in samples.items():
        known = [value for value in values if value is not None]
        if known:
            ends = dict.fromkeys(format_number(end) for end in (min(known), max(known)))
            ranges[fact] = "–".join(ends)
    return ranges


def _gibibytes(size: int | None) -> str:
    return f"{format_number(size / 2**30)} GiB" if size is not None else ""


def _giga(hertz: float | None) -> float | None:
    return hertz / 1e9 if hertz is not None else None


def _pairs(details: Mapping[str, Parameter]) -> list[str]:
    return [f"{name.replace('_', ' ')} {value}" for name, value in details.items()]


def _join(values: Sequence[str]) -> str:
    more = len(values) - _VALUE_LIMIT
    return " / ".join(values[:_VALUE_LIMIT]) + (f" and {more} more" if more > 0 else "")
