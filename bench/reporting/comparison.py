"""The table that sets one machine beside another."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..analysis.labels import workload_name
from ..analysis.machines import MachineRatio, choose_reference, compare_machines
from ..analysis.summary import Row
from .columns import result_text, scenario_text
from .numbers import format_number, plain
from .tables import ROW_LIMIT, Table


@dataclass(frozen=True, kw_only=True)
class _Column:
    header: str
    text: Callable[[MachineRatio], str]
    numeric: bool = False
    wraps: bool = False


def comparison_table(rows: Sequence[Row], machines: Sequence[str], reference: str | None) -> Table | None:
    """Returns the speed-ups over the reference machine; None where there is but one machine.

    Args:
        rows: As `bench.analysis.pooling.pool` gives them.
        machines: The names of all; the first is the reference unless told.
        reference: The name of a machine.

    Raises:
        ConfigurationError: No record is of the reference machine.
    """
    if reference is not None or machines:
        reference = choose_reference(machines, reference)
    if reference is None or len(machines) < 2:
        return None
    ratios = compare_machines(rows, reference)
    explanation = (
        f"Speed-up over the reference machine {reference!r}: above 1 is faster. Only the same workload and "
        "the same reading stand side by side; “fixed”: but for the device both are configured alike. "
        "No ratio claims a comparison; the last column says why. An accuracy is that of the same backbone "
        "on the same data, from the scenario in brackets."
    )
    if not ratios:
        explanation += " No workload gave a result on the reference machine and on another one."
    columns = [column for column in _COLUMNS if not ratios or any(map(column.text, ratios))]
    return Table(
        name="machines",
        title="Machine beside machine",
        explanation=plain(explanation),
        headers=tuple(column.header for column in columns),
        numeric=tuple(column.numeric for column in columns),
        wraps=tuple(column.wraps for column in columns),
        rows=tuple(tuple(plain(column.text(ratio)) for column in columns) for ratio in ratios[:ROW_LIMIT]),
        left_out=max(0, len(ratios) - ROW_LIMIT),
    )


def _strategy(row: Row) -> str:
    strategy = row.configuration.strategy
    device = dict(row.parameters).get("device", strategy)
    return strategy if device == strategy else f"{strategy}, on its {device}"


def _accuracy(row: Row | None) -> str:
    if row is None:
        return ""
    return f"{100 * row.metrics['top_1_accuracy']:.1f} ({row.workload.scenario})"


_COLUMNS = (
    _Column(header="scenario", text=lambda ratio: scenario_text(ratio.row)),
    _Column(header="backbone@size", text=lambda ratio: workload_name(ratio.row.workload)),
    _Column(header="batch", text=lambda ratio: str(ratio.row.batch_size or ""), numeric=True),
    _Column(header="machine", text=lambda ratio: ratio.row.machine),
    _Column(header="speed-up", text=lambda ratio: f"{format_number(ratio.speed_up)} ×", numeric=True),
    _Column(header="strategy", text=lambda ratio: _strategy(ratio.row)),
    _Column(header="result", text=lambda ratio: result_text(ratio.row), numeric=True),
    _Column(header="top-1 accuracy (%)", text=lambda ratio: _accuracy(ratio.accuracy)),
    _Column(header="reference strategy", text=lambda ratio: _strategy(ratio.reference)),
    _Column(header="reference result", text=lambda ratio: result_text(ratio.reference), numeric=True),
    _Column(header="reference accuracy (%)", text=lambda ratio: _accuracy(ratio.reference_accuracy)),
    _Column(header="division", text=lambda ratio: ratio.division, wraps=True),
    _Column(
        header="set-up: reference → this one",
        text=lambda ratio: "; ".join(ratio.setup_differences),
        wraps=True,
    ),
    _Column(header="what it says", text=lambda ratio: ratio.claim, wraps=True),
)
