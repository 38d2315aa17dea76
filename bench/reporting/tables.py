"""The same rows as tables for the terminal, for Markdown and HTML, and as CSV."""

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..analysis.labels import workload_name
from ..analysis.pooling import pool
from ..analysis.summary import Kind, Row
from .columns import COLUMNS, CSV_COLUMNS, TERMINAL_COLUMNS, Column, scenario_text, terminal_note
from .conclusions import conclude
from .numbers import plain

if TYPE_CHECKING:
    import rich.console
    import rich.table

# More rows than anybody reads; the CSV file has them all.
ROW_LIMIT = 400

_TITLES: dict[Kind, tuple[str, str]] = {
    "throughput": (
        "Throughput",
        "All examples over all time, timed over blocks of steps with one wait for the device a block. "
        "“compute” feeds one synthetic batch that is on the device already, “input” runs the input pipeline "
        "alone, “both” trains on what the pipeline delivers; “waiting” is the share of that time in which "
        "the loop waited for input (under 5 % fine, over 20 % input-bound). “fence” is what a wait for the "
        "device costs by itself, with nothing to wait for; it is in each figure once a block of steps. "
        "“MFU” is the model’s FLOPs over time × peak: of a CPU the matrix product measured in the same run, "
        "of an accelerator what is published for the arithmetic that was used.",
    ),
    "latency": (
        "Latency",
        "Single steps, each timed until the device had finished it. Percentiles stand with the 95 % interval "
        "that the order of the samples gives; where none exists there are too few samples. “fence” is what "
        "a wait for the device costs by itself, with nothing to wait for; it is in every step.",
    ),
    "kernel": (
        "Matrix products",
        "Square matrices of n × n, 2n³ operations a product, over all time: what the device can do at best.",
    ),
    "time-to-accuracy": (
        "Time to accuracy",
        "Seconds from the start of the first epoch until the validation accuracy first reached the target: "
        "tracing, the first step and the validation after each epoch are within.",
    ),
    "accuracy": (
        "Accuracy",
        "On the test split. Of ensembles the medians over seeds, and for the members over all members of all "
        "seeds; ± is the median absolute deviation relative to the median. Of agreement the same weights "
        "under each arm, with the largest difference of a probability from those as trained.",
    ),
    "nothing": (
        "Without a result",
        "Runs that failed, were skipped or recorded nothing, or nothing that can be true, and why.",
    ),
}


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table ready to be set in any markup: every cell is text.

    Attributes:
        name: Unique in a report, for links to it.
        numeric: For each column whether it is set flush right.
        wraps: For each column whether it holds sentences.
        conclusions: Sentences that its rows answer a question with.
        left_out: How many rows are not shown.
    """

    name: str
    title: str
    explanation: str
    headers: tuple[str, ...]
    numeric: tuple[bool, ...]
    wraps: tuple[bool, ...]
    rows: tuple[tuple[str, ...], ...]
    conclusions: tuple[str, ...] = ()
    left_out: int = 0


def build_tables(rows: Sequence[Row]) -> list[Table]:
    """Returns one table for each kind of reading that occurs, with the columns that say something there."""
    tables = []
    several_machines = len({row.machine for row in rows}) > 1
    for kind, (title, explanation) in _TITLES.items():
        of_kind = [row for row in rows if row.kind == kind]
        columns = [column for column in COLUMNS if any(column.text(row) for row in of_kind)]
        if not several_machines:
            columns = [column for column in columns if column.header != "machine"]
        if of_kind:
            tables.append(
                Table(
                    name=kind,
                    title=title,
                    explanation=explanation,
                    headers=tuple(column.header for column in columns),
                    numeric=tuple(column.numeric for column in columns),
                    wraps=tuple(column.wraps for column in columns),
                    rows=tuple(
                        tuple(plain(column.text(row)) for column in columns) for row in of_kind[:ROW_LIMIT]
                    ),
                    conclusions=tuple(map(plain, conclude(of_kind))),
                    left_out=max(0, len(of_kind) - ROW_LIMIT),
                )
            )
    return tables


def markdown_table(table: Table) -> str:
    """Returns a table in Markdown, under a heading of the second level."""
    lines = [f"## {table.title}", "", markdown_text(table.explanation), ""]
    for sentence in table.conclusions:
        lines += [f"**{markdown_text(sentence)}**", ""]
    lines.append(_markdown_row(table.headers))
    lines.append(_markdown_row("---:" if numeric else "---" for numeric in table.numeric))
    lines.extend(_markdown_row(map(markdown_text, row)) for row in table.rows)
    if table.left_out:
        lines += ["", f"{table.left_out:,} more rows are in report.csv."]
    return "\n".join(lines) + "\n"


def markdown_text(text: str) -> str:
    """Returns foreign text such that Markdown shows it as it stands: no link, picture, tag or column."""
    return re.sub(r"([\\`*\[\]<>|])", r"\\\1", plain(text))


def csv_text(rows: Iterable[Row]) -> str:
    """Returns the rows as CSV at full precision, the unit in each column's name; empty is "does not apply".

    Text that a spreadsheet would take for a formula is preceded by an apostrophe.
    """
    output = io.StringIO()
    writer = csv.writer(output, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for row in rows:
        writer.writerow(_csv_cell(value(row)) for value in CSV_COLUMNS.values())
    return output.getvalue()


def terminal_table(rows: Sequence[Row]) -> "rich.console.RenderableType":
    """Returns one table a machine with the few columns that fit a terminal; the report has the others.

    Repeats are pooled. A column in which all rows agree becomes a sentence below, and so does what matrix
    products say of CPU and accelerator, where the time of a training step goes, each kind of caution and
    each set-up that differs, by the number that stands in the note, and each run without a result.
    """
    return _TerminalTable(rows)


class _TerminalTable:
    def __init__(self, rows: Sequence[Row]) -> None:
        pooled = pool(rows)
        results = [row for row in pooled if row.kind != "nothing"]
        self._results, self._left_out = results[:ROW_LIMIT], len(results[ROW_LIMIT:])
        self._others = [row for row in pooled if row.kind == "nothing"]

    def __rich_console__(
        self, console: "rich.console.Console", options: "rich.console.ConsoleOptions"
    ) -> Iterator["rich.console.RenderableType"]:
        """Yields what rich prints, laid out for the console's width."""
        from rich.text import Text

        cautions = {caution.code: caution for row in self._results for caution in row.cautions}
        setups = dict.fromkeys(row.distinction for row in self._results if row.distinction)
        numbers = {code: number for codes in (cautions, setups) for number, code in enumerate(codes, start=1)}
        for machine in dict.fromkeys(row.machine for row in self._results):
            rows = [row for row in self._results if row.machine == machine]
            yield _machine_table(rows, numbers, machine, options.max_width)
        sentences = [f"{self._left_out:,} more rows are in report.csv."] if self._left_out else []
        sentences += conclude(self._results)
        sentences += [f"⚠{numbers[code]} {code}: {caution.message}" for code, caution in cautions.items()]
        sentences += [f"#{numbers[distinction]} {distinction}" for distinction in setups]
        sentences += [_sentence(row) for row in self._others]
        for sentence in sentences:
            yield Text(plain(sentence))


