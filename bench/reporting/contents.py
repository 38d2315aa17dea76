"""What a report says, before it is set as HTML or Markdown."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ..analysis.labels import MachineNames, details, machine_text, workload_name
from ..analysis.machines import MachineRatio, choose_reference, compare_machines
from ..analysis.pooling import pool
from ..analysis.summary import Row, summarise
from ..records.record import RunRecord
from ..records.store import latest_records
from .columns import result_text, scenario_text
from .environments import environment_table
from .numbers import format_number, plain
from .tables import ROW_LIMIT, Table, build_tables

# More than anybody reads on a page; the records have the rest.
LOG_LIMIT = 40

HOW_TO_READ = (
    "Every figure is derived from the raw samples in the records; units stand in the headings.",
    "± is the median absolute deviation relative to the median: of a single run over its own samples, of "
    "several runs over the runs. The steps of one run resemble each other more than two runs do, so the ± of "
    "a single run says how steady it was, not how well it would repeat.",
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
        without_result: How many runs failed or were skipped.
        logs: Of runs that failed.
        logs_left_out: How many more there are.
        environment: Every recorded fact of the machines.
    """

    title: str
    summary: tuple[str, ...]
    machines: tuple[tuple[str, str], ...]
    records: tuple[RunRecord, ...]
    rows: tuple[Row, ...]
    pooled: tuple[Row, ...]
    tables: tuple[Table, ...]
    comparison: Table | None
    without_result: int
    logs: tuple[Log, ...]
    logs_left_out: int
    environment: Table | None


def collect_contents(records: Sequence[RunRecord], reference: str | None = None) -> Contents:
    """Returns what a report on these records says.

    Of several records of one run only the one counts that `latest_records` keeps.

    Args:
        records: Of any machines and suites.
        reference: The machine that the others are compared with; by default that of the first record.

    Raises:
        ConfigurationError: No record is of the reference machine.
    """
    latest = latest_records(records)
    names = MachineNames(latest)
    environments = names.environments()
    rows = summarise(latest)
    pooled = pool(rows)
    logged = [record for record in latest if record.status != "ok" and record.log_tail]
    return Contents(
        title="Benchmark report",
        summary=_summary(latest, machines=len(environments), superseded=len(records) - len(latest)),
        machines=tuple((plain(name), plain(machine_text(known[-1]))) for name, known in environments.items()),
        records=tuple(latest),
        rows=tuple(rows),
        pooled=tuple(pooled),
        tables=tuple(build_tables(pooled)),
        comparison=_comparison(pooled, list(environments), reference),
        without_result=sum(record.status != "ok" for record in latest),
        logs=tuple(_log(record, names) for record in logged[:LOG_LIMIT]),
        logs_left_out=max(0, len(logged) - LOG_LIMIT),
        environment=environment_table(environments) if environments else None,
    )


def _summary(records: Sequence[RunRecord], machines: int, superseded: int) -> tuple[str, ...]:
    statuses = Counter(record.status for record in records)
    counts = [f"{count} {status}" for status in ("ok", "failed", "skipped") if (count := statuses[status])]
    scenarios = dict.fromkeys(record.workload.scenario for record in records)
    suites = list(dict.fromkeys(record.suite for record in records))
    of_suites = f"the suite{'s' if len(suites) > 1 else ''} {', '.join(suites)}"
    days = [record.created[:10] for record in records]
    when = f"on {days[0]}" if days[0] == days[-1] else f"from {days[0]} to {days[-1]}"
    sentences = [
        f"{_plural(len(records), 'run')} ({', '.join(counts)}) of {of_suites} on "
        f"{_plural(machines, 'machine')}, measured {when}.",
        f"Scenarios: {', '.join(scenarios)}.",
    ]
    repeats = Counter(
        (record.request_key, record.environment and record.environment.fingerprint) for record in records
    )
    most = max(repeats.values())
    if most == 1:
        sentences.append(
            "Everything ran once, so no figure here claims that one thing is faster than another."
        )
    else:
        sentences.append(
            f"Runs were repeated up to {most} times; figures of repeated runs are medians over them."
        )
    if superseded:
        sentences.append(
            f"{_plural(superseded, 'record')} of earlier attempts at the same runs are not counted."
        )
    return tuple(plain(sentence) for sentence in sentences)


def _comparison(rows: Sequence[Row], machines: Sequence[str], reference: str | None) -> Table | None:
    if reference is not None or machines:
        reference = choose_reference(machines, reference)
    if reference is None or len(machines) < 2:
        return None
    ratios = compare_machines(rows, reference)
    explanation = (
        f"Speed-up over the reference machine {reference!r}: above 1 is faster. Only the same workload and "
        "the same reading stand side by side; “fixed”: but for the device both are configured alike."
    )
    if not ratios:
        explanation += " No workload gave a result on the reference machine and on another one."
    return Table(
        name="machines",
        title="Machine beside machine",
        explanation=plain(explanation),
        headers=(
            "scenario", "backbone@size", "batch", "machine", "speed-up", "strategy", "result",
            "reference strategy", "reference result", "division", "what it says",
        ),
        numeric=(False, False, True, False, True, False, True, False, True, False, False),
        wraps=(False,) * 9 + (True, True),
        rows=tuple(_comparison_cells(ratio) for ratio in ratios[:ROW_LIMIT]),
        left_out=max(0, len(ratios) - ROW_LIMIT),
    )  # fmt: skip


def _comparison_cells(ratio: MachineRatio) -> tuple[str, ...]:
    row, reference = ratio.row, ratio.reference
    cells = (
        scenario_text(row),
        workload_name(row.workload),
        str(row.batch_size or ""),
        row.machine,
        f"{format_number(ratio.speed_up)} ×",
        row.configuration.strategy,
        result_text(row),
        reference.configuration.strategy,
        result_text(reference),
        ratio.division,
        ratio.claim,
    )
    return tuple(plain(cell) for cell in cells)


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
