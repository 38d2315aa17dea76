"""A suite from its plan to its report: runs one after another, each kept as soon as it is done."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path

import msgspec

from tpuens.errors import ConfigurationError, InterruptedRunError
from tpuens.training.interrupts import catch_stop_signals

from ..records.atomic import write_file
from ..records.record import RunRecord
from ..records.store import read_folder, write_record
from ..suites import Request
from .launcher import launch_run
from .limits import Limits
from .messages import Progress

PLAN_FILE = "plan.json"
PROFILES = "profiles"


class Plan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a results folder was started for; `--resume` goes by it."""

    suite: str
    requests: tuple[Request, ...]


@dataclass
class TimeLeft:
    """Guesses how long the rest takes: the plan's estimates, corrected by how the finished runs went."""

    requests: Sequence[Request]
    clock: Callable[[], float] = time.monotonic
    _spent: float = 0.0
    _estimated: float = 0.0
    _done: int = 0
    _started: float = field(default=0.0)

    def start_run(self) -> None:
        """Notes that the next run begins."""
        self._started = self.clock()

    def finish_run(self) -> None:
        """Notes that the run under way has ended."""
        self._spent += self.clock() - self._started
        self._estimated += self.requests[self._done].scenario.seconds
        self._done += 1

    def seconds(self) -> float:
        """Returns the guess, in seconds, the run under way included; never below 0."""
        ratio = self._spent / self._estimated if self._estimated else 1.0
        rest = sum(request.scenario.seconds for request in self.requests[self._done :]) * ratio
        running = self.clock() - self._started if self._done < len(self.requests) else 0.0
        return max(0.0, rest - running)


@dataclass(frozen=True, kw_only=True)
class SuiteObserver:
    """Who is told how a suite goes: the number of the run (from 1), of how many, and what it is at."""

    on_start: Callable[[int, int, Request], None]
    on_progress: Callable[[Progress, float], None]  # with the seconds left
    on_record: Callable[[RunRecord], None]


def default_folder(suite: str, results: Path = Path("results")) -> Path:
    """Returns a new folder's path under results/runs, named after the time and the suite."""
    return results / "runs" / f"{datetime.now(timezone.utc):%Y%m%dT%H%M%SZ}-{suite.replace('+', '-')[:60]}"


def check_unused(folder: Path) -> None:
    """Checks that no call has started the folder.

    Raises:
        ConfigurationError: One has.
    """
    if (folder / PLAN_FILE).exists():
        raise ConfigurationError(
            "Results of one call go to a folder of their own: choose another --results, or go on with the "
            f"runs in this one by --resume. Received: results={str(folder)!r}, which holds {PLAN_FILE}"
        )


def save_plan(folder: Path, plan: Plan) -> None:
    """Writes what the folder is for.

    Raises:
        ConfigurationError: It was started for something else already.
    """
    check_unused(folder)
    path = folder / PLAN_FILE
    write_file(path, msgspec.json.format(msgspec.json.encode(plan), indent=1) + b"\n", overwrite=False)


def load_plan(folder: Path) -> Plan:
    """Returns what the folder was started for.

    Raises:
        ConfigurationError: There is no plan, or it cannot be read.
    """
    path = folder / PLAN_FILE
    try:
        return msgspec.json.decode(path.read_bytes(), type=Plan)
    except OSError:
        raise ConfigurationError(
            f"Only a folder that `tpuens-bench run` has started can be resumed. "
            f"Received: results={str(folder)!r}, without {PLAN_FILE}"
        ) from None
    except msgspec.DecodeError as error:
        raise ConfigurationError(f"{path} is not of this version of tpuens-bench: {error}") from error


def find_interrupted(results: Path = Path("results")) -> Path:
    """Returns the folder under results/runs that was started last of those with runs missing, else of all.

    Raises:
        ConfigurationError: There is none, or its plan cannot be read.
    """
    plans = (results / "runs").glob(f"*/{PLAN_FILE}")
    newest_first = sorted(plans, key=lambda path: path.stat().st_mtime, reverse=True)
    folders = [path.parent for path in newest_first]
    if not folders:
        raise ConfigurationError(
            "No earlier run to resume. Name its folder with --results. "
            f"Received: {results / 'runs'}, without any"
        )
    return next((folder for folder in folders if find_missing(folder, load_plan(folder))), folders[0])


def find_missing(folder: Path, plan: Plan) -> list[Request]:
    """Returns the requests of the plan that have no record yet; a failed one counts as missing."""
    has_records = any((folder / "records").glob("*.json"))
    records = read_folder(folder) if has_records else []
    done = {(record.request_key, record.repeat) for record in records if record.status != "failed"}
    return [request for request in plan.requests if (request.key, request.repeat) not in done]


def profile_requests(requests: Sequence[Request], folder: Path) -> list[Request]:
    """Returns the requests such that each leaves a trace of a few steps in a folder of its own."""
    return [
        msgspec.structs.replace(
            request,
            profile=str(folder / PROFILES / f"{request.scenario.name}-{request.key}-{request.repeat}"),
        )
        for request in requests
    ]


def run_requests(
    requests: Sequence[Request], folder: Path, *, limits: Limits, observer: SuiteObserver
) -> list[RunRecord]:
    """Runs the requests one after another and returns their records, each written as soon as it is done.

    Raises:
        InterruptedRunError: Ctrl-C; the records that were finished lie in the folder.
    """
    left = TimeLeft(requests)
    records: list[RunRecord] = []
    with catch_stop_signals() as stop:
        for number, request in enumerate(requests, 1):
            observer.on_start(number, len(requests), request)
            left.start_run()
            log = folder / "logs" / f"{number:03d}-{request.scenario.name}-{request.key}-{request.repeat}.log"
            record = launch_run(
                request,
                log=log,
                limits=limits,
                on_progress=lambda progress: observer.on_progress(progress, left.seconds()),
                should_stop=lambda: stop.requested,
            )
            if record.status == "ok" or not stop.requested:
                left.finish_run()
                write_record(folder, record)
                records.append(record)
                observer.on_record(record)
            if stop.requested:
                raise InterruptedRunError(
                    f"Stopped after {len(records)} of {len(requests)} runs; their records are kept. "
                    f"Go on with: tpuens-bench run --resume --results {folder}"
                )
    return records