def _machine_table(
    rows: Sequence[Row], numbers: Mapping[str, int], machine: str, width: int
) -> "rich.table.Table":
    import rich.table
    from rich.text import Text

    note = Column(header="note", text=lambda row: terminal_note(row, numbers))
    columns, agreed = [], []
    for column in (*TERMINAL_COLUMNS, note):
        texts = {column.text(row) for row in rows}
        if texts == {""}:
            continue
        if column.droppable and len(texts) == 1:
            agreed.append(f"{column.header} {texts.pop()}")
        else:
            columns.append(column)
    cells = [[plain(column.text(row)) for column in columns] for row in rows]
    widths = _column_widths(columns, cells, width)
    table = rich.table.Table(
        box=None, pad_edge=False, collapse_padding=True, header_style="bold",
        title=Text(plain(machine), style="bold"), title_justify="left",
        caption=Text(plain(f"Throughout: {', '.join(agreed)}.")) if agreed else None, caption_justify="left",
    )  # fmt: skip
    for column, column_width in zip(columns, widths, strict=True):
        table.add_column(
            column.header,
            justify="right" if column.numeric else "left",
            overflow="fold",
            no_wrap=column.numeric,
            width=column_width,
        )
    for row in cells:
        table.add_row(*map(Text, row))
    return table


def _column_widths(
    columns: Sequence[Column], cells: Sequence[Sequence[str]], width: int
) -> Sequence[int | None]:
    """Returns widths in which words stay whole; None, for rich to choose, where there is no room for them."""
    needed, least = [], []
    for column, *texts in zip(columns, *cells, strict=True):
        needed.append(max(map(len, (column.header, *texts))))
        longest_word = max(len(word) for text in (column.header, *texts) for word in text.split(" "))
        least.append(needed[-1] if column.numeric else min(longest_word, 8) if column.folds else longest_word)
    spare = width - sum(least) - (len(columns) - 1)
    if spare < 0:
        return [None] * len(columns)
    widths = []
    for need, low in zip(needed, least, strict=True):
        widths.append(low + min(need - low, spare))
        spare -= widths[-1] - low
    return widths


def _sentence(row: Row) -> str:
    what = f"{scenario_text(row)} {workload_name(row.workload)}".strip()
    run = f"{what} with {row.configuration.strategy}"
    return f"{row.outcome}: {run} on {row.machine}: {row.reason}"


def _csv_cell(value: object) -> object:
    if isinstance(value, str):
        text = plain(value)
        return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text
    return value


def _markdown_row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
