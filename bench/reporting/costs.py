"""The table of what runs cost, in dollars and in joules."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ..analysis.economics import Cost, Prices, find_costs
from ..analysis.labels import configuration_text, workload_name
from ..analysis.summary import Row
from ..records.record import RunRecord
from .columns import scenario_text
from .numbers import format_number, plain
from .tables import ROW_LIMIT, Table

_EXPLANATION = (
    "Price × time over the timed part, start-up left out. A machine is rented as a whole, whatever the run "
    "leaves idle. Where the user gave no price (--price), it is the lowest that the catalogue knows of a "
    "machine with as many of the device, or of several machines where it knows none so large, without "
    "storage, traffic and taxes; a device that is not there has none, and neither has a machine without an "
    "accelerator. Energy is what the named meters read, and no other part of the machine; without a "
    "readable meter there is none."
)


@dataclass(frozen=True, kw_only=True)
class _Column:
    header: str
    text: Callable[[Cost], str]
    numeric: bool = False
    wraps: bool = False


def cost_table(
    rows: Sequence[Row], records: Sequence[RunRecord], prices: Mapping[str, float]
) -> Table | None:
    """Returns what each reading costs; None where neither a price nor a meter is known.

    Args:
        rows: As `bench.analysis.pooling.pool` gives them.
        records: Those that the rows come from.
        prices: Those that the user gives.

    Raises:
        ConfigurationError: A price is of no known machine, SKU or device.
    """
    labels = {record.environment.machine_label for record in records if record.environment}
    costs = find_costs(rows, records, Prices(prices, labels))
    if not costs:
        return None
    columns = [column for column in _COLUMNS if any(map(column.text, costs))]
    return Table(
        name="costs",
        title="Cost and energy",
        explanation=_EXPLANATION,
        headers=tuple(column.header for column in columns),
        numeric=tuple(column.numeric for column in columns),
        wraps=tuple(column.wraps for column in columns),
        rows=tuple(tuple(plain(column.text(cost)) for column in columns) for cost in costs[:ROW_LIMIT]),
        left_out=max(0, len(costs) - ROW_LIMIT),
    )


def _amount(value: float | None) -> str:
    return format_number(value) if value is not None else ""


_COLUMNS = (
    _Column(header="scenario", text=lambda cost: scenario_text(cost.row)),
    _Column(header="backbone@size", text=lambda cost: workload_name(cost.row.workload)),
    _Column(header="strategy", text=lambda cost: cost.row.configuration.strategy),
    _Column(header="machine", text=lambda cost: cost.row.machine),
    _Column(header="batch", text=lambda cost: str(cost.row.batch_size or ""), numeric=True),
    _Column(header="USD a million images", text=lambda cost: _amount(cost.per_million), numeric=True),
    _Column(header="USD an epoch", text=lambda cost: _amount(cost.per_epoch), numeric=True),
    _Column(header="USD to the target accuracy", text=lambda cost: _amount(cost.to_accuracy), numeric=True),
    _Column(header="energy (J an image)", text=lambda cost: _amount(cost.joules_per_example), numeric=True),
    _Column(header="meters", text=lambda cost: ", ".join(cost.meters)),
    _Column(header="price", text=lambda cost: cost.tariff.origin if cost.tariff else "not known", wraps=True),
    _Column(header="details", text=lambda cost: configuration_text(cost.row.configuration), wraps=True),
)
