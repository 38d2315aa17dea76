"""What came of a comparison, in words for the terminal and as a table for Markdown and the report."""

from collections.abc import Sequence

from ..analysis.compare import EFFECTS, Comparison, Reading, compare_records, stored_floor
from ..analysis.labels import describe_run
from ..analysis.matching import has_complete_pair, split_arms
from ..analysis.ratios import CLOCK_NAMES, Interval
from ..records.floors import calibrate_call
from ..records.record import RunRecord
from .numbers import format_percent, plain
from .tables import Table, markdown_table, markdown_text

_MANNERS = {
    "turns": "two processes alive side by side took turns, block by block",
    "one-process": "both arms took turns in one process, block by block, since the device takes no other",
    "whole-runs": "whole runs, one after another, in the order A B B A",
    "apart": "the runs did not take turns, so that the machine's moods may pose as a difference",
}


def comparison_text(comparison: Comparison) -> str:
    """Returns a comparison for a terminal: a paragraph for each reading, then what else there is to know."""
    paragraphs = [_paragraph(reading) for reading in comparison.readings]
    paragraphs += [f"Not compared: {left_out}" for left_out in comparison.left_out]
    paragraphs += [f"Caution: {caution}" for caution in comparison.cautions]
    return "\n\n".join("\n".join(map(plain, paragraph.splitlines())) for paragraph in paragraphs)


def comparison_markdown(comparison: Comparison) -> str:
    """Returns a comparison as Markdown."""
    notes = [f"- Not compared: {left_out}" for left_out in comparison.left_out]
    notes += [f"- Caution: {caution}" for caution in comparison.cautions]
    table = comparison_of(comparison)
    return markdown_table(table) + "".join(f"\n{markdown_text(note)}" for note in notes) + "\n"


def comparison_tables(records: Sequence[RunRecord]) -> list[Table]:
    """Returns one table of all live comparisons among the records; none where there are none."""
    groups: dict[str, list[RunRecord]] = {}
    for record in records:
        if record.turns and record.status == "ok":
            groups.setdefault(record.turns.comparison, []).append(record)
    readings = [
        reading
        for group in groups.values()
        # Accuracies are no ratio of times: what `check` runs for them has no series.
        if has_complete_pair(group) and all(any(one.series for one in arm) for arm in split_arms(group))
        for reading in compare_records(*split_arms(group), find_floor=stored_floor).readings
    ]
    return [_table(readings)] if readings else []


def comparison_of(comparison: Comparison) -> Table:
    """Returns the table of a comparison's readings."""
    return _table(comparison.readings)


def ratio_text(interval: Interval | None) -> str:
    """Returns a ratio with its interval, above 1 where B is faster; empty where there is none."""
    if interval is None:
        return ""
    return f"{interval.ratio:.3f} × ({interval.low:.3f} to {interval.high:.3f})"


def floor_text(reading: Reading) -> str:
    """Returns the noise floor with its state, or what to do for one."""
    floor, match = reading.floor, reading.match
    call = calibrate_call(match.a[0].workload.scenario, match.manner)
    if floor is None:
        return f"not measured here: {call}"
    sizes = f"{format_percent(floor.wall)} of wall time"
    if floor.cpu is not None:
        sizes += f", {format_percent(floor.cpu)} of CPU time"
    renew = f"; renew it by {call}" if reading.floor_state.startswith("stale") else ""
    return f"{sizes} ({reading.floor_state}{renew})"


def verdict_text(reading: Reading) -> str:
    """Returns what may be claimed, in a sentence."""
    judgement = reading.judgement
    if judgement.verdict in ("faster", "slower"):
        return f"B is {judgement.verdict}, by {CLOCK_NAMES[judgement.clock]}"
    return judgement.verdict


def _paragraph(reading: Reading) -> str:
    match = reading.match
    first = match.a[0]
    rows = [
        ("A → B", "; ".join(match.differences) or "the same settings"),
        ("how", _how(reading)),
        ("wall time", ratio_text(reading.wall) or f"{reading.ratio:.3f} ×, one pair: no interval"),
        ("CPU time", ratio_text(reading.cpu)),
        ("noise floor", floor_text(reading)),
        ("verdict", f"{verdict_text(reading)}: {reading.judgement.why}"),
        ("to find", _needed(reading)),
        ("environment", "; ".join(match.environment) or "no difference"),
    ]
    title = f"{reading.name} of {describe_run(first)}"
    return "\n".join([title, *(f"  {name:<12}{text}" for name, text in rows if text)])


def _how(reading: Reading) -> str:
    match = reading.match
    words = [f"{len(match.a)} pair{'s' if len(match.a) > 1 else ''} of processes", _MANNERS[match.manner]]
    if match.division == "fixed":
        words.append("division fixed: one configuration on both, but for what belongs to the device")
    elif match.division == "tuned":
        words.append("division tuned: on each machine its best configuration")
    if reading.reference:
        words.append(f"compared through the reference workload {reading.reference}")
    elif match.manner == "apart" and not match.division:
        words.append("without a reference workload that both timed")
    return "; ".join(words)


def _needed(reading: Reading) -> str:
    """Returns how many pairs slowdowns take at this spread."""
    sentences = []
    for effect, power in EFFECTS if reading.needed else ():
        counts = [
            f"{pairs[effect, power] or 'no number of'} pairs by {CLOCK_NAMES[clock]}"
            for clock, pairs in reading.needed.items()
        ]
        sentences.append(f"a step {effect:.0%} slower, in {power:.0%} of cases: {', '.join(counts)}")
    return "; ".join(sentences)


def _table(readings: Sequence[Reading]) -> Table:
    headers = (
        "what", "A → B", "ratio by wall time", "ratio by CPU time", "noise floor", "verdict", "why", "how",
        "environment",
    )  # fmt: skip
    return Table(
        name="comparisons",
        title="Comparisons",
        explanation="The speed of B over that of A, above 1 where B is faster, with its 95 % interval over "
        "pairs of fresh processes. A difference is claimed where the interval excludes 1, at 97.5 % where "
        "both clocks are looked at, and the ratio is beyond the noise floor that two equal arms gave on this "
        "machine.",
        headers=headers,
        numeric=(False, False, True, True, False, False, False, False, False),
        wraps=(True, True, False, False, True, True, True, True, True),
        rows=tuple(
            tuple(
                map(
                    plain,
                    (
                        f"{one.name} of {describe_run(one.match.a[0])}",
                        "; ".join(one.match.differences),
                        ratio_text(one.wall) or f"{one.ratio:.3f} ×",
                        ratio_text(one.cpu),
                        floor_text(one),
                        verdict_text(one),
                        one.judgement.why,
                        _how(one),
                        "; ".join(one.match.environment) or "no difference",
                    ),
                )
            )
            for one in readings
        ),
    )
