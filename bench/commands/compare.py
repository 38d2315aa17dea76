"""`tpuens-bench compare`: two arms against each other, and what may be claimed."""

from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tpuens.commands.options import DataDir, list_given
from tpuens.errors import ConfigurationError

from ..scenarios.table import SCENARIOS
from ..suites import Request, Scenario
from .options import (
    Augment,
    Backbone,
    BatchSize,
    Cache,
    Colour,
    DatasetName,
    DtypePolicy,
    Env,
    ImageSize,
    Jit,
    Loader,
    Loop,
    MemoryLimit,
    NumParallelCalls,
    Optimizer,
    Option,
    Prefetch,
    StepsPerExecution,
    TimeLimit,
    check_strategies,
    choose_scenarios,
    collect_settings,
    find_strategies,
    make_limits,
    parse_budget,
    parse_pairs,
    vary_scenario,
)

if TYPE_CHECKING:
    from ..analysis.compare import Comparison
    from ..execution.limits import Limits
    from ..records.record import RunRecord

Budget = Annotated[str, typer.Option(help="How long it may take, such as 90s, 5m or 1h.")]
Strategy = Annotated[
    str | None, typer.Option(help="Strategy to measure. Default: the first accelerator's, else cpu.")
]
# What --resume may be given anew; all else is part of what is compared.
_OF_RESUME = "results", "resume", "budget", "time_limit", "memory_limit"
VARIED = "strategy, env.NAME, planted, or any of run's settings, such as jit=off,on"


