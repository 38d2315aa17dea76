"""`tpuens-bench selftest`: does the instrument keep what it promises?"""

import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tpuens import __version__
from tpuens.errors import ConfigurationError, InterruptedRunError, RunError

if TYPE_CHECKING:
    from ..analysis.rates import Rate

RESULTS = Path("results/selftest")
ITEMS_FOLDER = "items"


def selftest(
    simulated_only: Annotated[
        bool, typer.Option("--simulated-only", help="Leave out what takes real runs; a minute.")
    ] = False,
    results: Annotated[Path, typer.Option(help="Folder for the report, and for the real runs.")] = RESULTS,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the real runs that are in the folder.")
    ] = False,
) -> None:
    """Hold the instrument against its own promises: coverage, false alarms, slowdowns that must be found.

    The simulated part takes a minute. The real runs take an hour on 2 cores; they can be
    interrupted, and gone on with by --resume. Exit code 1: a promise is not kept.
    """
    from ..analysis.simulation import simulate

    items = results / ITEMS_FOLDER
    if items.exists() and not (resume or simulated_only):
        raise ConfigurationError(
            "Real runs lie in this folder already: go on with them by --resume, or choose another --results. "
            f"Received: results={str(results)!r}"
        )
    rates = simulate(on_rate=lambda rate: _tell(f"{rate.group}: {rate.title}: {rate.rate:.1%}"))
    try:
        if not simulated_only:
            from ..execution.items import run_items
            from ..execution.selftest_items import make_items

            run_items(make_items(), items, tell=_tell)
    except InterruptedRunError:
        raise InterruptedRunError(
            "Stopped; what was finished is kept, and is in the report. Go on with: "
            f"tpuens-bench selftest --resume --results {results}"
        ) from None
    finally:
        passed = _report(rates, results)
    if not passed:
        raise RunError("The self-test failed: a promise is not kept. The report says which.")


def _report(rates: "list[Rate]", results: Path) -> bool:
    """Writes the report of what there is, and returns whether it passes."""
    import numpy as np
    import scipy

    from ..analysis.selftest_results import read_real_runs
    from ..reporting.selftest_page import SelfTest, write_selftest

    real = read_real_runs(results / ITEMS_FOLDER)
    result = SelfTest(
        created=datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        versions={
            "python": sys.version.split()[0],
            "tpuens": __version__,
            "numpy": np.__version__,
            "scipy": scipy.__version__,
        },
        rates=(*rates, *real.rates),
        findings=real.findings,
        missing=real.missing,
    )
    typer.echo(f"report: {write_selftest(results, result)}")
    return result.passed


def _tell(line: str) -> None:
    typer.echo(line, err=True)
