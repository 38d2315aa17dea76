"""The frame of a chart: its size in inches, axes, scales, labels and legend."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .numbers import plain
from .svg import PALETTE, WIDTH_INCHES, render_figure

# More than a reader can tell apart, or follow down a page.
BAR_LIMIT = 24
LINE_LIMIT = len(PALETTE)

# What a line of text takes, in inches, and how many characters fit across a chart.
_LINE = 0.155
_CHARACTERS = 76
_MARGIN = 0.12
_LEFT = 0.78
_RIGHT = 0.25
_TITLE = 0.32
_AXIS = 0.46


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A chart and the sentences that stand under it."""

    svg: str
    caption: str


def make_axes(plot_inches: float, *, title: str, legend_lines: int = 0, left: float = _LEFT) -> Any:
    """Returns the axes of a new figure whose plot is so high, with room for title, axis and legend."""
    from matplotlib.figure import Figure

    below = _AXIS + _LINE * legend_lines + (_MARGIN if legend_lines else 0)
    height = _TITLE + plot_inches + below
    figure = Figure(figsize=(WIDTH_INCHES, height))
    box = (left / WIDTH_INCHES, below / height, 1 - (left + _RIGHT) / WIDTH_INCHES, plot_inches / height)
    axes = figure.add_axes(box)
    figure.text(
        _MARGIN / WIDTH_INCHES, 1 - 0.2 / height, shorten(title), fontsize=10, fontweight="bold", va="center"
    )
    return axes


def make_lines(labels: Sequence[tuple[str, str]], *, title: str, legend_lines: int = 0) -> Any:
    """Returns axes with one line of the chart for each label and figure, which stand above it."""
    axes = make_axes(0.44 * len(labels), title=title, legend_lines=legend_lines, left=_MARGIN)
    axes.set_ylim(len(labels) - 0.35, -0.85)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    for place, (label, figure) in enumerate(labels):
        text = shorten(label, figure)
        axes.text(0, place - 0.32, text, transform=axes.get_yaxis_transform(), va="bottom", fontsize=8)
    return axes


def add_grid(axes: Any, which: str) -> None:
    """Draws faint lines behind the marks, on the x axis, the y axis or both."""
    axes.set_axisbelow(True)
    axes.grid(axis=which, color="#000000", alpha=0.15, linewidth=0.6)


def set_log_scale(axis: Any, low: float, high: float) -> None:
    """Makes an axis logarithmic from below `low` to above `high`, with plain numbers at its ticks."""
    from matplotlib.ticker import LogLocator, NullLocator

    side = axis.axis_name
    getattr(axis.axes, f"set_{side}scale")("log")
    getattr(axis.axes, f"set_{side}lim")(low / 1.5, high * 1.5)
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high / low < 100 else (1,)))
    axis.set_minor_locator(NullLocator())
    set_plain_ticks(axis)


def set_plain_ticks(axis: Any) -> None:
    """Writes an axis' numbers in full, thousands set apart."""
    from matplotlib.ticker import FuncFormatter

    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.6g}"))


def add_legend(axes: Any, entries: Sequence[tuple[Any, str, str]]) -> None:
    """Puts one line for each entry below the axes: a mark, what it stands for, and a figure or nothing."""
    axes.figure.legend(
        [handle for handle, _, _ in entries],
        # matplotlib leaves out labels that begin with an underscore, hence the space of no width.
        [f"\u200b{shorten(label, figure)}" for _, label, figure in entries],
        loc="lower left",
        bbox_to_anchor=(0, 0),
        borderaxespad=0.3,
        labelspacing=0.2,
        handlelength=1.6,
    )


def finish_chart(axes: Any, name: str, title: str, reading: str, *, common: str, left_out: int) -> Chart:
    """Returns the chart of a figure that is drawn.

    Args:
        axes: Its axes.
        name: Unique on the page.
        title: What it shows.
        reading: How to read it.
        common: What all of it has in common, and so is in no label.
        left_out: How many rows there was no room for.
    """
    caption = reading
    if common:
        caption += f" Throughout: {plain(common)}."
    if left_out:
        caption += f" {left_out:,} more are not drawn; the tables have them."
    return Chart(
        svg=render_figure(axes.figure, name=name, title=plain(title), description=caption), caption=caption
    )


def shorten(label: str, figure: str = "") -> str:
    """Returns a label and its figure on one line that fits the width of a chart; the figure stays whole."""
    label = plain(label)
    room = _CHARACTERS - len(figure) - 2
    label = label if len(label) <= room else f"{label[: room - 1]}…"
    return f"{label}:  {figure}" if figure else label
