"""`tpuens-bench selftest`: does the instrument keep what it promises?"""

import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated

import typer

from tpuens import __version__
from tpuens.errors import RunError

RESULTS = Path("results/selftest")


def selftest(
    simulated_only: Annotated[
        bool, typer.Option("--simulated-only", help="Leave out what takes real runs; half a minute.")
    ] = False,
    results: Annotated[Path, typer.Option(help="Folder for the report.")] = RESULTS,
) -> None:
    """Hold the instrument against its own promises: coverage, false alarms, slowdowns that must be found."""
    import numpy as np
    import scipy

    from ..analysis.simulation import simulate
    from ..reporting.selftest_page import SelfTest, write_selftest

    rates = simulate(
        on_rate=lambda rate: typer.echo(f"{rate.group}: {rate.title}: {rate.rate:.1%}", err=True)
    )
    result = SelfTest(
        created=datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        versions={
            "python": sys.version.split()[0],
            "tpuens": __version__,
            "numpy": np.__version__,
            "scipy": scipy.__version__,
        },
        rates=tuple(rates),
        missing=("real runs",) if simulated_only else (),
    )
    typer.echo(f"report: {write_selftest(results, result)}")
    if not result.passed:
        raise RunError("The self-test failed: a promise is not kept. The report says which.")
