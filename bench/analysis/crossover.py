"""From which size on an accelerator passes the CPU of its own machine in matrix products."""

from collections.abc import Iterable
from dataclasses import dataclass

from ..records.record import Configuration
from .labels import identity
from .summary import Row

CPU = "cpu"


@dataclass(frozen=True, kw_only=True)
class Crossover:
    """The products of one run, or of all repeats of it, on its CPU and on its accelerator.

    Attributes:
        accelerator: "gpu" or "tpu"; None where the run had the CPU alone, or an accelerator alone.
        sizes: The sizes n that both computed, ascending; those of the one device where there is one.
        passes_at: The smallest of these from which on the accelerator is faster at every one; None: never.
        best_n: The size at which a device reached its best rate.
        best_flops_per_second: That rate.
    """

    machine: str
    configuration: Configuration
    distinction: str
    accelerator: str | None
    sizes: tuple[int, ...]
    passes_at: int | None
    best_n: int
    best_flops_per_second: float


def find_crossovers(rows: Iterable[Row]) -> list[Crossover]:
    """Returns one crossover for each machine, configuration and set-up that multiplied matrices.

    Args:
        rows: As `bench.analysis.pooling.pool` gives them; those that are no matrix products are passed over.
    """
    groups: dict[tuple[object, ...], list[Row]] = {}
    for row in rows:
        if row.kind == "kernel" and row.flops_per_second:
            key = (row.machine, identity(row.workload), identity(row.configuration), row.setup)
            groups.setdefault(key, []).append(row)
    return [_find_crossover(group) for group in groups.values()]


def _find_crossover(rows: list[Row]) -> Crossover:
    rates: dict[str, dict[int, float]] = {}
    for row in rows:
        parameters = dict(row.parameters)
        device = str(parameters.get("device", row.configuration.strategy))
        rates.setdefault(device, {})[int(parameters["n"])] = row.flops_per_second or 0.0
    accelerator = next((device for device in rates if device != CPU), None) if CPU in rates else None
    sizes = sorted(set.intersection(*(set(of_device) for of_device in rates.values())))
    best, best_n = max((rate, n) for of_device in rates.values() for n, rate in of_device.items())
    passes_at = None
    for n in reversed(sizes) if accelerator else ():
        if rates[accelerator or ""][n] <= rates[CPU][n]:
            break
        passes_at = n
    return Crossover(
        machine=rows[0].machine,
        configuration=rows[0].configuration,
        distinction=rows[0].distinction,
        accelerator=accelerator,
        sizes=tuple(sizes),
        passes_at=passes_at,
        best_n=best_n,
        best_flops_per_second=best,
    )
