"""Charts of speed: throughput, step times, matrix products."""

from collections.abc import Sequence
from typing import Any

from ..analysis.labels import label_words, tell_apart
from ..analysis.summary import Row
from .columns import result_text, spread_text
from .drawing import (
    BAR_LIMIT,
    LINE_LIMIT,
    Chart,
    add_grid,
    add_legend,
    finish_chart,
    make_axes,
    make_lines,
    set_log_scale,
    set_plain_ticks,
)
from .numbers import format_number
from .svg import PALETTE

# A curve of this many points looks like one of all samples.
_CURVE_POINTS = 150
# From this ratio on bars from zero would hide the small ones.
_LOG_FROM = 30


def draw_throughput(rows: Sequence[Row], name: str) -> Chart:
    """Returns bars of examples a second with their spread, of one scenario; dots where they differ widely."""
    shown = rows[:BAR_LIMIT]
    machines = list(dict.fromkeys(row.machine for row in shown))
    crowded = len(machines) > len(PALETTE)  # then colours cannot tell them apart
    labels, common = tell_apart([_words(row, with_machine=crowded) for row in shown])
    values = [row.result or 0 for row in shown]
    wide = max(values) / min(values) > _LOG_FROM
    title = f"Throughput of {rows[0].workload.scenario}"
    axes = make_lines(
        [(label, f"{result_text(row)} {spread_text(row)}") for label, row in zip(labels, shown, strict=True)],
        title=title,
        legend_lines=len(machines) if len(machines) > 1 and not crowded else 0,
    )
    handles: dict[str, Any] = {}
    for place, (row, value) in enumerate(zip(shown, values, strict=True)):
        colour = PALETTE[machines.index(row.machine) % len(PALETTE)]
        if wide:
            (handles[row.machine],) = axes.plot(value, place, "o", color=colour, markersize=7)
        else:
            handles[row.machine] = axes.barh(place, value, height=0.42, color=colour)
        if row.relative_mad:
            axes.errorbar(
                value, place, xerr=row.relative_mad * value, color="#000000", capsize=2.5, linewidth=1
            )
    if wide:
        set_log_scale(axes.xaxis, min(values), max(values))
    else:
        axes.set_xlim(left=0)
        set_plain_ticks(axes.xaxis)
    axes.set_xlabel("examples per second" + (" (logarithmic)" if wide else ""))
    add_grid(axes, "x")
    if len(machines) > 1 and not crowded:
        add_legend(axes, [(handle, machine, "") for machine, handle in handles.items()])
    return finish_chart(
        axes,
        name,
        title,
        f"{'Further right' if wide else 'Longer'} is faster. The whiskers are the median absolute deviation: "
        "of a single run over its blocks, of several over the runs.",
        common=common,
        left_out=len(rows) - len(shown),
    )


def draw_latency(rows: Sequence[Row], name: str) -> Chart:
    """Returns the distribution of step times of one scenario: which share of steps took at most so long."""
    shown = rows[:LINE_LIMIT]
    several = len({row.machine for row in shown}) > 1
    labels, common = tell_apart([_words(row, with_machine=several) for row in shown])
    curves = [_curve([1e3 * sample for sample in row.step_samples]) for row in shown]
    low = min(milliseconds[0] for milliseconds, _ in curves)
    high = max(milliseconds[-1] for milliseconds, _ in curves)
    title = f"Step times of {rows[0].workload.scenario}"
    axes = make_axes(2.4, title=title, legend_lines=len(shown))
    entries = []
    for row, label, colour, (milliseconds, shares) in zip(shown, labels, PALETTE, curves, strict=False):
        (line,) = axes.step(milliseconds, shares, where="post", color=colour, linewidth=1.8)
        entries.append((line, label, f"median {result_text(row)}"))
    if low > 0 and high / low > 10:
        set_log_scale(axes.xaxis, low, high)
    axes.set_ylim(0, 102)
    axes.set_xlabel("milliseconds per step")
    axes.set_ylabel("share of steps (%)")
    add_grid(axes, "both")
    add_legend(axes, entries)
    return finish_chart(
        axes,
        name,
        title,
        "Each curve says which share of the steps took at most so long: further left is faster, steeper is "
        "steadier. Steps of all repeats are drawn together.",
        common=common,
        left_out=len(rows) - len(shown),
    )


def draw_matrix_products(rows: Sequence[Row], name: str) -> Chart:
    """Returns the rate of matrix products against their size, a line for each device of each machine."""
    several = len({row.machine for row in rows}) > 1
    lines: dict[tuple[str, ...], dict[int, float]] = {}
    for row in rows:
        parameters = dict(row.parameters)
        device = str(parameters.get("device", row.configuration.strategy))
        words = [device, *label_words(row.workload, row.configuration, [row.distinction])[1:]]
        key = tuple([*words, row.machine] if several else words)
        lines.setdefault(key, {})[int(parameters["n"])] = (row.result or 0) / 1e9
    shown = list(lines.items())[:LINE_LIMIT]
    labels, common = tell_apart([key for key, _ in shown])
    sizes = sorted({n for _, rates in shown for n in rates})
    rates = [rate for _, line in shown for rate in line.values()]
    title = "Rate of matrix products"
    axes = make_axes(2.4, title=title, legend_lines=len(shown))
    entries = []
    for label, colour, marker, (_, line) in zip(labels, PALETTE, "osD^vP*X", shown, strict=False):
        ordered = sorted(line)
        (handle,) = axes.plot(
            ordered, [line[n] for n in ordered], marker=marker, color=colour, markersize=5, linewidth=1.6
        )
        entries.append((handle, label, f"up to {format_number(max(line.values()))} GFLOP/s"))
    set_log_scale(axes.xaxis, sizes[0], sizes[-1])
    ticks = _spaced(sizes)
    axes.set_xticks(ticks, [f"{n:,}" for n in ticks])
    set_log_scale(axes.yaxis, min(rates), max(rates))
    axes.set_xlabel("n, of n × n matrices (logarithmic)")
    axes.set_ylabel("GFLOP/s (logarithmic)")
    add_grid(axes, "both")
    add_legend(axes, entries)
    return finish_chart(
        axes,
        name,
        title,
        "Higher is faster. A device can hardly do more in such arithmetic; a training step stays below.",
        common=common,
        left_out=len(lines) - len(shown),
    )


def _words(row: Row, *, with_machine: bool) -> list[str]:
    series, parameters = (row.reading, row.distinction), dict(row.parameters)
    words = label_words(row.workload, row.configuration, series, parameters)
    return [*words, row.machine] if with_machine else words


def _spaced(sizes: Sequence[int]) -> list[int]:
    """Returns those sizes whose numbers do not touch each other on a logarithmic axis."""
    gap = (sizes[-1] / sizes[0]) ** 0.12
    ticks = [sizes[0]]
    for size in sizes[1:]:
        if size >= ticks[-1] * gap:
            ticks.append(size)
    return ticks


def _curve(samples: Sequence[float]) -> tuple[list[float], list[float]]:
    """Returns the empirical distribution: sorted values and the share of samples up to each, in per cent."""
    ordered = sorted(samples)
    count = len(ordered)
    stride = max(1, count // _CURVE_POINTS)
    places = sorted({*range(0, count, stride), count - 1})
    values = [ordered[place] for place in places]
    return [values[0], *values], [0.0, *(100 * (place + 1) / count for place in places)]
