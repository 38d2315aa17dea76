"""The chart and the sentences of a scenario's history."""

from collections.abc import Sequence

from ..analysis.history import Line, Point
from .drawing import LINE_LIMIT, Chart, add_grid, add_legend, finish_chart, make_axes
from .numbers import format_number
from .svg import PALETTE

_TICKS = 6
_UNITS = {"throughput": " examples/s", "latency": " s", "kernel": " FLOP/s", "time-to-accuracy": " s"}


def draw_history(lines: Sequence[Line], scenario: str, common: str) -> Chart:
    """Returns each line against its first point, over the runs in order; call it within `drawing_style`."""
    shown = lines[:LINE_LIMIT]
    moments = sorted({_moment(point) for line in shown for point in line.points})
    title = f"History of {scenario}"
    referenced = any(point.machine_speed for line in shown for point in line.points)
    axes = make_axes(2.6, title=title, legend_lines=len(shown) + referenced)
    entries = []
    for line, colour in zip(shown, PALETTE, strict=False):
        places = [moments.index(_moment(point)) for point in line.points]
        base = line.points[0].result
        (drawn,) = axes.plot(
            places, [point.result / base for point in line.points], "o-", color=colour, markersize=4
        )
        entries.append((drawn, line.label, f"first {format_number(base)}"))
        for change in line.changes:
            place = (places[change.at - 1] + places[change.at]) / 2
            axes.axvline(place, color=colour, linestyle="--", linewidth=1)
            axes.text(
                place, 1.0, f" {change.ratio - 1:+.0%}", color=colour, fontsize=8, va="bottom",
                transform=axes.get_xaxis_transform(),
            )  # fmt: skip
    reference = [
        (moments.index(_moment(point)), point.machine_speed)
        for point in shown[0].points
        if point.machine_speed is not None
    ]
    if reference:
        (drawn,) = axes.plot(*zip(*reference, strict=True), ":", color="#000000", linewidth=1)
        entries.append((drawn, f"the machine's own speed, in the runs of {shown[0].label}", ""))
    ticks = range(0, len(moments), max(1, -(-len(moments) // _TICKS)))
    axes.set_xticks(
        list(ticks), [f"{moments[tick][0][:10]}\n{moments[tick][1][:7]}" for tick in ticks], fontsize=7
    )
    axes.set_ylabel("against the first run")
    add_grid(axes, "y")
    add_legend(axes, entries)
    return finish_chart(
        axes,
        "history",
        title,
        "Each point is a run folder, against the line's first. A dashed line is a change of level beyond the "
        "noise around it, which one flat line in 20 shows by chance, and more where days are like the days "
        "before them: `compare` tells. The dotted line is what the reference workload did in the same "
        "processes: where it moves too, the machine did.",
        common=common,
        left_out=len(lines) - len(shown),
    )


def history_sentences(lines: Sequence[Line]) -> list[str]:
    """Returns for each line how many runs it has, its first and last results, and its changes of level."""
    return [_sentence(line) for line in lines]


def _sentence(line: Line) -> str:
    first, last = line.points[0], line.points[-1]
    ends = f"{format_number(first.result)} to {format_number(last.result)}{_UNITS.get(line.kind, '')}"
    count = len(line.points)
    text = f"{line.label}: {count} run{'s' if count != 1 else ''}, {ends}"
    for change in line.changes:
        before, after = line.points[change.at - 1], line.points[change.at]
        text += f"; {change.ratio - 1:+.1%} between {_name(before)} and {_name(after)}"
        if before.machine_speed and after.machine_speed:
            text += f" (the machine itself {after.machine_speed / before.machine_speed - 1:+.1%})"
    if not line.changes:
        text += (
            "; no change of level" if len(line.points) >= 5 else "; too few runs to look for changes of level"
        )
    return text


def _moment(point: Point) -> tuple[str, str]:
    return point.created, point.commit


def _name(point: Point) -> str:
    return f"{point.created[:16].replace('T', ' ')}{f' ({point.commit[:7]})' if point.commit else ''}"
