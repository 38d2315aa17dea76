"""`tpuens-bench calibrate`: what equal arms differ by on this machine."""

from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tpuens.commands.options import DataDir

from ..suites import Request
from .compare import Budget, Strategy, choose_strategy, default_folder
from .options import (
    MemoryLimit,
    TimeLimit,
    check_strategies,
    choose_scenarios,
    find_strategies,
    make_limits,
    parse_budget,
)

if TYPE_CHECKING:
    from ..records.record import RunRecord

SCENARIOS = ("train-step", "train-epoch", "inference", "input-pipeline")


def calibrate(
    scenarios: Annotated[
        list[str] | None, typer.Argument(help=f"Scenarios; by default {', '.join(SCENARIOS)}.")
    ] = None,
    strategy: Strategy = None,
    data_dir: DataDir = None,
    budget: Budget = "3m",
    results: Annotated[
        Path | None, typer.Option(help="Folder for the records (default results/comparisons/…).")
    ] = None,
    whole_runs: Annotated[
        bool,
        typer.Option(
            "--whole-runs",
            help="Run after run rather than in turns, as `check --against` compares on a TPU.",
        ),
    ] = False,
    time_limit: TimeLimit = 3600.0,
    memory_limit: MemoryLimit = None,
) -> None:
    """Compare scenarios with themselves, and keep by how much equal arms differ here: the noise floor.

    The budget is that of each scenario. `compare` and `check` then call no smaller difference real.
    """
    from ..analysis.matching import split_arms
    from ..execution.compare_run import run_comparison
    from ..progress import ComparisonProgress

    seconds, limits = parse_budget(budget), make_limits(time_limit, memory_limit)
    _, chosen = choose_scenarios(list(scenarios or SCENARIOS), {}, None, data_dir)
    names = check_strategies([strategy]) if strategy else find_strategies()
    folder = results or default_folder("calibrate")
    for scenario in chosen:
        request = Request(suite="calibrate", scenario=scenario, strategy=choose_strategy(scenario, names))
        with ComparisonProgress() as progress:
            records = run_comparison(
                request,
                request,
                folder / scenario.name,
                budget_seconds=seconds,
                precision=None,
                whole_runs=whole_runs,
                limits=limits,
                advice=f"Go on with the same call and --results {folder}",
                observer=progress.observer,
            )
        typer.echo(keep_floor(*split_arms(records)))


def keep_floor(a: "list[RunRecord]", b: "list[RunRecord]") -> str:
    """Stores the noise floor that two equal arms give, and returns what was found in words."""
    from ..analysis.compare import make_floor
    from ..records.floors import save_floor
    from ..reporting.numbers import format_percent

    floor = make_floor(a, b, datetime.now(timezone.utc))
    save_floor(floor)
    by_cpu = f" ({format_percent(floor.cpu)} by CPU time)" if floor.cpu is not None else ""
    return (
        f"{floor.scenario_class}: {floor.pairs} pairs of equal arms do not exclude a bias of "
        f"{format_percent(floor.wall)} of their speed here{by_cpu}. Smaller differences are not called real."
    )
