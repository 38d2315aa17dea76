"""`tpuens-bench preflight`: does the step compile for a device that is not here, and does it fit?"""

import itertools
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tpuens.errors import ConfigurationError, InterruptedRunError, RunError, unknown_name_error

from .report import PriceOption

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..preflight.jobs import Job
    from ..preflight.lines import Line
    from ..preflight.messages import Step
    from ..preflight.results import PreflightResult
    from ..records.record import RunRecord

# Networks of the recipes that the suite `seeds` leaves to others: it is for large images.
_BESIDE_SEEDS = (("cifar_cnn", 32),)
# EfficientNetB7's step takes the compiler 9.4 GB.
_COMPILE_BYTES = 10 * 2**30


def preflight(
    names: Annotated[
        list[str] | None, typer.Argument(help="`suite NAME` for the networks of a suite, such as seeds.")
    ] = None,
    target: Annotated[
        str,
        typer.Option(
            help="Devices to compile for, joined by commas: TPUs v2, v3, v4, v5e, v5p, v6e, tpu7x, GPUs "
            "a100-40gb, a100-80gb, h100."
        ),
    ] = "v3,v5e",
    backbone: Annotated[
        str | None, typer.Option(help="The network, where no suite is named (default mobilenetv2).")
    ] = None,
    image_size: Annotated[
        int | None, typer.Option(min=1, help="Height and width; by default the network's own.")
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Examples on each replica (default 8).")
    ] = None,
    global_batch_size: Annotated[
        int | None, typer.Option(min=1, help="Examples on all replicas together, instead.")
    ] = None,
    dtype_policy: Annotated[str, typer.Option(help="float32 or mixed_bfloat16.")] = "mixed_bfloat16",
    replicas: Annotated[
        int, typer.Option(min=1, help="Data-parallel replicas that sum their gradients.")
    ] = 1,
    largest: Annotated[
        bool, typer.Option("--largest/--no-largest", help="Look for the largest batch that fits.")
    ] = True,
    static: Annotated[
        bool, typer.Option("--static", help="Only what needs no compiler: traces, and looks at the graph.")
    ] = False,
    measured: Annotated[
        list[Path] | None, typer.Option(help="Results of real runs to set the models beside.")
    ] = None,
    price: PriceOption = None,
    results: Annotated[Path, typer.Option(help="Folder for records and report.")] = Path(
        "results/runs/preflight"
    ),
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Compiles at a time (default: one a core and 10 GiB of memory).")
    ] = None,
    time_limit: Annotated[float, typer.Option(help="Seconds after which a compile is stopped.")] = 3600.0,
    memory_limit: Annotated[
        float | None,
        typer.Option(help="GiB that all compiles together may hold (default: 0.9 of what is free)."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Compile training steps for devices that are not here: does it fit, and what would a roofline say?

    All numbers are modelled, not measured. Compiles take seconds to many minutes each, and are kept. The exit
    code is 1 where a batch does not fit or a compile failed.
    """
    import msgspec

    from tpuens.hardware.batches import resolve_batch_size

    from ..analysis.economics import Prices, parse_prices
    from ..preflight import report
    from ..preflight.jobs import Job, find_compilers
    from ..preflight.lines import line_facts, make_lines
    from ..preflight.results import read_results
    from ..preflight.targets import check_replicas, find_targets
    from ..records.store import read_folder

    targets = find_targets(target)
    if not static:
        check_replicas(targets, replicas)
        find_compilers(targets)
    given = Prices(parse_prices(price or []), [])
    if batch_size is None and global_batch_size is None:
        batch_size = 8
    batch = resolve_batch_size(
        replicas, per_replica_batch_size=batch_size, global_batch_size=global_batch_size
    ).per_replica
    steps = _choose_steps(names or [], backbone, image_size, batch, dtype_policy, replicas)
    records = [record for folder in measured or [] for record in read_folder(folder)]
    todo = [Job(step=step, target=one) for step in steps for one in ((None,) if static else targets)]

    def write_report() -> None:
        if finished := read_results(results):
            report.write_reports(results, finished, given, records)

    try:
        found = _run(
            todo,
            results,
            largest=largest,
            jobs=jobs,
            time_limit=time_limit,
            memory_limit=memory_limit,
            on_result=write_report,
        )
    except InterruptedRunError:
        write_report()  # single compiles of a job that was stopped are among the results
        raise
    lines = make_lines(found, given)
    if json:
        facts = msgspec.json.encode([line_facts(line, records) for line in lines])
        typer.echo(msgspec.json.format(facts, indent=2).decode())
    else:
        _show(lines, records)
        typer.echo(f"report: {results / report.PAGE}")
    _end(found, lines)


def _end(found: "list[PreflightResult]", lines: "list[Line]") -> None:
    if failed := [one for one in found if one.status == "failed"]:
        raise RunError(
            f"{len(failed)} of {len(found)} failed; the report says why, and the same command tries again "
            f"what the compiler gave no answer to. First: {failed[0].reason}"
        )
    if unfit := [line for line in lines if line.verdict == "too large"]:
        first = unfit[0]
        raise RunError(
            f"{len(unfit)} of {len(lines)} do not fit their device. First: {first.name}, batch "
            f"{first.result.batch_size:,}, takes {first.memory.partition(' (')[0] or 'too many'} GiB. Give a "
            "smaller --batch-size" + (f"; the largest that fits: {first.largest}." if first.largest else ".")
        )


def _show(lines: "list[Line]", records: "list[RunRecord]") -> None:
    from rich.console import Console

    from ..preflight import report
    from ..preflight.modelling import check_models
    from ..reporting.choice import terminal_choices

    console = Console()
    checks = check_models([(line.result, line.model) for line in lines], records)
    for table in report.make_tables(lines, checks, brief=True):
        console.print(terminal_choices(table))
    for sentence in (*report.EXPLANATION, *report.make_sentences(lines)):
        console.print(sentence, markup=False, highlight=False)


def _choose_steps(
    names: list[str],
    backbone: str | None,
    image_size: int | None,
    batch: int,
    dtype_policy: str,
    replicas: int,
) -> "list[Step]":
    from tpuens.models.backbones import BACKBONES

    from ..preflight.messages import Step
    from ..suites import SUITES

    if not names:
        name = backbone or "mobilenetv2"
        if name not in BACKBONES:
            raise unknown_name_error("backbone", "backbone", name, BACKBONES)
        networks = [(name, image_size or BACKBONES[name].image_size)]
    elif backbone:
        raise ConfigurationError(
            f"A suite names its networks. Expected suite NAME or --backbone. Received: {backbone!r} with "
            f"{' '.join(names)}"
        )
    elif len(names) == 2 and names[0] == "suite":
        if names[1] not in SUITES:
            raise unknown_name_error("suite", "suite", names[1], SUITES)
        networks = [
            (one.backbone, image_size or one.image_size)
            for one in SUITES[names[1]].scenarios
            if one.name == "train-step" and one.backbone and one.image_size
        ]
        networks += _BESIDE_SEEDS if names[1] == "seeds" else ()
        if not networks:
            raise ConfigurationError(
                f"Preflight looks at training steps; this suite has none. Expected another suite, such as "
                f"seeds. Received: suite {names[1]}"
            )
    else:
        raise ConfigurationError(
            f"Expected nothing or `suite NAME`, such as suite seeds. Received: {' '.join(names)}"
        )
    if dtype_policy not in ("float32", "mixed_bfloat16"):
        raise ConfigurationError(
            "TPUs compute in bfloat16. Expected float32 or mixed_bfloat16. "
            f"Received: dtype_policy={dtype_policy!r}"
        )
    return [
        Step(backbone=name, image_size=size, batch_size=batch, dtype_policy=dtype_policy, replicas=replicas)
        # Networks for large images take the compiler up to an hour: they come last.
        for name, size in sorted(dict.fromkeys(networks), key=lambda network: network[1])
    ]


def _run(
    todo: "list[Job]",
    folder: Path,
    *,
    largest: bool,
    jobs: int | None,
    time_limit: float,
    memory_limit: float | None,
    on_result: "Callable[[], object]",
) -> "list[PreflightResult]":
    from rich.console import Console

    from tpuens.hardware.host import collect_host

    from ..preflight.cache import Cache
    from ..preflight.suite import Preflight
    from .options import make_limits

    limits = make_limits(time_limit, memory_limit)
    room = min(int(collect_host().cpu.usable_cores), limits.memory_bytes // _COMPILE_BYTES)
    workers = min(jobs or max(1, room), len(todo))
    console = Console(stderr=True)
    numbers = itertools.count(1)

    def tell(result: "PreflightResult") -> None:
        job = f"{result.backbone}@{result.image_size} for {result.target}"
        first = result.first
        outcome = result.reason or (first.status if first and first.status != "ok" else "done")
        on_result()
        console.print(f"{next(numbers)}/{len(todo)} {job}: {outcome[:200]}", markup=False, highlight=False)

    with console.status("starting") as status:
        # A log has no line to write anew.
        say = status.update if console.is_terminal else partial(console.print, markup=False, highlight=False)
        check = Preflight(cache=Cache(), limits=limits, search=largest, on_progress=say)
        return check.run(todo, folder, workers=workers, on_result=tell)
