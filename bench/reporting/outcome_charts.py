"""Charts of what came out besides speed: accuracies, where the time went, and the memory."""

from collections.abc import Mapping, Sequence
from typing import Any

from ..analysis.accuracy import SeedAccuracy, accuracies_by_seed
from ..analysis.labels import MachineNames, label_words, tell_apart, workload_name
from ..analysis.phases import RunPhases, pool_phases
from ..analysis.statistics import time_shares
from ..records.record import RunRecord
from .drawing import (
    BAR_LIMIT,
    LINE_LIMIT,
    Chart,
    add_grid,
    add_legend,
    finish_chart,
    make_axes,
    make_lines,
    set_plain_ticks,
)
from .numbers import format_number, format_percent
from .svg import PALETTE

# A line of fewer points says no more than the peak, which stands in the tables.
_LEAST_POINTS = 10


def draw_accuracy(records: Sequence[RunRecord], name: str) -> Chart | None:
    """Returns the top-1 accuracy of ensembles beside that of their members, seed by seed; None without."""
    names = MachineNames(records)
    lines = [
        ([*label_words(record.workload, record.configuration), names.of(record), f"seed {seed.seed}"], seed)
        for record in records
        if record.status == "ok"
        for seed in accuracies_by_seed(record.metrics)
    ]
    if not lines:
        return None
    shown = lines[:BAR_LIMIT]
    labels, common = tell_apart([words for words, _ in shown])
    title = "Accuracy of ensembles and their members"
    axes = make_lines(
        [(label, _gain(seed)) for label, (_, seed) in zip(labels, shown, strict=True)],
        title=title,
        legend_lines=2,
    )
    handles: dict[str, Any] = {}
    for place, (_, seed) in enumerate(shown):
        percents = [100 * accuracy for accuracy in seed.members]
        axes.axhline(place, color="#000000", alpha=0.15, linewidth=0.6)
        (handles["a member by itself"],) = axes.plot(
            percents, [place] * len(percents), "o", color=PALETTE[0], alpha=0.75, markersize=6
        )
        if seed.ensemble is not None:
            (handles["the ensemble"],) = axes.plot(
                100 * seed.ensemble, place, "D", color=PALETTE[3], markersize=7
            )
    axes.margins(x=0.06)
    axes.set_xlabel("top-1 accuracy on the test split (%)")
    add_grid(axes, "x")
    add_legend(axes, [(handle, label, "") for label, handle in handles.items()])
    return finish_chart(
        axes,
        name,
        title,
        "Further right is better; the axis does not begin at zero. Behind each label stands by how much the "
        "ensemble passes the mean of its members.",
        common=common,
        left_out=len(lines) - len(shown),
    )


def draw_phases(records: Sequence[RunRecord], name: str) -> Chart | None:
    """Returns the recorded phases of each run as stacked bars, in seconds; None where there are none."""
    runs = pool_phases(records)
    if not runs:
        return None
    shown = runs[:BAR_LIMIT]
    labels, common = _phase_labels(shown)
    phases = _largest_phases([run.seconds for run in shown])
    title = "Where the time of a run goes"
    axes = make_lines(
        [(label, _total(run.seconds)) for label, run in zip(labels, shown, strict=True)],
        title=title,
        legend_lines=len(phases),
    )
    entries = []
    starts = [0.0] * len(shown)
    for colour, (phase, seconds) in zip(PALETTE, phases.items(), strict=False):
        bars = axes.barh(range(len(shown)), seconds, left=starts, height=0.42, color=colour)
        entries.append((bars, phase, ""))
        starts = [start + part for start, part in zip(starts, seconds, strict=True)]
    axes.set_xlim(left=0)
    set_plain_ticks(axes.xaxis)
    axes.set_xlabel("seconds")
    add_grid(axes, "x")
    add_legend(axes, entries)
    return finish_chart(
        axes,
        name,
        title,
        "The phases that a run records, one after the other; medians over repeats. Behind each label stands "
        "the phase that takes the most.",
        common=common,
        left_out=len(runs) - len(shown),
    )


