"""`tpuens-bench export`: results for other tools."""

from pathlib import Path
from typing import Annotated

import msgspec
import typer

from tpuens.errors import unknown_name_error

FORMAT = "pytest-benchmark"


def export(
    folders: Annotated[list[Path], typer.Argument(help="Results of any number of runs and machines.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The file to write.")],
    format_: Annotated[str, typer.Option("--format", help="Whose format: pytest-benchmark.")] = FORMAT,
) -> None:
    """Write results as a file that `pytest-benchmark compare` reads."""
    from ..records.atomic import write_file
    from ..records.store import latest_records, read_folder
    from ..reporting.pytest_json import export_records

    if format_ != FORMAT:
        raise unknown_name_error("format", "format", format_, [FORMAT])
    payload = export_records(latest_records(*map(read_folder, folders)))
    write_file(output, msgspec.json.format(msgspec.json.encode(payload), indent=1) + b"\n", overwrite=True)
    typer.echo(f"{len(payload['benchmarks'])} benchmarks: {output}")
