"""`tpuens-bench check`: has anything become slower, larger or less accurate than the baseline?"""

from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tpuens.commands.options import DataDir, list_given
from tpuens.errors import ConfigurationError

from ..scenarios.table import SCENARIOS
from ..suites import Request, Scenario, plan_requests
from .options import (
    Backbone,
    BatchSize,
    DatasetName,
    DtypePolicy,
    Env,
    ImageSize,
    Jit,
    Option,
    check_strategies,
    choose_scenarios,
    collect_settings,
    find_strategies,
    parse_budget,
    parse_pairs,
)

if TYPE_CHECKING:
    from ..analysis.checks import CheckResult
    from ..analysis.thresholds import Gate, Thresholds
    from ..records.floors import Floor
    from ..records.record import RunRecord

# What is checked where nothing is named: the step, and that arithmetic does not change the answers.
_DEFAULT = ["train-step", "agreement"]
_ACCURACY = "ensemble-accuracy"
# What means something to records that are there already; all else is for runs that are made now.
_OF_STORED = "baseline", "results", "threshold", "require", "markdown", "junit"


Against = Annotated[
    str | None, typer.Option(metavar="REV", help="Run that commit beside this tree, and compare.")
]
Baseline = Annotated[
    str | None, typer.Option(help="Stored records to compare with: a folder, or the name of a baseline.")
]
Names = Annotated[
    list[str] | None,
    typer.Argument(help="Suites or scenarios from `tpuens-bench list`; train-step and agreement by default."),
]
Require = Annotated[
    list[str] | None,
    typer.Option(
        help="A gate that must be told, else exit code 2: speed, memory, compile, accuracy or agreement; "
        "may be given again."
    ),
]
Results = Annotated[
    Path | None,
    typer.Option(help="Records to check rather than runs made now; or, with --against, where runs go."),
]
Seeds = Annotated[
    int | None,
    typer.Option(min=1, help="Check ensemble-accuracy too, over so many seeds; 3 at least tell."),
]
Strategies = Annotated[
    list[str] | None,
    typer.Option(help="Strategy to check; may be given again. Default: all that can run."),
]
Threshold = Annotated[
    list[str] | None,
    typer.Option(
        help="GATE=SHARE or SCENARIO.GATE=SHARE, such as speed=0.03, over pyproject.toml; may be given again."
    ),
]


def check(
    context: typer.Context,
    names: Names = None,
    against: Against = None,
    baseline: Baseline = None,
    results: Results = None,
    seeds: Seeds = None,
    budget: Annotated[
        str, typer.Option(help="How long each comparison of --against may take, such as 90s, 5m or 1h.")
    ] = "5m",
    repeats: Annotated[int, typer.Option(min=1, help="With --baseline: runs made now of each scenario.")] = 3,
    strategy: Strategies = None,
    backbone: Backbone = None,
    image_size: ImageSize = None,
    batch_size: BatchSize = None,
    dtype_policy: DtypePolicy = None,
    jit: Jit = None,
    dataset: DatasetName = None,
    data_dir: DataDir = None,
    option: Option = None,
    env: Env = None,
    threshold: Threshold = None,
    require: Require = None,
    markdown: Annotated[Path | None, typer.Option(help="Also write a summary for a pull request.")] = None,
    junit: Annotated[Path | None, typer.Option(help="Also write JUnit XML for a CI service.")] = None,
) -> None:
    """Check speed, memory, compile time, accuracy and agreement against a baseline.

    Exit code 0: every gate that could be told holds. 1: a gate is broken, or a new run failed. 2: the call
    must be mended, or nothing could be told.
    """
    from ..analysis.checks import check_records
    from ..analysis.thresholds import check_gate, load_thresholds

    thresholds = load_thresholds(Path(), threshold or (), scenarios=SCENARIOS)
    required = [check_gate(name, "require") for name in require or ()]
    settings, budget_seconds = collect_settings(context.params), parse_budget(budget)
    _check_sides(against, baseline, results, list_given(context))
    if results is not None and against is None:
        _refuse_for_stored([*(names or ()), *list_given(context, *_OF_STORED)])
    strategies: list[str] = []
    if results is not None and against is None:
        new, old = _read_stored(results, baseline)
    else:
        suite, scenarios = _choose(names, seeds, settings, option, data_dir)
        variables, strategies = parse_pairs("env", env or []), check_strategies(strategy)
        plan = partial(_plan, suite, scenarios, strategies, variables)
        if against is not None:
            new, old = _run_against(against, plan(repeats=1), results, budget_seconds, thresholds)
        else:
            new, old = _run_now(partial(plan, repeats=repeats), baseline or "")
    if strategies:  # what was not asked for is not missed
        old = [record for record in old if record.configuration.strategy in strategies] or old
    result = check_records(new, old, thresholds, find_floor=_find_floor)
    title = f"{results or 'this tree'} against {against or baseline or 'its own baseline'}"
    show_result(result, title, required, markdown=markdown, junit=junit)


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


