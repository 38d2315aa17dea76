"""`tpuens-bench run`: measure, keep records, report."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from tpuens.commands.options import DataDir, resolve_data_dir
from tpuens.errors import ConfigurationError, DeviceError, RunError, unknown_name_error

from ..scenarios.table import SCENARIOS
from ..settings import change_scenario, read_settings
from ..suites import Request, Scenario, find_scenarios, plan_requests
from .report import make_report

Names = Annotated[
    list[str] | None, typer.Argument(help="Suites or scenarios from `tpuens-bench list`; quick by default.")
]
Results = Annotated[Path | None, typer.Option(help="Folder for the records (default results/runs/…).")]


def run(
    names: Names = None,
    strategy: Annotated[
        list[str] | None,
        typer.Option(help="Strategy to measure; may be given again. Default: all that can run here."),
    ] = None,
    backbone: Annotated[str | None, typer.Option(help="Another backbone in all scenarios.")] = None,
    image_size: Annotated[int | None, typer.Option(help="Height and width in all scenarios.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Examples on each replica.")] = None,
    dtype_policy: Annotated[
        str | None, typer.Option(help="float32, mixed_bfloat16 or mixed_float16.")
    ] = None,
    jit: Annotated[bool | None, typer.Option("--jit/--no-jit", help="Compile with XLA.")] = None,
    dataset: Annotated[str | None, typer.Option(help="Another data set in scenarios that use one.")] = None,
    augment: Annotated[
        str | None, typer.Option(help="Augmentations of the input pipeline, joined by +, or none.")
    ] = None,
    colour: Annotated[str | None, typer.Option(help="rgb or grey.")] = None,
    cache: Annotated[str | None, typer.Option(help="Where decoded images are kept: none or memory.")] = None,
    prefetch: Annotated[int | None, typer.Option(help="Batches that are made ahead.")] = None,
    loop: Annotated[
        str | None, typer.Option(help="Whose training loop: tpuens, or keras-fit for Keras's own.")
    ] = None,
    data_dir: DataDir = None,
    repeats: Annotated[int, typer.Option(help="Processes for each scenario and strategy.")] = 1,
    option: Annotated[
        list[str] | None,
        typer.Option(help="NAME=VALUE for scenarios that have such an option, as `list` shows them."),
    ] = None,
    env: Annotated[
        list[str] | None, typer.Option(help="NAME=VALUE for the workers, such as XLA_FLAGS or thread counts.")
    ] = None,
    results: Results = None,
    resume: Annotated[bool, typer.Option("--resume", help="Run only what is missing.")] = False,
    profile: Annotated[
        bool, typer.Option("--profile", help="Keep a TensorBoard trace of a few steps after the timed ones.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the runs and the time they take.")
    ] = False,
    time_limit: Annotated[float, typer.Option(help="Seconds after which a run is stopped.")] = 3600.0,
    memory_limit: Annotated[
        float | None, typer.Option(help="GiB above which a run is stopped (default: 0.9 of what is free).")
    ] = None,
) -> None:
    """Measure this machine and write a report."""
    from ..execution import suite_run
    from ..execution.limits import default_limits

    given = {
        "backbone": backbone,
        "image_size": image_size,
        "batch_size": batch_size,
        "dtype_policy": dtype_policy,
        "jit": None if jit is None else "on" if jit else "off",
        "dataset": dataset,
        "augment": augment,
        "colour": colour,
        "cache": cache,
        "prefetch": prefetch,
        "loop": loop,
    }
    if resume:
        _refuse_with_resume(names, strategy, option, *given.values())
        folder = results or suite_run.find_interrupted()
        plan = suite_run.load_plan(folder)
        requests = suite_run.find_missing(folder, plan)
    else:
        suite, scenarios = find_scenarios(names or ())
        changes = read_settings({name: str(value) for name, value in given.items() if value is not None})
        changes["data_dir"] = resolve_data_dir(data_dir)
        scenarios = _override(scenarios, changes, _parse_pairs("option", option or []))
        plan = suite_run.Plan(
            suite=suite,
            requests=tuple(
                plan_requests(
                    suite,
                    scenarios,
                    strategies=_check_strategies(strategy) or _find_strategies(),
                    repeats=repeats,
                    variables=_parse_pairs("env", env or []),
                )
            ),
        )
        folder = results or suite_run.default_folder(suite)
        requests = list(plan.requests)
    if dry_run:
        _print_plan(requests, folder)
        return
    if not resume:
        suite_run.save_plan(folder, plan)
    if profile:
        requests = suite_run.profile_requests(requests, folder)
    limits = replace(default_limits(), seconds=time_limit)
    if memory_limit is not None:
        limits = replace(limits, memory_bytes=int(memory_limit * 2**30))
    _run_and_report(requests, folder, limits)


def _refuse_with_resume(*given: Any) -> None:
    if any(value is not None and value != [] for value in given):
        raise ConfigurationError(
            "--resume goes on with a folder's runs as they were asked for: give it --results alone, or start "
            f"a new run. Received: {', '.join(str(value) for value in given if value)}"
        )


def _override(
    scenarios: tuple[Scenario, ...], changes: dict[str, Any], options: dict[str, str]
) -> tuple[Scenario, ...]:
    """Returns the scenarios with what the command line sets; those that become the same count once."""
    known = {name for scenario in scenarios for name in SCENARIOS[scenario.name].options}
    for name in options:
        if name not in known:
            raise unknown_name_error("option", "option", name, known)
    unique: list[Scenario] = []
    for scenario in scenarios:
        row = SCENARIOS[scenario.name]
        own = {
            name: _convert(name, text, row.options[name])
            for name, text in options.items()
            if name in row.options
        }
        changed = change_scenario(scenario, {**changes, "options": scenario.options | own})
        if all(msgspec.structs.replace(one, seconds=changed.seconds) != changed for one in unique):
            unique.append(changed)
    return tuple(unique)


def _convert(name: str, text: str, default: str | int | float) -> str | int | float:
    try:
        return type(default)(text)
    except ValueError:
        raise ConfigurationError(
            f"The option {name} is a number such as {default}. Received: option='{name}={text}'"
        ) from None


def _check_strategies(names: list[str] | None) -> list[str]:
    from tpuens.hardware.strategies import STRATEGIES

    for name in names or ():
        if STRATEGIES[name.partition(":")[0]].name == "multi-worker":
            raise ConfigurationError(
                "One launcher measures one machine: multi-worker is for `tpuens train`. "
                f"Received: strategy={name!r}"
            )
    return list(names or ())


def _find_strategies() -> list[str]:
    """Returns every strategy that can run here; another process looks, so TensorFlow stays out of this."""
    start = "from tpuens.cli import main; import sys; sys.argv[1:] = ['devices', '--json']; main()"
    typer.echo("Looking at what this machine has …", err=True)
    answer = subprocess.run([sys.executable, "-c", start], capture_output=True, text=True, check=False)
    if answer.returncode:
        raise DeviceError(f"`tpuens devices` failed: {answer.stderr.strip().splitlines()[-1:]}")
    strategies = json.loads(answer.stdout)["strategies"]
    return [name for name, reason in strategies.items() if reason is None and name != "multi-worker"]


def _parse_pairs(field: str, texts: list[str]) -> dict[str, str]:
    pairs = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise ConfigurationError(f"Expected NAME=VALUE. Received: {field}={text!r}")
        pairs[name] = value
    return pairs


def _print_plan(requests: list[Request], folder: Path) -> None:
    for number, request in enumerate(requests, 1):
        repeat = f" (repeat {request.repeat + 1})" if request.repeat else ""
        typer.echo(f"{number:3d}  {request.title}{repeat}  about {request.scenario.seconds:.0f} s")
    minutes = sum(request.scenario.seconds for request in requests) / 60
    typer.echo(
        f"{len(requests)} runs, about {minutes:.1f} minutes with the suite's own settings on 2 cores without "
        f"an accelerator; records would go to {folder}"
    )


def _run_and_report(requests: list[Request], folder: Path, limits: Any) -> None:
    from ..execution.suite_run import PROFILES, run_requests
    from ..progress import SuiteProgress
    from ..records.store import read_folder

    with SuiteProgress() as progress:
        fresh = run_requests(requests, folder, limits=limits, observer=progress.observer)
    make_report(read_folder(folder), folder, None)
    if any(request.profile for request in requests):
        typer.echo(f"traces: {folder / PROFILES} (tensorboard --logdir {folder / PROFILES})")
    if fresh and all(record.status == "skipped" for record in fresh):
        raise DeviceError(f"Nothing could be measured here: {fresh[0].reason}")
    failed = [record for record in fresh if record.status == "failed"]
    if failed:
        raise RunError(
            f"{len(failed)} of {len(fresh)} runs failed; the report says why, and the logs are in "
            f"{folder / 'logs'}. Run them again with: tpuens-bench run --resume --results {folder}"
        )
