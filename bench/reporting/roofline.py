"""The roofline of a machine: what its arithmetic and its memory allow, and where its runs stand below."""

from collections.abc import Sequence

from ..analysis.labels import label_words, tell_apart
from ..analysis.roofline import Peak, Utilisation
from ..analysis.summary import Row
from .drawing import LINE_LIMIT, Chart, add_grid, add_legend, finish_chart, make_axes, set_log_scale
from .numbers import format_number, format_percent
from .svg import PALETTE

_CHART_LIMIT = 4  # machines
_MARKERS = "osD^vP*X"


def draw_rooflines(rows: Sequence[Row], name: str) -> list[Chart]:
    """Returns FLOP/s against FLOP/byte, a chart for each machine of which both are known."""
    machines: dict[str, list[Row]] = {}
    for row in rows:
        if row.utilisation and row.utilisation.flops_per_byte:
            machines.setdefault(row.machine, []).append(row)
    several = len(machines) > 1
    return [
        _draw_roofline(of_machine, f"{name}-{number}", f" of {machine}" if several else "")
        for number, (machine, of_machine) in enumerate(list(machines.items())[:_CHART_LIMIT])
    ]


def _draw_roofline(rows: Sequence[Row], name: str, of_machine: str) -> Chart:
    shown = [(row, row.utilisation) for row in rows if row.utilisation][:LINE_LIMIT]
    labels, common = tell_apart([_words(row) for row, _ in shown])
    roofs = _find_roofs([found for _, found in shown])
    intensities = [found.flops_per_byte or 1 for _, found in shown]
    ridges = [peak.flops_per_second / peak.bytes_per_second for peak in roofs if peak.bytes_per_second]
    low, high = min([*intensities, *ridges]) / 2, max([*intensities, *ridges]) * 2
    title = f"Roofline{of_machine}: modelled FLOP/byte"
    axes = make_axes(2.6, title=title, legend_lines=len(roofs) + len(shown))
    entries = []
    rates = [found.flops_per_second / 1e9 for _, found in shown]
    for peak, style in zip(roofs, ("-", "--", ":", "-.") * 2, strict=False):
        corner = peak.flops_per_second / (peak.bytes_per_second or float("inf"))
        xs = sorted({low, min(max(corner, low), high), high})
        ys = [min(peak.flops_per_second, (peak.bytes_per_second or float("inf")) * x) / 1e9 for x in xs]
        (line,) = axes.plot(xs, ys, linestyle=style, color="#000000", linewidth=1.4)
        entries.append((line, *_describe_roof(peak)))
        rates += ys
    for label, colour, marker, (_, found) in zip(labels, PALETTE, _MARKERS, shown, strict=False):
        (point,) = axes.plot(
            found.flops_per_byte, found.flops_per_second / 1e9, marker, color=colour, markersize=6
        )
        figure = f"{format_percent(found.mfu)} of {found.peak.arithmetic}"
        entries.append((point, label, figure))
    set_log_scale(axes.xaxis, low * 1.5, high / 1.5)
    set_log_scale(axes.yaxis, min(rates), max(rates))
    axes.set_xlabel("FLOP/byte (modelled, not measured; logarithmic)")
    axes.set_ylabel("GFLOP/s (logarithmic)")
    add_grid(axes, "both")
    add_legend(axes, entries)
    return finish_chart(
        axes,
        name,
        title,
        "The lines are what arithmetic and memory allow. Higher is faster. The bytes are modelled, not "
        "measured: operands and results of convolutions, matrix products and reductions, as if all else were "
        "fused into them; what really moves is two or three times as much, so points belong further left.",
        common=common,
        left_out=len(rows) - len(shown),
    )


def _find_roofs(found: Sequence[Utilisation]) -> list[Peak]:
    """Returns one peak for each arithmetic and number of replicas; of measured ones that in the middle."""
    groups: dict[tuple[object, ...], list[Peak]] = {}
    for one in found:
        peak = one.peak
        published = None if peak.measured else peak.flops_per_second
        groups.setdefault((peak.arithmetic, published), []).append(peak)
    middle = [sorted(group, key=_rate)[len(group) // 2] for group in groups.values()]
    return sorted(middle, key=_rate, reverse=True)


def _rate(peak: Peak) -> float:
    return peak.flops_per_second


def _describe_roof(peak: Peak) -> tuple[str, str]:
    how = "measured" if peak.measured else "published"
    rate = f"{format_number(peak.flops_per_second / 1e9)} GFLOP/s"
    memory = f", {format_number(peak.bytes_per_second / 1e9)} GB/s" if peak.bytes_per_second else ""
    return f"{peak.arithmetic} and memory, {how}", f"{rate}{memory}"


def _words(row: Row) -> list[str]:
    series = (row.workload.scenario, row.reading, row.distinction)
    return label_words(row.workload, row.configuration, series, dict(row.parameters))