def draw_memory(records: Sequence[RunRecord], name: str) -> Chart | None:
    """Returns the resident memory of each run over its time; None without, or of too many."""
    names = MachineNames(records)
    runs = [
        (record, record.memory)
        for record in records
        if record.memory and len(record.memory.timeline_bytes) >= _LEAST_POINTS
    ]
    if not 1 <= len(runs) <= LINE_LIMIT:
        return None
    labels, common = tell_apart(
        [
            [record.workload.scenario, *label_words(record.workload, record.configuration), names.of(record)]
            + ([f"run {record.repeat + 1}"] if record.repeat else [])
            for record, _ in runs
        ]
    )
    title = "Memory of each run over its time"
    axes = make_axes(2.4, title=title, legend_lines=len(runs))
    entries = []
    for label, colour, (_, memory) in zip(labels, PALETTE, runs, strict=False):
        interval = memory.timeline_interval_seconds or 0.0
        seconds = [interval * place for place in range(len(memory.timeline_bytes))]
        gibibytes = [size / 2**30 for size in memory.timeline_bytes]
        (line,) = axes.plot(seconds, gibibytes, color=colour, linewidth=1.6)
        entries.append((line, label, f"peak {format_number(memory.peak_resident_bytes / 2**30)} GiB"))
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    set_plain_ticks(axes.xaxis)
    axes.set_xlabel("seconds since the worker's start")
    axes.set_ylabel("resident memory (GiB)")
    add_grid(axes, "both")
    add_legend(axes, entries)
    return finish_chart(
        axes,
        name,
        title,
        "Main memory that the worker's process holds, read ten times a second; of a long run each point is "
        "the most of its time.",
        common=common,
        left_out=0,
    )


def _gain(seed: SeedAccuracy) -> str:
    return f"{100 * seed.gain:+.2f} points" if seed.gain is not None else ""


def _phase_labels(runs: Sequence[RunPhases]) -> tuple[list[str], str]:
    """Returns the shortest labels that tell the runs apart: without batch and details, where they can."""
    brief = [
        [run.workload.scenario, workload_name(run.workload), run.machine, *filter(None, [run.distinction])]
        for run in runs
    ]
    strategies = [run.configuration.strategy for run in runs]
    sizes = [run.configuration.global_batch_size for run in runs]
    batches = [f"batch {size}" if size else "" for size in sizes]
    longer = [[*words, strategy] for words, strategy in zip(brief, strategies, strict=True)]
    longest = [[*words, batch] for words, batch in zip(longer, batches, strict=True)]
    for lists in (brief, longer, longest):
        if len(set(map(tuple, lists))) == len(runs):
            return tell_apart(lists)
    details = [label_words(run.workload, run.configuration)[1:] for run in runs]
    return tell_apart([[*words, *rest] for words, rest in zip(brief, details, strict=True)])


def _total(seconds: Mapping[str, float]) -> str:
    shares = time_shares(seconds)
    total = f"{format_number(sum(seconds.values()))} s"
    if not shares:
        return total
    longest = max(shares, key=lambda phase: shares[phase])
    return f"{total}, {longest.replace('_', ' ')} {format_percent(shares[longest])}"


def _largest_phases(runs: Sequence[Mapping[str, float]]) -> dict[str, list[float]]:
    """Returns the seconds of each phase, run by run; the smallest are one where colours would run out."""
    totals: dict[str, float] = {}
    for run in runs:
        for phase, seconds in run.items():
            totals[phase] = totals.get(phase, 0) + seconds
    room = len(PALETTE) if len(totals) <= len(PALETTE) else len(PALETTE) - 1
    kept = sorted(totals, key=lambda phase: -totals[phase])[:room]
    phases = {
        phase.replace("_", " "): [run.get(phase, 0.0) for run in runs] for phase in totals if phase in kept
    }
    if len(kept) < len(totals):
        phases["smaller phases"] = [
            sum(seconds for phase, seconds in run.items() if phase not in kept) for run in runs
        ]
    return phases
