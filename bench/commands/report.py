"""`tpuens-bench report`: results side by side."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

PriceOption = Annotated[
    list[str] | None,
    typer.Option(
        "--price",
        metavar="NAME=DOLLARS",
        help="Dollars an hour of a machine (by its label), a SKU or a device; may be given again.",
    ),
]


def report(
    folders: Annotated[list[Path], typer.Argument(help="Results of any number of runs and machines.")],
    reference: Annotated[
        str | None, typer.Option(help="Label of the machine that speed-ups are against (default the first).")
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Where report.html, .md and .csv go (default the first folder).")
    ] = None,
    price: PriceOption = None,
) -> None:
    """Put results side by side: a table here, and report.html, report.md and report.csv."""
    from ..analysis.economics import parse_prices
    from ..records.store import read_folder

    first, *others = [read_folder(folder) for folder in folders]
    prices = parse_prices(price or [])
    make_report(first, output or _as_folder(folders[0]), reference, *others, prices=prices)


def make_report(
    records: list[Any],
    output: Path,
    reference: str | None,
    *others: list[Any],
    prices: Mapping[str, float] | None = None,
) -> None:
    """Prints the table of all records of a run folder, and of others, and writes the report files."""
    from rich.console import Console

    from ..records.store import latest_records
    from ..reporting.contents import collect_contents
    from ..reporting.html import write_report
    from ..reporting.tables import terminal_table

    latest = latest_records(records, *others)
    superseded = len({record.id for folder in (records, *others) for record in folder}) - len(latest)
    contents = collect_contents(latest, reference, superseded, prices)
    Console().print(terminal_table(contents.rows))
    typer.echo(f"report: {write_report(output, contents)}")


def _as_folder(path: Path) -> Path:
    return path.parent if path.is_file() else path
