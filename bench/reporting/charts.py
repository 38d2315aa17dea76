"""The report's charts, in the order of the page."""

from collections.abc import Callable, Sequence

from ..analysis.summary import Kind, Row
from ..records.record import RunRecord
from .drawing import Chart
from .growth import draw_growth
from .outcome_charts import draw_accuracy, draw_memory, draw_phases
from .roofline import draw_rooflines
from .speed_charts import draw_latency, draw_matrix_products, draw_throughput
from .svg import drawing_style
from .waterfall import draw_waterfalls

Draw = Callable[[Sequence[Row], str], Chart]

# Of each kind of chart; there are fewer scenarios than this.
CHART_LIMIT = 12
SWEPT = "input-growth"  # whose lines say more than bars


def draw_charts(rows: Sequence[Row], records: Sequence[RunRecord]) -> list[Chart]:
    """Returns every chart that there is something for.

    Args:
        rows: As `bench.analysis.pooling.pool` gives them.
        records: The records that the rows come from.
    """
    with drawing_style():
        charts: list[Chart | None] = [
            *_each_scenario(
                [row for row in rows if row.workload.scenario != SWEPT], "throughput", draw_throughput
            ),
            *draw_growth(rows, "chart-growth"),
            draw_waterfalls(rows, "chart-waterfall"),
            *_each_scenario(rows, "latency", draw_latency),
            *_each_scenario(rows, "kernel", draw_matrix_products),
            *draw_rooflines(rows, "chart-roofline"),
            draw_accuracy(records, "chart-accuracy"),
            draw_phases(records, "chart-phases"),
            draw_memory(records, "chart-memory"),
        ]
    return [chart for chart in charts if chart]


def _each_scenario(rows: Sequence[Row], kind: Kind, draw: Draw) -> list[Chart]:
    scenarios: dict[str, list[Row]] = {}
    for row in rows:
        if row.kind == kind and row.result:
            scenarios.setdefault(row.workload.scenario, []).append(row)
    groups = list(scenarios.values())[:CHART_LIMIT]
    return [draw(group, f"chart-{kind}-{number}") for number, group in enumerate(groups)]
