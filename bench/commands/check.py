"""`tpuens-bench check`: has anything become slower, larger or less accurate than the baseline?"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tpuens.errors import ConfigurationError

if TYPE_CHECKING:
    from ..analysis.checks import CheckResult
    from ..analysis.thresholds import Gate


def check(
    baseline: Annotated[
        str | None, typer.Option(help="Stored records to check against: a folder, or the name of a baseline.")
    ] = None,
    results: Annotated[Path | None, typer.Option(help="The records to check.")] = None,
    threshold: Annotated[
        list[str] | None,
        typer.Option(help="GATE=SHARE or SCENARIO.GATE=SHARE, over pyproject.toml; may be given again."),
    ] = None,
    require: Annotated[
        list[str] | None,
        typer.Option(help="A gate that must be told: else exit code 2. May be given again."),
    ] = None,
    markdown: Annotated[Path | None, typer.Option(help="Also write a summary for a pull request.")] = None,
    junit: Annotated[Path | None, typer.Option(help="Also write JUnit XML for a CI service.")] = None,
) -> None:
    """Check speed, memory, compile time, accuracy and agreement against a baseline.

    Exit code 0: every gate that could be told holds. 1: a gate is broken. 2: the call must be mended.
    """
    from ..analysis.checks import check_records
    from ..analysis.thresholds import check_gate, load_thresholds
    from ..records.baselines import find_baseline
    from ..records.store import latest_records, read_folder
    from ..scenarios.table import SCENARIOS

    thresholds = load_thresholds(Path(), threshold or (), scenarios=SCENARIOS)
    required = [check_gate(name, "require") for name in require or ()]
    if results is None or baseline is None:
        raise ConfigurationError("Two sets of records are compared: give --results and --baseline.")
    new, old = (latest_records(read_folder(place)) for place in (results, find_baseline(baseline)))
    result = check_records(new, old, thresholds)
    show_result(result, f"{results} against {baseline}", required, markdown=markdown, junit=junit)


def show_result(
    result: "CheckResult",
    title: str,
    required: Sequence["Gate"],
    *,
    markdown: Path | None = None,
    junit: Path | None = None,
) -> None:
    """Prints the result, writes the files that are asked for, and ends with the exit code.

    Raises:
        typer.Exit: Always; its code is what the gates make of it.
    """
    from rich.console import Console

    from ..records.atomic import write_file
    from ..reporting.check_report import conclude, list_notes, markdown_summary, terminal_tables
    from ..reporting.junit import junit_xml

    console = Console()
    for part in terminal_tables(result):
        console.print(part)
    for note in (*list_notes(result), conclude(result, required)):
        typer.echo(note)
    if markdown:
        write_file(markdown, markdown_summary(result, title, required).encode(), overwrite=True)
    if junit:
        write_file(junit, junit_xml(result, title, required), overwrite=True)
    raise typer.Exit(result.exit_code(required))