def compare(
    context: typer.Context,
    arms: Annotated[
        list[str] | None,
        typer.Argument(help="Two results folders or records; the folder of a comparison; or a scenario."),
    ] = None,
    vary: Annotated[
        str | None, typer.Option(help=f"FIELD=A,B: compare two variants of a scenario. FIELD is {VARIED}.")
    ] = None,
    strategy: Strategy = None,
    backbone: Backbone = None,
    image_size: ImageSize = None,
    batch_size: BatchSize = None,
    dtype_policy: DtypePolicy = None,
    jit: Jit = None,
    dataset: DatasetName = None,
    augment: Augment = None,
    colour: Colour = None,
    cache: Cache = None,
    prefetch: Prefetch = None,
    num_parallel_calls: NumParallelCalls = None,
    steps_per_execution: StepsPerExecution = None,
    loop: Loop = None,
    loader: Loader = None,
    optimizer: Optimizer = None,
    data_dir: DataDir = None,
    option: Option = None,
    env: Env = None,
    budget: Budget = "5m",
    results: Annotated[
        Path | None, typer.Option(help="Folder for the records (default results/comparisons/…).")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the comparison in --results.")] = False,
    time_limit: TimeLimit = 3600.0,
    memory_limit: MemoryLimit = None,
) -> None:
    """Compare two arms: variants that take turns on this machine, or results that are there already."""
    if resume:
        given = [*(arms or ()), *list_given(context, *_OF_RESUME)]
        _resume(results, given, parse_budget(budget), make_limits(time_limit, memory_limit))
        return
    if vary is None:
        show_comparison(*_read_arms(arms or [], list_given(context)))
        return
    seconds, limits = parse_budget(budget), make_limits(time_limit, memory_limit)
    if len(arms or []) != 1:
        raise ConfigurationError(
            f"--vary takes one scenario. Received: {' '.join(arms or []) or 'none'}; vary={vary!r}"
        )
    settings, variables = collect_settings(context.params), parse_pairs("env", env or [])
    field = vary.partition("=")[0]
    _check_varied(field, list_given(context), variables)
    _, scenarios = choose_scenarios(list(arms or []), settings, option, data_dir)
    a, b = make_variants(scenarios, vary, strategy, variables, settings)
    folder = results or default_folder(f"{a.scenario.name}-{field}")
    run_and_show(a, b, folder, seconds, limits)


def make_variants(
    scenarios: tuple[Scenario, ...],
    vary: str,
    strategy: str | None,
    variables: dict[str, str],
    settings: dict[str, str],
) -> tuple[Request, Request]:
    """Returns the requests of both arms, which differ in the one field that is varied.

    Args:
        scenarios: What was named; one.
        vary: FIELD=A,B.
        strategy: Of both arms; None finds one that can run here.
        variables: Environment variables of both.
        settings: What was typed for both, which the scenario has.

    Raises:
        ConfigurationError: There is no such field, it means nothing to the scenario, or it is not given two
            different values.
    """
    field, _, text = vary.partition("=")
    values = text.split(",")
    if len(values) != 2 or values[0] == values[1] or len(scenarios) != 1:
        raise ConfigurationError(
            f"One field of one scenario gets two different values: FIELD=A,B, where FIELD is {VARIED}. "
            f"Received: vary={vary!r}"
        )
    is_variable, is_strategy = field.startswith("env."), field == "strategy"
    variants = [
        scenarios[0] if is_variable or is_strategy else vary_scenario(scenarios[0], field, value, settings)
        for value in values
    ]
    if is_strategy:
        strategies = check_strategies(values)
    else:
        names = check_strategies([strategy]) if strategy else find_strategies()
        strategies = [choose_strategy(scenarios[0], names)] * 2
    a, b = (
        Request(
            suite="compare",
            scenario=variant,
            strategy=chosen,
            variables=variables | ({field.removeprefix("env."): value} if is_variable else {}),
        )
        for variant, chosen, value in zip(variants, strategies, values, strict=True)
    )
    return a, b


def choose_strategy(scenario: Scenario, names: list[str]) -> str:
    """Returns the strategy of the first accelerator among those that suit the scenario, else the first."""
    able = SCENARIOS[scenario.name].choose_strategies(names)
    return next((name for name in able if not name.startswith("cpu")), able[0])


def default_folder(name: str, results: Path = Path("results")) -> Path:
    """Returns a new folder's path under results/comparisons, named after the time and what is compared."""
    return results / "comparisons" / f"{datetime.now(timezone.utc):%Y%m%dT%H%M%SZ}-{name}"


def run_and_show(
    a: Request, b: Request, folder: Path, budget_seconds: float, limits: "Limits"
) -> "Comparison":
    """Runs a comparison, shows it, and returns what came of it."""
    from ..analysis.matching import split_arms
    from ..execution.compare_run import run_comparison
    from ..progress import ComparisonProgress

    with ComparisonProgress() as progress:
        records = run_comparison(
            a,
            b,
            folder,
            budget_seconds=budget_seconds,
            limits=limits,
            advice=f"Go on with: tpuens-bench compare --resume --results {folder}",
            observer=progress.observer,
        )
    comparison = show_comparison(*split_arms(records), folder=folder)
    typer.echo(f"again: tpuens-bench compare {folder}")
    return comparison


def show_comparison(a: "list[RunRecord]", b: "list[RunRecord]", folder: Path | None = None) -> "Comparison":
    """Prints what came of comparing two sets of records, and returns it; writes it into the folder too."""
    from ..analysis.compare import compare_records, stored_floor
    from ..records.atomic import write_file
    from ..reporting.verdicts import comparison_markdown, comparison_text

    comparison = compare_records(a, b, find_floor=stored_floor)
    typer.echo(comparison_text(comparison))
    if folder is not None:
        write_file(folder / "compare.md", comparison_markdown(comparison).encode(), overwrite=True)
    return comparison


def _check_varied(field: str, given: list[str], variables: dict[str, str]) -> None:
    """Raises ConfigurationError where what is varied is set for both arms as well."""
    if f"--{field.replace('_', '-')}" in given or field in {f"env.{name}" for name in variables}:
        raise ConfigurationError(
            "The arms differ in the field that is varied, so it has no value for both: leave that option "
            f"out. Received: vary={field}=…, {', '.join(given)}"
        )


def _read_arms(paths: list[str], given: list[str]) -> "tuple[list[RunRecord], list[RunRecord]]":
    """Returns the records of both arms, which lie there; of `given`, the options, none means a thing then."""
    from ..analysis.matching import split_arms
    from ..records.store import latest_records, read_folder

    if len(paths) == 1 and paths[0] in SCENARIOS and not Path(paths[0]).exists():
        raise ConfigurationError(
            f"A scenario is compared with itself under another setting: add --vary FIELD=A,B, where FIELD "
            f"is {VARIED}. Received: {paths[0]!r} alone"
        )
    if len(paths) not in (1, 2):
        raise ConfigurationError(
            "Name two results folders or records, the folder of a comparison, or a scenario with --vary. "
            f"Received: {len(paths)} arguments"
        )
    if given:
        raise ConfigurationError(
            "Results that are there already are compared as they were measured: leave the options out, or "
            "give them to a scenario that is measured now, with --vary FIELD=A,B. "
            f"Received: {', '.join(given)}, for {' and '.join(paths)}"
        )
    if len(paths) == 2:
        a, b = (latest_records(read_folder(Path(path))) for path in paths)
        return a, b
    a, b = split_arms(read_folder(Path(paths[0])))
    if not a or not b:
        raise ConfigurationError(
            "One folder is shown again where it holds a comparison; name a second one to compare with. "
            f"Received: {paths[0]}"
        )
    return a, b


def _resume(results: Path | None, given: list[str], budget_seconds: float, limits: "Limits") -> None:
    """Goes on with the comparison in a folder; what is `given` beside it would change what it compares."""
    from ..execution.comparison_plan import load_plan

    if given or results is None:
        raise ConfigurationError(
            "--resume goes on with the comparison in --results as it was asked for: beside that folder it "
            "takes --budget, --time-limit and --memory-limit alone. Leave out what else there is, or start a "
            f"comparison of its own. Received: {', '.join(given) or 'nothing else'}; results={results}"
        )
    plan = load_plan(results)
    run_and_show(plan.a, plan.b, results, budget_seconds, limits)
