"""The table of claims against what users would run instead: as Markdown, HTML, JSON, and a chart."""

import math
import string
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import msgspec

from ..analysis.ratios import MIN_PAIRS
from ..peers.claims import GROUPS
from ..peers.verdicts import Result, Verdict
from ..records.atomic import write_file
from .contents import Contents
from .drawing import Chart, add_grid, add_legend, finish_chart, make_lines, set_log_scale
from .html import render_markdown, render_page
from .numbers import format_number
from .svg import PALETTE, drawing_style, stand_alone
from .tables import Table

TITLE = "Against what users would run instead"
HOW_TO_READ = (
    "Every ratio is one of two arms on the same machine in the same run: pairs of fresh processes that are "
    "alive side by side and take turns; for cache, head and ensemble two readings of each of several "
    "processes. It is the geometric mean over pairs or processes, with its 95 % interval.",
    "Held: the whole interval lies on the right side of the target. Not held: on the wrong side; both only "
    "where the number is further from the target than equal arms differ on that machine: its noise floor, "
    "where the line names one. Too close to call: neither. “Not below” stands unless the whole interval lies "
    "below; within the noise floor that is too close to call. Too few "
    f"runs: fewer than {MIN_PAIRS} pairs or processes claim nothing, whatever their interval.",
    "How each peer is set up stands in its records (peer_settings), with the versions of all packages. "
    "Keras’s fit has TensorFlow as it comes; ours has it use oneDNN on every x86 processor.",
)
# Of the target; what is drawn no further out leaves room to tell 0.9 from 1.1.
_FURTHEST = 4.0
_COLOURS = {
    "held": PALETTE[2],
    "not held": PALETTE[3],
    "too close to call": PALETTE[1],
    "too few runs": PALETTE[4],
}


class PeersReport(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All results, when they were put together, and with which versions they were measured."""

    created: str
    versions: Mapping[str, str]
    results: tuple[Result, ...]


def write_peers(folder: Path, report: PeersReport) -> Path:
    """Writes ``peers.md``, ``.json``, ``.html`` and ``.svg`` and returns the path of the first."""
    chart = draw_results(report.results)
    charts = [chart] if chart else []
    files = {
        "peers.json": msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n",
        "peers.md": format_peers(report).encode(),
        "peers.html": render_page(_contents(report), charts, HOW_TO_READ).encode(),
        **({"peers.svg": stand_alone(chart.svg).encode()} if chart else {}),
    }
    for name, content in files.items():
        write_file(folder / name, content, overwrite=True)
    return folder / "peers.md"


def format_peers(report: PeersReport) -> str:
    """Returns the report as Markdown."""
    picture = "\n![Numbers over their targets](peers.svg)\n" if any(map(_margin, report.results)) else ""
    return render_markdown(_contents(report), HOW_TO_READ) + picture


def result_text(result: Result) -> str:
    """Returns a claim's number with its interval and unit; empty where nothing was measured."""
    if result.value is None:
        return ""
    unit = "" if result.unit == "of 1" else f" {result.unit}"
    number = f"{format_number(result.value)}{unit}"
    if result.low is None or result.high is None:
        return number
    return f"{number} ({format_number(result.low)} to {format_number(result.high)})"


def summarise_results(results: Sequence[Result]) -> str:
    """Returns how many claims are held, and how many not, in a sentence."""
    counts = [
        f"{count} {verdict}"
        for verdict in get_args(Verdict)
        if (count := sum(result.verdict == verdict for result in results))
    ]
    return f"{len(results)} claims: {', '.join(counts)}."


def draw_results(results: Sequence[Result]) -> Chart | None:
    """Returns how far each number lies beyond its target, with its interval; None where nothing is drawn."""
    drawn = [(result, margin) for result in results if (margin := _margin(result))]
    if not drawn:
        return None
    title = "Numbers over their targets"
    with drawing_style():
        axes = make_lines(
            [(f"{one.group}: {one.title}", result_text(one)) for one, _ in drawn],
            title=title,
            legend_lines=len(_COLOURS),
        )
        marks: dict[str, Any] = {}
        for place, (result, margin) in enumerate(drawn):
            low, value, high = (min(end, _FURTHEST) for end in margin)
            colour = _COLOURS[result.verdict]
            axes.plot([1, 1], [place - 0.2, place + 0.2], color="#000000", linewidth=1)  # the target
            axes.plot([low, high], [place, place], color=colour, linewidth=2)
            (mark,) = axes.plot(value, place, "o", color=colour, markersize=4)
            marks.setdefault(result.verdict, mark)
            if value >= _FURTHEST:
                axes.plot(value, place, ">", color=colour, markersize=6)
        ends = [min(end, _FURTHEST) for _, margin in drawn for end in margin]
        set_log_scale(axes.xaxis, min(*ends, 1.0), max(*ends, 1.0))
        axes.set_xlabel("of the target; to the right is better")
        add_grid(axes, "x")
        add_legend(axes, [(mark, verdict, "") for verdict, mark in marks.items()])
        reading = (
            "The black mark at 1 is the target; where a number is to be small, its inverse is drawn. "
            f"An arrow: {_FURTHEST:.0f} times the target, or more."
        )
        return finish_chart(axes, "peers", title, reading, common="", left_out=0)


def _margin(result: Result) -> tuple[float, float, float] | None:
    """Returns lower end, value and upper end over the target, such that more is better."""
    if result.value is None:
        return None
    low = result.value if result.low is None else result.low
    high = result.value if result.high is None else result.high
    shares = [one / result.limit for one in (low, result.value, high)]
    if result.at_most:
        shares = [1 / one for one in reversed(shares)]
    return (shares[0], shares[1], shares[2]) if all(map(math.isfinite, shares)) else None


def _contents(report: PeersReport) -> Contents:
    versions = ", ".join(f"{name} {version}" for name, version in sorted(report.versions.items()))
    machines = list(dict.fromkeys(one.machine for one in report.results if one.machine))
    letters = dict(zip(machines, string.ascii_uppercase if len(machines) > 1 else [""], strict=False))
    summary = [f"{report.created}. {summarise_results(report.results)} Made by tpuens-bench run peers."]
    return Contents(
        title=TITLE,
        summary=(*summary, *([f"Measured with {versions}."] if versions else [])),
        machines=tuple((f"Machine {letter}".strip(), machine) for machine, letter in letters.items()),
        tables=tuple(_tables(report.results, letters)),
    )


def _tables(results: Sequence[Result], letters: Mapping[str, str]) -> list[Table]:
    """Returns a table for each group of claims; its lines say on which machine, where there are several."""

    def why(result: Result) -> str:
        letter = letters.get(result.machine)
        return "; ".join(filter(None, [f"on machine {letter}" if letter else "", result.why]))

    headers = ("claim", "target", "measured", "verdict", "of", "why")
    return [
        Table(
            name=group,
            title=group.replace("-", " ").capitalize(),
            explanation=f"{explanation}.",
            headers=headers,
            numeric=(False, False, True, False, False, False),
            wraps=(True, False, False, False, False, True),
            rows=tuple(
                (one.title, one.target, result_text(one), one.verdict, one.samples, why(one))
                for one in results
                if one.group == group
            ),
        )
        for group, explanation in GROUPS.items()
        if any(one.group == group for one in results)
    ]
