"""`tpuens-bench list`: suites and scenarios by name."""

import typer

from ..peers.table import PEERS
from ..scenarios.table import SCENARIOS
from ..suites import SUITES


def list_all() -> None:
    """List suites and scenarios."""
    typer.echo("Suites")
    for suite in (*SUITES.values(), PEERS):
        typer.echo(f"  {suite.name:<20}{suite.summary}")
        typer.echo(f"  {'':<20}{suite.command} · {suite.hardware} · {suite.duration}")
    typer.echo("\nScenarios")
    for row in SCENARIOS.values():
        typer.echo(f"  {row.name:<20}{row.summary}")
        if row.options:
            pairs = " ".join(f"--option {name}={value}" for name, value in row.options.items())
            typer.echo(f"  {'':<20}{pairs}")
