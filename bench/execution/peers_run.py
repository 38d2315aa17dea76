"""The measurements behind the claims, run one after another, each in a folder of its own."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import msgspec

from tpuens.errors import RunError

from ..analysis.ratios import UNTIL_NARROW
from ..peers.claims import Claim
from ..peers.measurements import MEASUREMENTS, Calls, Comparison, Measurement, Repeats
from ..peers.table import LOADERS, LOOPS, Peer
from ..peers.verdicts import needed_claims
from ..records.store import RECORDS_FOLDER, read_folder, write_record
from ..suites import Request, Scenario
from .command_calls import call_command
from .compare_run import ComparisonObserver, check_alike, run_comparison
from .items import Item
from .launcher import launch_run
from .limits import default_limits

STRATEGY = "cpu"


@dataclass(frozen=True, kw_only=True)
class How:
    """How measurements are made.

    Attributes:
        budget_seconds: For each; None: as long as each needs.
        data_dir: Where data sets lie.
        observer: Told how comparisons go.
    """

    budget_seconds: float | None = None
    data_dir: str | None = None
    observer: ComparisonObserver


def list_measurements(claims: Sequence[Claim]) -> list[Measurement]:
    """Returns what is measured for the claims, each once, in their order; noise floors before them."""
    needed = [name for claim in needed_claims(claims) for name in (claim.floor, claim.measurement)]
    return [MEASUREMENTS[name] for name in dict.fromkeys(filter(None, needed))]


def list_peers(measurements: Sequence[Measurement]) -> list[Peer]:
    """Returns the arms of others that the measurements run."""
    scenarios = [one.a for one in measurements if isinstance(one, Comparison)]
    loaders = [LOADERS[one.loader] for one in scenarios if one.loader in LOADERS]
    loops = [LOOPS[one.loop] for one in scenarios if one.loop in LOOPS]
    return list({peer.name: peer for peer in (*loaders, *loops)}.values())


def make_items(measurements: Sequence[Measurement], how: How) -> list[Item]:
    """Returns the measurements, ready to be run by `bench.execution.items`."""

    def item(one: Measurement) -> Item:
        seconds = how.budget_seconds or one.seconds
        return Item(name=one.name, seconds=seconds, run=lambda folder: _run(one, folder, seconds, how))

    return [item(one) for one in measurements]


def _run(measurement: Measurement, folder: Path, seconds: float, how: How) -> None:
    if isinstance(measurement, Comparison):
        run_comparison(
            _request(measurement.a, how),
            _request(measurement.b, how),
            folder,
            budget_seconds=seconds,
            turns=measurement.turns,
            one_by_one=measurement.one_by_one,
            # The more pairs of equal arms, the lower the floor.
            precision=None if measurement.a == measurement.b else UNTIL_NARROW,
            observer=how.observer,
        )
    elif isinstance(measurement, Repeats):
        _repeat(measurement, folder, how)
    elif isinstance(measurement, Calls):
        call_command(measurement, folder)


def _repeat(measurement: Repeats, folder: Path, how: How) -> None:
    """Runs a scenario until there are as many records of it as were asked for.

    They are numbered from 1: the first of a run's repeats would count FLOPs, which takes its time.
    """
    while (number := _count_records(folder) + 1) <= measurement.processes:
        request = msgspec.structs.replace(_request(measurement.scenario, how), repeat=number)
        record = launch_run(
            request,
            log=folder / "logs" / f"{number:03d}.log",
            limits=default_limits(),
            on_progress=partial(how.observer.on_progress, number, "B"),
        )
        if record.status != "ok":
            raise RunError(record.reason or "The run failed.")
        if number > 1:
            check_alike(read_folder(folder)[:1], [record], folder)
        write_record(folder, record)


def _count_records(folder: Path) -> int:
    return len(read_folder(folder)) if any((folder / RECORDS_FOLDER).glob("*.json")) else 0


def _request(scenario: Scenario, how: How) -> Request:
    placed = msgspec.structs.replace(scenario, data_dir=how.data_dir)
    return Request(suite="peers", scenario=placed, strategy=STRATEGY)