def _check_sides(
    against: str | None, baseline: str | None, results: Path | None, given: Sequence[str]
) -> None:
    """Raises ConfigurationError where it is not clear what is held against what.

    Args:
        against: As it was given.
        baseline: Likewise.
        results: Likewise.
        given: The options of the call.
    """
    sides = f"against={against!r}, baseline={baseline!r}, results={results and str(results)!r}"
    if against is None and baseline is None and results is None:
        raise ConfigurationError(
            "A check needs something to hold to: --against REV runs that commit beside this tree, --baseline "
            f"takes stored records, --results a folder that an earlier check has made. Received: {sides}"
        )
    if against is not None and baseline is not None:
        raise ConfigurationError(f"Give one baseline: --against or --baseline. Received: {sides}")
    if against is not None and "--repeats" in given:
        raise ConfigurationError(
            "Leave out --repeats: --against runs pairs until the interval is narrow or --budget is spent. "
            f"Received: --repeats, {sides}"
        )
    if results is None and against is None and "--budget" in given:
        raise ConfigurationError(
            "Leave out --budget: --baseline makes as many runs as --repeats says, and --budget is for the "
            f"comparisons of --against. Received: --budget, {sides}"
        )


def _refuse_for_stored(given: Sequence[str]) -> None:
    """Raises ConfigurationError where something is given that is for runs made now alone."""
    if given:
        raise ConfigurationError(
            "Records that are there already are checked as they are: leave out scenarios, settings and all "
            "that is for runs made now, or leave out --results to make such runs. "
            f"Received: {', '.join(given)}"
        )


def _choose(
    names: list[str] | None,
    seeds: int | None,
    settings: dict[str, str],
    option: list[str] | None,
    data_dir: str | None,
) -> tuple[str, tuple[Scenario, ...]]:
    """Returns the suite and the scenarios that are to be run."""
    asked = [*(names or _DEFAULT), *([_ACCURACY] if seeds else [])]
    own = [*(option or []), *([f"seeds={seeds}"] if seeds else [])]
    return choose_scenarios(list(dict.fromkeys(asked)), settings, own, data_dir)


def _plan(
    suite: str,
    scenarios: tuple[Scenario, ...],
    strategies: list[str],
    variables: dict[str, str],
    *,
    repeats: int,
) -> list[Request]:
    """Returns the runs; which strategies can run here is asked of another process, which takes seconds."""
    return plan_requests(
        suite,
        scenarios,
        strategies=strategies or find_strategies(),
        repeats=repeats,
        variables=variables,
    )


def _read_stored(results: Path, baseline: str | None) -> "tuple[list[RunRecord], list[RunRecord]]":
    from ..execution.check_run import read_sides
    from ..records.baselines import read_baseline
    from ..records.store import latest_records, read_folder

    if baseline is not None:
        return latest_records(read_folder(results)), read_baseline(baseline)
    new, old = read_sides(results)
    if not old:
        raise ConfigurationError(
            "These records hold no side to compare with: give --baseline as well. "
            f"Received: results={str(results)!r}"
        )
    return new, old


def _run_now(plan: Callable[[], list[Request]], baseline: str) -> "tuple[list[RunRecord], list[RunRecord]]":
    """Returns the records of runs made now, and those of a baseline, which is read first."""
    from ..execution.limits import default_limits
    from ..execution.suite_run import Plan, default_folder, run_requests, save_plan
    from ..progress import SuiteProgress
    from ..records.baselines import read_baseline

    old = read_baseline(baseline)
    requests, folder = plan(), default_folder("check")
    save_plan(folder, Plan(suite="check", requests=tuple(requests)))
    with SuiteProgress() as progress:
        new = run_requests(requests, folder, limits=default_limits(), observer=progress.observer)
    typer.echo(f"again: tpuens-bench check --results {folder} --baseline {baseline}", err=True)
    return new, old


def _run_against(
    revision: str,
    requests: Sequence[Request],
    results: Path | None,
    budget_seconds: float,
    thresholds: "Thresholds",
) -> "tuple[list[RunRecord], list[RunRecord]]":
    from rich.console import Console
    from rich.markup import escape

    from ..execution.check_run import CheckObserver, read_sides, run_against
    from ..execution.revisions import check_out

    console = Console(stderr=True)
    name = f"{datetime.now(timezone.utc):%Y%m%dT%H%M%SZ}-check"
    folder = results or Path("results") / "comparisons" / name
    with check_out(revision) as tree, console.status("starting") as status:
        observer = CheckObserver(
            on_progress=lambda request, side, progress: status.update(
                escape(f"{request.title} · {side}: {progress.phase}")
            ),
            on_note=console.print,
        )
        run_against(
            tree,
            requests,
            folder,
            budget_seconds=budget_seconds,
            thresholds=thresholds,
            observer=observer,
        )
    typer.echo(f"again: tpuens-bench check --results {folder}", err=True)
    return read_sides(folder)


def _find_floor(record: "RunRecord") -> "Floor | None":
    from ..analysis.compare import floor_class, stored_floor

    return stored_floor(record, floor_class(record, record.turns.manner if record.turns else "turns"))
