"""`tpuens-bench import`: results of other tools as records."""

from pathlib import Path
from typing import Annotated

import msgspec
import typer

from .run import Results


def import_results(
    files: Annotated[list[Path], typer.Argument(help="Files of pytest-benchmark, with their data.")],
    results: Results = None,
) -> None:
    """Turn files of pytest-benchmark into records."""
    from ..execution.suite_run import default_folder
    from ..records.store import RecordError, write_record
    from ..reporting.pytest_json import import_benchmarks

    records = []
    for path in files:
        try:
            payload = msgspec.json.decode(path.read_bytes())
        except (OSError, msgspec.DecodeError) as error:
            raise RecordError(
                f"Expected a file that pytest-benchmark wrote ({error}). Received: {path}"
            ) from error
        records += import_benchmarks(payload, path)
    folder = results or default_folder("import")
    for record in records:
        write_record(folder, record)
    typer.echo(f"{len(records)} records: {folder}")
