"""Where the time of a training step goes, as stacked bars and in words."""

from collections.abc import Iterable, Sequence
from typing import Any

from ..analysis.labels import label_words, tell_apart, workload_name
from ..analysis.statistics import waiting_verdict
from ..analysis.summary import Row
from ..analysis.waterfall import Part, Waterfall
from .drawing import BAR_LIMIT, Chart, add_grid, add_legend, finish_chart, make_lines
from .numbers import format_number, format_percent
from .svg import PALETTE

_PARTS: dict[Part, str] = {
    "input": "waiting for input",
    "host": "host: calling the step",
    "compute": "compute, inside the call of the step",
    "device": "waiting for the device",
    "fence": "the fence itself",
}


def explain_waterfalls(rows: Iterable[Row]) -> list[str]:
    """Returns a sentence for each training that was taken apart: how it waits, and what would mend that."""
    return [_explain(row, row.waterfall) for row in rows if row.waterfall]


def draw_waterfalls(rows: Sequence[Row], name: str) -> Chart | None:
    """Returns the parts of each training's step as stacked bars, in per cent; None where there are none."""
    found = [(row, row.waterfall) for row in rows if row.waterfall]
    if not found:
        return None
    shown = found[:BAR_LIMIT]
    machines = {row.machine for row, _ in shown}
    labels, common = tell_apart([_words(row, with_machine=len(machines) > 1) for row, _ in shown])
    parts = [part for part in _PARTS if any(part in waterfall.parts for _, waterfall in shown)]
    title = "Where the time of a training step goes"
    axes = make_lines(
        [(label, _figure(waterfall)) for label, (_, waterfall) in zip(labels, shown, strict=True)],
        title=title,
        legend_lines=len(parts),
    )
    entries: list[tuple[Any, str, str]] = []
    starts = [0.0] * len(shown)
    # Colours belong to the parts, so that a part looks the same on every page.
    for part in parts:
        percents = [100 * one.parts.get(part, 0.0) / one.step_seconds for _, one in shown]
        colour = PALETTE[list(_PARTS).index(part)]
        bars = axes.barh(range(len(shown)), percents, left=starts, height=0.42, color=colour)
        entries.append((bars, _PARTS[part], ""))
        starts = [start + percent for start, percent in zip(starts, percents, strict=True)]
    axes.set_xlim(0, 100)
    axes.set_xlabel("share of a step (%)")
    add_grid(axes, "x")
    add_legend(axes, entries)
    reading = (
        "Behind each label stands the time of a mean step. Waiting for input is measured where it happens; "
        "under 5 % is fine, over 20 % is input-bound."
    )
    if any(waterfall.on_cpu for _, waterfall in shown):
        reading += " On a CPU the pipeline works on the step's own cores, so that compute takes longer too."
    return finish_chart(
        axes,
        name,
        title,
        reading,
        common=common,
        left_out=len(found) - len(shown),
    )


def _words(row: Row, *, with_machine: bool) -> list[str]:
    words = label_words(row.workload, row.configuration, (row.workload.scenario, row.distinction))
    return [*words, row.machine] if with_machine else words


def _figure(waterfall: Waterfall) -> str:
    share = waterfall.input_share
    waits = f", waits {share:.0%}" if share is not None else ""
    return f"{_milliseconds(waterfall.step_seconds)}{waits}"


def _milliseconds(seconds: float) -> str:
    return f"{format_number(1e3 * seconds)} ms"


def _explain(row: Row, waterfall: Waterfall) -> str:
    what = f"{row.workload.scenario} {workload_name(row.workload)}".strip()
    where = f"{row.configuration.strategy}, batch {row.batch_size}, on {row.machine}"
    clauses = [_wait_clause(waterfall), _synchronise_clause(row, waterfall)]
    return f"{what} ({where}) {' '.join(clause for clause in clauses if clause)}"


def _wait_clause(waterfall: Waterfall) -> str:
    shares = ", ".join(
        f"{part} {format_percent(seconds / waterfall.step_seconds)}"
        for part, seconds in waterfall.parts.items()
        if part != "input"
    )
    share = waterfall.input_share
    if share is None:
        return f"takes {_milliseconds(waterfall.step_seconds)} a step: {shares}."
    verdict = waiting_verdict(share).replace("look", "worth a look")
    waits = f"waits for input {format_percent(share)} of the time"
    if verdict == "fine":
        return f"{waits}, which is fine: {shares}."
    if waterfall.needed_examples_per_second is None:
        return f"{waits} ({verdict})."
    return f"{waits} ({verdict}); {_advise(waterfall)}"


def _advise(waterfall: Waterfall) -> str:
    """Returns what the pipeline would have to do for the wait to vanish, and whether threads would help."""
    needed, ratio = waterfall.needed_examples_per_second or 0.0, waterfall.needed_ratio or 1.0
    times = "twice" if round(ratio, 1) == 2 else f"{ratio:.1f} times"
    rate = f"{format_number(needed)} images/s for the wait to vanish"
    alone = waterfall.input_examples_per_second
    if alone is not None and alone >= needed:
        why = (
            "it shares the cores with the training, so that more threads would hardly help"
            if waterfall.on_cpu
            else "look at how batches reach the device, and at the prefetch, before adding threads"
        )
        return (
            f"the pipeline would have to deliver {rate}, and alone it does "
            f"({format_number(alone)} images/s): {why}."
        )
    threads, calls = waterfall.needed_parallel_calls, waterfall.parallel_calls
    if threads is None:
        return f"the pipeline would have to deliver {rate}, {times} what it does."
    noun = "decode threads" if waterfall.decodes else "input threads"
    too_many = waterfall.cores is not None and threads > waterfall.cores
    beyond = (
        f", more than the {waterfall.cores:g} cores here: smaller files, a cache or another machine would do"
        if too_many
        else ""
    )
    return (
        f"{times} the {noun} would be needed by estimate, {threads} in place of {calls}{beyond}: the "
        f"pipeline would have to deliver {rate}."
    )


def _synchronise_clause(row: Row, waterfall: Waterfall) -> str:
    share = waterfall.synchronise_share
    if share is None or waterfall.synchronise_seconds is None:
        return ""
    return (
        f"Summing gradients over {row.configuration.num_replicas} replicas takes "
        f"{_milliseconds(waterfall.synchronise_seconds)} by itself, at most "
        f"{format_percent(share)} of a step."
    )
