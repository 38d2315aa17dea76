"""`tpuens-bench run`: measure, keep records, report."""

from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from tpuens.commands.options import DataDir, list_given
from tpuens.errors import ConfigurationError, DeviceError, RunError

from ..peers.table import PEERS
from ..suites import Request, plan_requests
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
    look_at_machine,
    make_limits,
    parse_pairs,
)
from .peers import run_peers
from .report import make_report

Names = Annotated[
    list[str] | None, typer.Argument(help="Suites or scenarios from `tpuens-bench list`; quick by default.")
]
# What may stand beside peers, and beside --resume; all else would not be heeded.
_OF_PEERS = "only", "budget", "data_dir", "results", "resume", "dry_run"
_OF_RESUME = "resume", "results", "dry_run", "profile", "time_limit", "memory_limit"
Results = Annotated[Path | None, typer.Option(help="Folder for the records (default results/runs/…).")]


def run(
    context: typer.Context,
    names: Names = None,
    strategy: Annotated[
        list[str] | None,
        typer.Option(help="Strategy to measure; may be given again. Default: all that can run here."),
    ] = None,
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
    repeats: Annotated[int, typer.Option(help="Processes for each scenario and strategy.")] = 1,
    option: Option = None,
    env: Env = None,
    results: Results = None,
    resume: Annotated[bool, typer.Option("--resume", help="Run only what is missing.")] = False,
    profile: Annotated[
        bool, typer.Option("--profile", help="Keep a TensorBoard trace of a few steps after the timed ones.")
    ] = False,
    tune: Annotated[
        bool,
        typer.Option(
            "--tune",
            help="Choose batch size, XLA, steps a call and threads by short trials before measuring; what "
            "you set yourself stays. What was found is kept for the next time.",
        ),
    ] = False,
    retune: Annotated[
        bool, typer.Option("--retune", help="As --tune, and try again what was found before.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the runs and the time they take.")
    ] = False,
    time_limit: TimeLimit = 3600.0,
    memory_limit: MemoryLimit = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            help="With `run peers`: GROUP or GROUP/CLAIM, with * for anything, GROUP being input, cache, "
            "first-step, step, head, ensemble or commands; may be given again."
        ),
    ] = None,
    budget: Annotated[
        str | None, typer.Option(help="With `run peers`: for each measurement, such as 3m.")
    ] = None,
) -> None:
    """Measure this machine and write a report."""
    from ..execution import suite_run

    settings = collect_settings(context.params)
    if names and PEERS.name in names:
        others = [name for name in names if name != PEERS.name]
        _refuse_with_peers([*others, *list_given(context, *_OF_PEERS)])
        run_peers(
            only or [], budget=budget, data_dir=data_dir, results=results, resume=resume, dry_run=dry_run
        )
        return
    if only or budget:
        raise ConfigurationError(
            f"--only and --budget belong to {PEERS.name}, whose runs are comparisons. Received: {names}"
        )
    limits = make_limits(time_limit, memory_limit)
    if resume:
        _refuse_with_resume([*(names or []), *list_given(context, *_OF_RESUME)])
        folder = results or suite_run.find_interrupted()
        plan = suite_run.load_plan(folder)
        requests = suite_run.find_missing(folder, plan)
    else:
        suite, scenarios = choose_scenarios(names or [], settings, option, data_dir)
        strategies, variables = check_strategies(strategy) or find_strategies(), parse_pairs("env", env or [])
        requests = plan_requests(
            suite, scenarios, strategies=strategies, repeats=repeats, variables=variables
        )
        plan = suite_run.Plan(suite=suite, requests=tuple(requests))
        folder = results or suite_run.default_folder(suite)
    if dry_run:
        _print_plan(requests, folder, is_known=not (resume or settings or option))
        if tune or retune:
            typer.echo("Trials of settings come before them, for minutes where none are kept.")
        return
    if not resume:
        suite_run.check_unused(folder)
        if tune or retune:
            requests = _tune(requests, folder, settings, (time_limit, memory_limit), retune=retune)
            plan = msgspec.structs.replace(plan, requests=tuple(requests))
        suite_run.save_plan(folder, plan)
    if profile:
        requests = suite_run.profile_requests(requests, folder)
    _run_and_report(requests, folder, limits)


def _refuse_with_peers(given: list[str]) -> None:
    if given:
        raise ConfigurationError(
            f"The claims of {PEERS.name} have settings of their own, on the CPU: give it --only, --budget, "
            f"--data-dir, --results, --resume and --dry-run. Received: {', '.join(given)}"
        )


def _refuse_with_resume(given: list[str]) -> None:
    if given:
        raise ConfigurationError(
            "--resume goes on with a folder's runs as they were asked for: give it --results alone, or start "
            f"a new run. Received: {', '.join(given)}"
        )


def _tune(
    requests: list[Request],
    folder: Path,
    typed: dict[str, str],
    limits: tuple[float, float | None],
    *,
    retune: bool,
) -> list[Request]:
    from ..execution.tuning import Tuner
    from ..progress import TuningProgress

    machine = look_at_machine()
    with TuningProgress() as progress:
        return Tuner(
            fingerprint=machine["fingerprint"],
            versions=machine["versions"],
            logs=folder / "logs",
            make_limits=lambda: make_limits(*limits),
            typed=typed,
            retune=retune,
            observer=progress.observer,
        ).tune(requests)


def _print_plan(requests: list[Request], folder: Path, *, is_known: bool) -> None:
    """Prints the runs, with the time that each takes where nobody changed what it does."""
    for number, request in enumerate(requests, 1):
        repeat = f" (repeat {request.repeat + 1})" if request.repeat else ""
        seconds = f"  about {request.scenario.seconds:.0f} s" if is_known else ""
        typer.echo(f"{number:3d}  {request.title}{repeat}{seconds}")
    minutes = sum(request.scenario.seconds for request in requests) / 60
    time = (
        f"about {minutes:.1f} minutes on 2 cores without an accelerator"
        if is_known
        else "for a time that nobody knows with settings of your own"
    )
    typer.echo(f"{len(requests)} runs, {time}; records would go to {folder}")


def _run_and_report(requests: list[Request], folder: Path, limits: Any) -> None:
    from ..execution.suite_run import PROFILES, run_requests
    from ..progress import SuiteProgress
    from ..records.store import read_folder

    with SuiteProgress() as progress:
        fresh = run_requests(requests, folder, limits=limits, observer=progress.observer)
    make_report(read_folder(folder), folder, None)
    if (folder / PROFILES).exists():
        typer.echo(f"traces: {folder / PROFILES} (tensorboard --logdir {folder / PROFILES})")
    if fresh and all(record.status == "skipped" for record in fresh):
        raise DeviceError(f"Nothing could be measured here: {fresh[0].reason}")
    failed = [record for record in fresh if record.status == "failed"]
    if failed:
        raise RunError(
            f"{len(failed)} of {len(fresh)} runs failed; the report says why, and the logs are in "
            f"{folder / 'logs'}. Run them again with: tpuens-bench run --resume --results {folder}"
        )
