"""What became of a check: tables for the terminal, Markdown for a pull request."""

from collections.abc import Collection, Iterable, Iterator
from typing import TYPE_CHECKING

from ..analysis.checks import CheckResult
from ..analysis.gates import Check
from ..analysis.thresholds import Gate
from .numbers import plain
from .tables import markdown_text

if TYPE_CHECKING:
    import rich.console

_HEADERS = ("verdict", "gate", "what", "change", "interval", "allowed", "noise floor", "why", "run")
_NUMERIC = ("change", "interval", "allowed", "noise floor")
_SHARES: Collection[Gate] = ("accuracy", "agreement")
TERMINAL_ROWS = 200  # nobody reads more of them there, and thousands take seconds to lay out
_STYLES = {"broken": "bold red", "not told": "yellow", "holds": "green"}


def terminal_tables(result: CheckResult) -> Iterator["rich.console.RenderableType"]:
    """Yields a table for each workload, those with a broken gate first, and the reasons below by number.

    All that broke is among them; of the rest what `TERMINAL_ROWS` leave room for.
    """
    import rich.table
    from rich.text import Text

    shown = result.checks[: max(TERMINAL_ROWS, result.count("broken"))]
    reasons = {why: number for number, why in enumerate(dict.fromkeys(c.why for c in shown), start=1)}
    groups: dict[str, list[Check]] = {}
    for check in shown:
        groups.setdefault(check.of, []).append(check)
    for of, checks in groups.items():
        title = Text(plain(of), style="bold")
        table = rich.table.Table(
            box=None, pad_edge=False, header_style="dim", title=title, title_justify="left"
        )
        for header in (*_HEADERS[:6], "why"):
            numeric = header in _NUMERIC
            table.add_column(header, justify="right" if numeric else "left", no_wrap=numeric)
        for check in checks:
            verdict, *others = _cells(check)[:6]
            table.add_row(
                Text(verdict, style=_STYLES[verdict]), *map(Text, others), Text(f"[{reasons[check.why]}]")
            )
        yield table
        yield ""
    for why, number in reasons.items():
        yield Text(f"[{number}] {plain(why)}")
    if more := len(result.checks) - len(shown):
        yield Text(f"and {more:,} more, none of them broken: --markdown FILE has all")


def list_notes(result: CheckResult) -> list[str]:
    """Returns what was left out, what of the environment differs, and what only the baseline ran."""
    notes = [f"left out: {one.what}: {one.why}" for one in result.left_out]
    if result.differences:
        notes.append(f"the two sides differ in {'; '.join(result.differences)}")
    if result.missing:
        notes.append(f"of the baseline not run again: {'; '.join(result.missing)}")
    return [plain(note) for note in notes]


def conclude(result: CheckResult, required: Collection[Gate] = ()) -> str:
    """Returns the result in one sentence, and a warning where nothing was told of a gate."""
    broken, untold, holds = (result.count(verdict) for verdict in ("broken", "not told", "holds"))
    parts = [f"{holds} hold{'s' if holds == 1 else ''}"]
    if broken:
        parts.insert(0, f"{broken} broken")
    if untold:
        parts.append(f"{untold} could not be told")
    told = {
        0: "Every gate that could be told holds" if untold else "Every gate holds",
        1: "A gate is broken" if broken else "A new run failed",
        2: f"A required gate could not be told ({', '.join(result.list_untold(required) or required)})"
        if holds
        else "Nothing could be told",
    }[result.exit_code(required)]
    silent = [gate for gate in result.silent if gate not in required] if holds or broken else []
    sentence = f"{told}: {', '.join(parts)}."
    warnings = [f"nothing was told of {', '.join(silent)}"] if silent else []
    if result.lost:
        warnings.append(f"the baseline has runs under {', '.join(result.lost)}, and here there is none")
    if not warnings:
        return sentence
    return f"{sentence} Warning: {'; '.join(warnings)}. That is no pass: --require GATE makes it exit code 2."


def describe_change(check: Check) -> str:
    """Returns a check's change, interval, threshold, floor and reason as a sentence."""
    _, gate, _, change, interval, allowed, floor, why, _ = _cells(check)
    words = (gate, change, f"({interval})" if interval else "", f"allowed {allowed}")
    noise = f", noise floor {floor}" if floor else ""
    return f"{' '.join(word for word in words if word)}{noise}: {why}"


def markdown_summary(result: CheckResult, title: str, required: Collection[Gate] = ()) -> str:
    """Returns a summary to be posted under a pull request.

    Args:
        result: What to tell.
        title: What was held against what.
        required: The gates that had to be told.
    """
    lines = [f"## {markdown_text(title)}", "", f"**{markdown_text(conclude(result, required))}**", ""]
    lines.append(_markdown_row(_HEADERS))
    lines.append(_markdown_row("---:" if header in _NUMERIC else "---" for header in _HEADERS))
    lines += [_markdown_row(map(markdown_text, _cells(check))) for check in result.checks]
    notes = list_notes(result)
    if notes:
        lines += ["", *(f"* {markdown_text(note)}" for note in notes)]
    return "\n".join(lines) + "\n"


def _cells(check: Check) -> tuple[str, ...]:
    unit, digits = (" points", 2) if check.gate in _SHARES else (" %", 1)

    def signed(share: float) -> str:
        return f"{round(100 * share, digits) + 0.0:+.{digits}f}".replace("-", "−")  # no −0.0

    ends = [signed(end) for end in (check.low, check.high) if end is not None]
    cells = (
        check.verdict,
        check.gate,
        check.what,
        signed(check.change) + unit if check.change is not None else "",
        " to ".join(ends),
        f"{_sign(check.gate)}{100 * check.threshold:g}{unit}",
        f"{100 * check.floor:.1f} %" if check.floor is not None else "",
        check.why,
        check.of,
    )
    return tuple(map(plain, cells))


def _sign(gate: Gate) -> str:
    """Returns in which direction a change breaks the gate."""
    return {"speed": "−", "accuracy": "−", "agreement": "±"}.get(gate, "+")


def _markdown_row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
