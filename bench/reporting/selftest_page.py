"""The report of a self-test: what was promised, how often it was kept, and what the method cannot do."""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from ..analysis.rates import Finding, Rate
from ..analysis.step_times import MACHINES
from ..records.atomic import write_file
from .drawing import Chart, add_grid, add_legend, finish_chart, make_lines
from .svg import PALETTE, drawing_style, stand_alone


class SelfTest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a self-test found.

    Attributes:
        created: ISO 8601, UTC.
        versions: Of Python, this package, NumPy and SciPy, and of what real runs ran with.
        missing: Parts that were left out or are not done yet.
    """

    created: str
    versions: dict[str, str]
    rates: tuple[Rate, ...] = ()
    findings: tuple[Finding, ...] = ()
    missing: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether every promise that was looked at is kept."""
        return all(rate.holds is not False for rate in self.rates) and all(one.holds for one in self.findings)


# What the rates of a group are of; a group that is not here stands under its own name.
_GROUPS = {
    "coverage": (
        "How often the 95 % interval covers the truth",
        "Simulated comparisons of 6 pairs of processes, arm B truly 10 % slower. The shapes are those of the "
        "blocks inside a process; their sizes are fitted to the records of the reference machine. "
        "How far a machine's log-ratios spread: "
        + "; ".join(
            f"{one.name}, separate runs by {100 * one.spread:.0f} %, processes that take turns by "
            f"{100 * one.process_sd:.1f} %"
            for one in MACHINES
        )
        + ".",
    ),
    "limits": (
        "Where that does not hold",
        "No promise is made here. Processes of two kinds, and the stop once an interval is narrow, are what "
        "a comparison meets. The last two rows are what a comparison does not do, and why.",
    ),
    "false alarms": (
        "How often equal arms are told apart",
        "Simulated comparisons as `compare` makes them: both clocks, the noise floor of a calibration, a "
        "stop once the interval is narrow, and all shapes in equal parts.",
    ),
    "found": (
        "How often a planted slowdown is found",
        "Likewise, with as many pairs as the calibration says that it takes (the median is named). Sleep "
        "costs no CPU time, so that the wall time alone can find it: no promise is made where its noise "
        "floor hides the slowdown, or where 30 pairs are too few.",
    ),
    "other gates": (
        "The other gates",
        "Simulated records, judged by `check` at its own thresholds. Runs spread by 3 % beside the reference "
        "workload, peaks of memory by 2 %, first steps by 8 %, seeds by half a point, and one example in a "
        "hundred flips either way. A baseline of one day is held to an assumed difference between days of "
        "12 %: nothing is promised where days lie further apart, and no speed is sure to be found there. Two "
        "peaks of one run each are compared as they are.",
    ),
    "real runs": (
        "Real runs",
        "Comparisons of a small train-step on this machine, each with 3 minutes at most: with itself, and "
        "with a step made 10 % slower by planted work or planted sleep. The noise floor is that of a "
        "calibration before them, and nothing that judges them knows what was planted.",
    ),
}


def write_selftest(folder: Path, result: SelfTest) -> Path:
    """Writes ``selftest.md``, ``.json`` and ``.svg`` into the folder and returns the path of the first."""
    chart = draw_rates(result.rates)
    files = {
        "selftest.json": msgspec.json.format(msgspec.json.encode(result), indent=1) + b"\n",
        "selftest.md": format_selftest(result).encode(),
        **({"selftest.svg": stand_alone(chart.svg).encode()} if chart else {}),
    }
    for name, content in files.items():
        write_file(folder / name, content, overwrite=True)
    return folder / "selftest.md"


def format_selftest(result: SelfTest) -> str:
    """Returns the report as Markdown."""
    versions = ", ".join(f"{name} {version}" for name, version in sorted(result.versions.items()))
    lines = [
        "# Self-test",
        "",
        f"**{'Passed' if result.passed else 'FAILED'}**, {result.created}. {versions}.",
        "",
        "`tpuens-bench selftest` makes this page. A rate stands with its exact bounds (Clopper and Pearson, "
        "95 %). A promise is kept when both bounds keep to it; where it says “the rate”, the rate itself "
        "must; where it says “not refuted”, the trials are too few to prove it, and one bound must.",
        "",
    ]
    if result.missing:
        lines += [f"Not in here: {'; '.join(result.missing)}.", ""]
    for group in dict.fromkeys(rate.group for rate in result.rates):
        title, text = _GROUPS.get(group, (group, ""))
        lines += [f"## {title}", "", *([text, ""] if text else [])]
        lines += [
            "| case | rate | of | exact bounds | promise | kept |",
            "| --- | ---: | ---: | --- | --- | --- |",
        ]
        lines += [_format_row(rate) for rate in result.rates if rate.group == group]
        lines.append("")
    if result.findings:
        lines += ["## Looked at once", "", "| what | as promised | found |", "| --- | --- | --- |"]
        lines += [f"| {one.title} | {_yes(one.holds)} | {one.text} |" for one in result.findings]
        lines.append("")
    if result.rates:
        lines += ["![Rates and their exact bounds](selftest.svg)", ""]
    return "\n".join(lines)


def draw_rates(rates: Sequence[Rate]) -> Chart | None:
    """Returns every rate as a point between its exact bounds, the promise as a bar; None without rates."""
    if not rates:
        return None
    title = "Rates of the self-test, with exact bounds"
    groups = list(dict.fromkeys(rate.group for rate in rates))
    rates = sorted(rates, key=lambda rate: groups.index(rate.group))
    with drawing_style():
        axes = make_lines(
            [(f"{rate.group}: {rate.title}", _percent(rate.rate)) for rate in rates],
            title=title,
            legend_lines=2,
        )
        for place, rate in enumerate(rates):
            low, high = rate.bounds
            if rate.holds is not None:
                least, most = rate.at_least or 0.0, 1.0 if rate.at_most is None else rate.at_most
                promise = axes.barh(
                    place, 100 * (most - least), 0.3, 100 * least, color=PALETTE[4], alpha=0.4
                )
            colour = PALETTE[3] if rate.holds is False else PALETTE[0]
            axes.plot([100 * low, 100 * high], [place, place], color=colour, linewidth=2)
            (point,) = axes.plot(100 * rate.rate, place, "o", color=colour, markersize=4)
        axes.set_xlim(-1, 101)
        axes.set_xlabel("% of the trials")
        add_grid(axes, "x")
        entries = [(point, "rate and its exact bounds", "")]
        if any(rate.holds is not None for rate in rates):
            entries.append((promise, "promise", ""))
        add_legend(axes, entries)
        reading = "A promise is kept where the line lies in the bar behind it."
        return finish_chart(axes, "selftest", title, reading, common="", left_out=0)


def _format_row(rate: Rate) -> str:
    low, high = rate.bounds
    kept = "" if rate.holds is None else _yes(rate.holds)
    return (
        f"| {rate.title} | {_percent(rate.rate)} | {rate.trials:,} | {_percent(low)} to {_percent(high)} "
        f"| {_promise(rate)} | {kept} |"
    )


def _promise(rate: Rate) -> str:
    limits = []
    if rate.at_least is not None:
        limits.append(f"at least {100 * rate.at_least:.0f} %")
    if rate.at_most is not None:
        limits.append(f"at most {100 * rate.at_most:.0f} %")
    how = {"rate": " (the rate)", "one bound": " (not refuted)", "bounds": ""}[rate.held_by]
    return " and ".join(limits) + how if limits else "none"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _yes(holds: bool) -> str:
    return "yes" if holds else "**NO**"
