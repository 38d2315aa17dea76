"""How throughput grows, where fusing pays and what caches are worth: in words and as charts."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..analysis.growth import Duel, Growth, Point, find_caches, find_fusing, find_growth, paired_ratio
from ..analysis.labels import label_words, tell_apart, workload_name
from ..analysis.ratios import MIN_PAIRS, Interval
from ..analysis.summary import Row
from .drawing import (
    LINE_LIMIT,
    Chart,
    add_grid,
    add_legend,
    finish_chart,
    make_axes,
    set_log_scale,
    set_plain_ticks,
)
from .numbers import format_number
from .svg import PALETTE

# From this ratio on an axis from zero would hide the small values.
_LOG_FROM = 30
_LATER, _FILES = "later epochs", "files"


@dataclass(frozen=True, kw_only=True)
class _Sweep:
    """What varies: in words, as the label of an axis, and how a value of it is written."""

    words: str
    axis: str
    unit: str = ""
    scale: float = 1.0

    def value(self, at: float) -> str:
        return f"{float(f'{self.scale * at:.3g}'):,g}{self.unit}"


_SWEEPS = {
    "image_bytes": _Sweep(
        words="the bytes of an image file", axis="size of an image file", unit=" KB", scale=1e-3
    ),
    "batch_size": _Sweep(words="the batch size", axis="batch size"),
    "parallel_calls": _Sweep(words="the images that are read at a time", axis="parallel calls"),
    "examples_per_cached": _Sweep(
        words="more images than a cache in memory holds",
        axis="images, in those that the cache holds",
        unit=" ×",
    ),
}


def describe_growth(rows: Iterable[Row]) -> list[str]:
    """Returns for each sweep where throughput stops growing, or how far it falls.

    Args:
        rows: As `bench.analysis.pooling.pool` gives them.
    """
    return [_growth_text(growth) for growth in find_growth(rows)]


def describe_fusing(rows: Iterable[Row]) -> list[str]:
    """Returns for each ensemble at which batch sizes one network of all members is faster than they are."""
    return [_fusing_text(duel) for duel in find_fusing(rows)]


def describe_caches(rows: Iterable[Row]) -> list[str]:
    """Returns for each set of caches what they deliver from the second epoch on, and what they hold."""
    return [text for readings in find_caches(rows) if (text := _caches_text(readings))]


def draw_growth(rows: Sequence[Row], name: str) -> list[Chart]:
    """Returns a chart for each sweep and one for fused ensembles, where there are any."""
    sweeps: dict[str, list[Growth]] = {}
    for growth in find_growth(rows):
        sweeps.setdefault(growth.by, []).append(growth)
    charts = [
        _draw(
            [(_words(growth.row, by), growth.points) for growth in growths],
            f"{name}-{by}",
            title=f"Input: {_SWEEPS[by].words}",
            sweep=_SWEEPS[by],
        )
        for by, growths in sweeps.items()
    ]
    duels = find_fusing(rows)
    if duels:
        lines = [
            ([*_words(duel.row, "batch_size"), arm], points)
            for duel in duels
            for arm, points in (("one after another", duel.first), ("fused", duel.second))
        ]
        title = "Ensemble inference by batch size"
        charts.append(_draw(lines, f"{name}-fused", title=title, sweep=_SWEEPS["batch_size"]))
    return charts


def _draw(
    lines: Sequence[tuple[Sequence[str], Sequence[Point]]], name: str, *, title: str, sweep: _Sweep
) -> Chart:
    shown = lines[:LINE_LIMIT]
    labels, common = tell_apart([words for words, _ in shown])
    axes = make_axes(2.4, title=title, legend_lines=len(shown))
    entries = []
    for label, colour, marker, (_, points) in zip(labels, PALETTE, "osD^vP*X", shown, strict=False):
        rates = [point.rate for point in points]
        handle = axes.errorbar(
            [point.at for point in points],
            rates,
            yerr=(
                [point.rate - point.low for point in points],
                [point.high - point.rate for point in points],
            ),
            marker=marker,
            color=colour,
            markersize=4,
            linewidth=1.6,
            capsize=2.5,
        )
        entries.append((handle, label, f"up to {format_number(max(rates))} images/s"))
    values = sorted({point.at for _, points in shown for point in points})
    set_log_scale(axes.xaxis, values[0], values[-1])
    axes.set_xticks(values, [sweep.value(value) for value in values])
    all_rates = [point.rate for _, points in shown for point in points]
    if wide := max(all_rates) / min(all_rates) > _LOG_FROM:
        set_log_scale(axes.yaxis, min(all_rates), max(all_rates))
    else:
        axes.set_ylim(bottom=0)
        set_plain_ticks(axes.yaxis)
    axes.set_xlabel(f"{sweep.axis} (logarithmic)")
    axes.set_ylabel("images per second" + (" (log.)" if wide else ""))
    add_grid(axes, "both")
    add_legend(axes, entries)
    return finish_chart(
        axes,
        name,
        title,
        "Higher is faster. The whiskers are 95 % intervals, over the blocks of a single run or over the runs "
        "of several; the points took turns.",
        common=common,
        left_out=len(lines) - len(shown),
    )


def _words(row: Row, by: str) -> list[str]:
    """Returns what tells a line from others; what lies along the axis does not."""
    swept = {"batch_size": 0} if by == "batch_size" else None
    return [*label_words(row.workload, row.configuration, [row.distinction], swept), row.machine]


def _growth_text(growth: Growth) -> str:
    sweep, points = _SWEEPS[growth.by], growth.points
    first, best, last = points[0], points[growth.plateau], points[-1]
    begin = f"With {sweep.words}, from {sweep.value(first.at)} to {sweep.value(last.at)}, images/s"
    if best is first and last.high < first.low:
        grows = (
            f"fall from {_rate(first)} to {_rate(last)}, {format_number(last.rate / first.rate)} times that"
        )
    elif best is first:
        grows = f"do not grow: {_rate(first)} at the first, {_rate(last)} at the last"
    elif best is last:
        grows = f"grow up to the last: from {_rate(first)} to {_rate(last)}"
    else:
        grows = (
            f"grow from {_rate(first)} up to {_rate(best)} at {sweep.value(best.at)}, and not clearly "
            f"further; at the last they are {_rate(last)}"
        )
    return f"{begin} {grows} ({_where(growth.row)})."


def _fusing_text(duel: Duel) -> str:
    sizes = list(duel.ratios)
    members = duel.row.workload.options.get("members", "several")
    ratios = "; ".join(f"{_times(ratio)} at {size}" for size, ratio in duel.ratios.items())
    if len(duel.wins) == len(sizes):
        verdict = f"pays at every batch size from {sizes[0]} to {sizes[-1]}"
    elif duel.wins:
        verdict = f"pays at batch size {', '.join(map(str, duel.wins))}"
    else:
        verdict = "is not shown to pay at any batch size"
    if duel.loses:
        verdict += f", and costs at {', '.join(map(str, duel.loses))}"
    if duel.row.runs < MIN_PAIRS:
        verdict += f", which fewer than {MIN_PAIRS} runs only hint at"
    return (
        f"Fusing {members} × {workload_name(duel.row.workload)} into one network {verdict}: beside the "
        f"members one after another it predicts {ratios} ({_where(duel.row)})."
    )


def _caches_text(readings: dict[tuple[str, str], Row]) -> str:
    files = readings.get((_FILES, _LATER))
    if files is None:
        return ""
    later, before = [], []
    for (source, state), row in readings.items():
        rate = f"{source} {format_number(row.examples_per_second or 0)}"
        if state != _LATER:
            before.append(f"{rate} ({state})")
            continue
        ratio = None if source == _FILES else paired_ratio(files, row)
        held = [
            f"{format_number(row.metrics[f'{where}_bytes'] / 1e6)} MB {where.replace('_', ' ')}"
            for where in ("in_memory", "on_disk")
            if f"{where}_bytes" in row.metrics
        ]
        words = [f"{_times(ratio)} the files" if ratio else "", *held]
        later.append(f"{rate} ({', '.join(filter(None, words))})")
    return (
        f"From the second epoch on, in images/s: {'; '.join(later)}. With the page cache dropped: "
        f"{'; '.join(before)} ({_where(files)})."
    )


def _rate(point: Point) -> str:
    low, high = format_number(point.low), format_number(point.high)
    return f"{format_number(point.rate)} ({low} to {high})"


def _times(ratio: Interval) -> str:
    return f"{ratio.ratio:.2f} times ({ratio.low:.2f} to {ratio.high:.2f})"


def _where(row: Row) -> str:
    words = [f"{row.machine}, {row.configuration.strategy}", row.distinction]
    runs = f"{row.runs} runs" if row.runs > 1 else f"{len(row.rates)} rounds of one run"
    return ", ".join([*filter(None, words), runs])
