"""`tpuens-bench baseline`: records kept under a name, for `check --baseline NAME`."""

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Keep records under a name, for `check --baseline NAME`.",
)


@app.command("set")
def set_named(
    name: Annotated[str, typer.Argument(help="The baseline's name.")],
    folders: Annotated[
        list[Path],
        typer.Argument(help="Run folders whose records become the baseline; best of several days."),
    ],
    replace: Annotated[bool, typer.Option("--replace", help="In the place of one of that name.")] = False,
) -> None:
    """Copy the records of run folders to results/baselines/NAME."""
    from ..records.baselines import set_baseline
    from ..records.store import read_folder

    place = set_baseline(name, folders, replace=replace)
    typer.echo(f"{place}: {len(read_folder(place))} records")


@app.command()
def show(name: Annotated[str | None, typer.Argument(help="One baseline; all by default.")] = None) -> None:
    """Show what baselines there are, and what they hold."""
    from ..records.baselines import BASELINES_FOLDER, list_baselines, read_baseline

    names = [name] if name else list_baselines()
    if not names:
        typer.echo("No baselines yet: tpuens-bench baseline set NAME FOLDER...")
    for one in names:
        records = read_baseline(one)
        days = sorted({record.created[:10] for record in records})
        machines = sorted({record.environment.machine_label for record in records if record.environment})
        typer.echo(f"{BASELINES_FOLDER / one}: {days[0]} to {days[-1]}, on {', '.join(machines)}")
        runs = Counter((record.workload.scenario, record.configuration.strategy) for record in records)
        for (scenario, strategy), count in sorted(runs.items()):
            typer.echo(f"  {scenario:<20}{strategy:<16}{count} run{'s' if count > 1 else ''}")
