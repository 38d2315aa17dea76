"""The repeats of one reading as one row: a run counts as one, however many steps it timed."""

import statistics
from collections.abc import Iterable
from dataclasses import replace

from .accuracy import median_scores
from .labels import Setup, identity, tell_setups_apart, workload_name
from .roofline import pool_utilisations
from .statistics import Percentile, TooFewSamples, describe
from .summary import Row
from .waterfall import pool_waterfalls


def pool(rows: Iterable[Row]) -> list[Row]:
    """Returns one row for the repeats of each reading on each machine.

    Repeats are runs alike in configuration and set-up; where only the set-up differs, the rows stand apart
    and each says what differs. They stand in the order of scenario, workload, batch size, reading, machine
    and strategy.
    """
    groups: dict[tuple[object, ...], dict[Setup, list[Row]]] = {}
    for row in rows:
        key = (row.machine, *row.what, identity(row.configuration), row.status, row.reason)
        groups.setdefault(key, {}).setdefault(row.setup, []).append(row)
    pooled = [row for setups in groups.values() for row in _pool_setups(setups)]
    return sorted(pooled, key=_place)


def _pool_setups(setups: dict[Setup, list[Row]]) -> list[Row]:
    return [
        replace(_pool_group(rows) if len(rows) > 1 else rows[0], distinction=distinction)
        for rows, distinction in zip(setups.values(), tell_setups_apart(list(setups)), strict=True)
    ]


def _pool_group(rows: list[Row]) -> Row:
    results = describe([row.result for row in rows if row.result is not None])
    first = rows[0]
    reached = tuple(reached for row in rows for reached in row.reached)
    return replace(
        first,
        record_ids=tuple(id for row in rows for id in row.record_ids),
        examples_per_second=_median(row.examples_per_second for row in rows),
        rates=tuple(row.examples_per_second for row in rows if row.examples_per_second is not None),
        relative_mad=results.relative_mad if results else None,
        step_seconds=describe([row.step_seconds.median for row in rows if row.step_seconds]),
        step_samples=tuple(sample for row in rows for sample in row.step_samples),
        steadiness=tuple(steadiness for row in rows for steadiness in row.steadiness),
        percentiles=tuple(
            _pool_percentiles(group) for group in zip(*(row.percentiles for row in rows), strict=True)
        ),
        waiting_share=_median(row.waiting_share for row in rows),
        waterfall=pool_waterfalls(row.waterfall for row in rows),
        flops_per_second=_median(row.flops_per_second for row in rows),
        utilisation=pool_utilisations(row.utilisation for row in rows),
        # The median of only those that got there would flatter the ones that seldom do.
        seconds_to_accuracy=_median(row.seconds_to_accuracy for row in rows) if all(reached) else None,
        reached=reached,
        metrics=median_scores([row.metrics for row in rows]),
        peak_resident_bytes=max(row.peak_resident_bytes or 0 for row in rows) or None,
        peak_device_bytes=max(row.peak_device_bytes or 0 for row in rows) or None,
        first_step_seconds=_median(row.first_step_seconds for row in rows),
        fence_seconds=_median(row.fence_seconds for row in rows),
        cautions=tuple(dict.fromkeys(caution for row in rows for caution in row.cautions)),
    )


def _place(row: Row) -> tuple[object, ...]:
    numbers_first = [
        (name, (1, value) if isinstance(value, str) else (0, value)) for name, value in row.parameters
    ]
    return (
        row.workload.scenario,
        workload_name(row.workload),
        row.batch_size or 0,
        numbers_first,
        row.reading,
        row.machine,
        row.configuration.strategy,
    )


def _pool_percentiles(group: tuple[Percentile | TooFewSamples, ...]) -> Percentile | TooFewSamples:
    """Returns the median of the runs' percentiles between the widest of their bounds."""
    for one in group:
        if isinstance(one, TooFewSamples):
            return one
    known = [one for one in group if isinstance(one, Percentile)]
    return Percentile(
        probability=known[0].probability,
        value=statistics.median(one.value for one in known),
        low=min(one.low for one in known),
        high=max(one.high for one in known),
        count=sum(one.count for one in known),
    )


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None
