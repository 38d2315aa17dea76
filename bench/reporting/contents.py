"""What a report says, before it is set as HTML or Markdown."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..analysis.labels import MachineNames, details, machine_text, workload_name
from ..analysis.phases import time_measuring
from ..analysis.pooling import pool
from ..analysis.summary import Row, summarise
from ..records.record import RunRecord
from .comparison import comparison_table
from .costs import cost_table
from .environments import environment_table
from .numbers import format_number, format_percent, plain
from .tables import Table, build_tables
from .verdicts import comparison_tables

# More than anybody reads on a page; the records have the rest.
LOG_LIMIT = 40

HOW_TO_READ = (
    "Every figure is derived from the raw samples in the records; units stand in the headings.",
    "± is the median absolute deviation relative to the median: of a single run over its own samples, of "
    "several runs over the runs. The steps of one run resemble each other more than two runs do, so the ± of "
    "a single run says how steady it was, not how well it would repeat.",
    "“steady” says from which step on, counted after the warm-up, the step time kept one level. ⚠ marks a "
    "figure that a caution touches; the last column says which, and what to do.",
    "One run claims no comparison, and neither do several that did not take turns on the machine: a "
    "difference here is a hint of what to measure against each other.",
    "Accuracy stands beside speed where a run recorded it: a fast run that learns nothing is no gain.",
)


@dataclass(frozen=True, kw_only=True)
class Log:
    """The last lines of a run that failed, and which run on which machine it was."""

    title: str
    lines: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Contents:
    """A whole report but for its charts.

    Attributes:
        title: Its heading.
        summary: What was measured, in sentences.
        machines: Each machine's name and description.
        rows: Every row, not pooled.
        pooled: One row for all repeats.
        tables: Of the pooled rows.
        comparison: One machine beside another; None where there is nothing to compare.
        without_result: How many runs failed, were skipped, or hold nothing that can be true.
        logs: Of runs that failed.
        logs_left_out: How many more there are.
        environment: Every recorded fact of the machines.
    """

    title: str
    summary: tuple[str, ...]
    machines: tuple[tuple[str, str], ...] = ()
    records: tuple[RunRecord, ...] = ()
    rows: tuple[Row, ...] = ()
    pooled: tuple[Row, ...] = ()
    tables: tuple[Table, ...]
    comparison: Table | None = None
    without_result: int = 0
    logs: tuple[Log, ...] = ()
    logs_left_out: int = 0
    environment: Table | None = None


def collect_contents(
    records: Sequence[RunRecord],
    reference: str | None = None,
    superseded: int = 0,
    prices: Mapping[str, float] | None = None,
) -> Contents:
    """Returns what a report on these records says.

    Args:
        records: Of any machines and suites, as `bench.records.store.latest_records` gives them.
        reference: The machine that the others are compared with; None: that of the first record.
        superseded: How many records of earlier attempts were left out.
        prices: Of machines, SKUs and devices in dollars an hour, where the user gives them.

    Raises:
        ConfigurationError: No record is of the reference machine, or of a machine or device with a price.
    """
    names = MachineNames(records)
    environments = names.environments()
    rows = summarise(records)
    pooled = pool(rows)
    costs = cost_table(pooled, records, prices or {})
    logged = [record for record in records if record.status != "ok" and record.log_tail]
    return Contents(
        title="Benchmark report",
        summary=_summary(records, pooled, machines=len(environments), superseded=superseded),
        machines=tuple((plain(name), plain(machine_text(known[-1]))) for name, known in environments.items()),
        records=tuple(records),
        rows=tuple(rows),
        pooled=tuple(pooled),
        tables=(*comparison_tables(records), *build_tables(pooled), *([costs] if costs else ())),
        comparison=comparison_table(pooled, list(environments), reference),
        without_result=sum(row.kind == "nothing" for row in rows),
        logs=tuple(_log(record, names) for record in logged[:LOG_LIMIT]),
        logs_left_out=max(0, len(logged) - LOG_LIMIT),
        environment=environment_table(environments) if environments else None,
    )


def _summary(
    records: Sequence[RunRecord], pooled: Sequence[Row], *, machines: int, superseded: int
) -> tuple[str, ...]:
    statuses = Counter(record.status for record in records)
    counts = [f"{count} {status}" for status in ("ok", "failed", "skipped") if (count := statuses[status])]
    scenarios = dict.fromkeys(record.workload.scenario for record in records)
    suites = list(dict.fromkeys(record.suite for record in records))
    of_suites = f"the suite{'s' if len(suites) > 1 else ''} {', '.join(suites)}"
    days = sorted(record.created[:10] for record in records)
    when = f"on {days[0]}" if days[0] == days[-1] else f"from {days[0]} to {days[-1]}"
    sentences = [
        f"{_plural(len(records), 'run')} ({', '.join(counts)}) of {of_suites} on "
        f"{_plural(machines, 'machine')}, measured {when}.",
        f"Scenarios: {', '.join(scenarios)}.",
    ]
    most = max((row.runs for row in pooled if row.kind != "nothing"), default=1)
    if most == 1:
        sentences.append(
            "Everything ran once, so no figure here claims that one thing is faster than another."
        )
    else:
        sentences.append(
            f"Runs were repeated up to {most} times; figures of repeated runs are medians over them."
        )
    if measuring := time_measuring(records):
        share, total = format_percent(measuring.share), format_number(measuring.total)
        sentences.append(
            f"Measuring took {share} of the {total} s that the phases of the runs add up to: timed steps, "
            "trainings and predictions that are a result, the machine's own references. The rest is "
            "starting, building, tracing, first steps and warming up."
        )
    if superseded:
        sentences.append(
            f"{_plural(superseded, 'record')} of earlier attempts at the same runs are not counted."
        )
    return tuple(plain(sentence) for sentence in sentences)


def _log(record: RunRecord, names: MachineNames) -> Log:
    workload, configuration = record.workload, record.configuration
    what = f"{workload.scenario} {workload_name(workload)}".strip()
    title = (
        f"{what}, {configuration.strategy}, run {record.repeat} on {names.of(record)} "
        f"({details(workload, configuration)})"
    )
    return Log(title=plain(title), lines=tuple(plain(line) for line in record.log_tail))


def _plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'s' if count != 1 else ''}"
