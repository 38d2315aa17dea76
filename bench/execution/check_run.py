"""The runs of a check: this tree's, and those of another commit beside it."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from tpuens.errors import ConfigurationError, DeviceError, RunError, TpuensError

from ..analysis.matching import split_arms
from ..analysis.ratios import MIN_PAIRS, Precision
from ..analysis.statistics import CONFIDENCE
from ..analysis.thresholds import Thresholds
from ..records.record import RunRecord, Turns
from ..records.store import RECORDS_FOLDER, read_folder, write_record
from ..scenarios.table import SCENARIOS
from ..suites import Request
from .compare_run import ComparisonObserver, is_narrow, run_comparison
from .comparison_plan import check_budget, choose_manner
from .launcher import launch_run
from .limits import default_limits
from .messages import Progress
from .revisions import run_at
from .suite_run import PLAN_FILE

# Its arms are configurations of one and the same weights: the new runs say by themselves whether they agree.
AGREEMENT = "agreement"


@dataclass(frozen=True, kw_only=True)
class CheckObserver:
    """Who is told how a check goes: what is run, on which side, what it is at, and what is done otherwise."""

    on_progress: Callable[[Request, str, Progress], None] = lambda request, side, progress: None
    on_note: Callable[[str], None] = lambda note: None


def run_against(
    tree: Path,
    requests: Sequence[Request],
    folder: Path,
    *,
    budget_seconds: float,
    thresholds: Thresholds | None = None,
    observer: CheckObserver | None = None,
) -> None:
    """Makes the runs of this tree and of another, each request in a folder of its own.

    What times steps takes turns; a tree from before turns makes whole runs by its own launcher, in the order
    A B B A. What tells an accuracy runs once on each side, with the same seeds; agreement on this side alone.

    Args:
        tree: The root of the other commit's source: arm A, the baseline.
        requests: What to run on both sides.
        folder: Where the folders go; `read_sides` reads them.
        budget_seconds: For each request that times steps.
        thresholds: What the runs are for: they stop early only where the intervals tell a change so large.
        observer: Who is told how it goes.

    Raises:
        ConfigurationError: The folder holds records, the budget is too short, or the other commit does not
            know such a request.
        DeviceError: This machine cannot make one of the runs.
        RunError: A run failed.
    """
    if any(folder.glob(f"*/{RECORDS_FOLDER}")):
        # Another state of the code made what is there, and it would count as this one's.
        raise ConfigurationError(
            "A check has a folder of its own: choose another --results, or leave --against out to check what "
            f"is there. Received: results={str(folder)!r}"
        )
    runs = _Runs(
        tree=tree,
        observer=observer or CheckObserver(),
        budget_seconds=budget_seconds,
        thresholds=thresholds or Thresholds(),
        error=(1 - CONFIDENCE) / max(1, sum(bool(SCENARIOS[one.scenario.name].compares) for one in requests)),
    )
    for number, request in enumerate(requests, 1):
        place = folder / f"{number:02d}-{request.scenario.name}-{request.strategy.replace(':', '-')}"
        if request.scenario.name == AGREEMENT:
            runs.run_here(request, place, None)
        elif not SCENARIOS[request.scenario.name].compares:
            runs.run_whole_pair(request, place, 0, place.name)
        elif choose_manner(request, request, (tree, None)) != "whole-runs":
            runs.take_turns(request, place)
        else:
            runs.run_whole(request, place)


def read_sides(folder: Path) -> tuple[list[RunRecord], list[RunRecord]]:
    """Returns the new records and the baseline's of a check's folder, or of one comparison's.

    Raises:
        RecordError: There are none, or one cannot be read.
    """
    inner = sorted(path.parent for path in folder.glob(f"*/{RECORDS_FOLDER}"))
    records = [record for place in inner or [folder] for record in read_folder(place)]
    baseline, new = split_arms(records)
    return [*new, *(record for record in records if record.turns is None)], baseline


@dataclass(frozen=True, kw_only=True)
class _Runs:
    tree: Path
    observer: CheckObserver
    budget_seconds: float
    thresholds: Thresholds
    error: float  # of each request

    def _precision(self, request: Request) -> Precision:
        return Precision(shown=self.thresholds.of("speed", request.scenario.name), error=self.error)

    def take_turns(self, request: Request, folder: Path) -> None:
        sides = {"A": "baseline", "B": "new"}
        observer = ComparisonObserver(
            on_progress=lambda pair, arm, progress: self.observer.on_progress(
                request, f"pair {pair}, {sides[arm]}", progress
            ),
            on_note=self.observer.on_note,
        )
        try:
            run_comparison(
                request,
                request,
                folder,
                budget_seconds=self.budget_seconds,
                roots=(self.tree, None),
                precision=self._precision(request),
                one_by_one=True,  # what compiles beside the other would hide half of what it takes longer
                observer=observer,
            )
        except TpuensError:
            self._explain_refusal(folder)
            raise
        finally:
            (folder / PLAN_FILE).unlink(missing_ok=True)

    def run_whole(self, request: Request, folder: Path) -> None:
        """Runs whole pairs until the interval is narrow or the budget is spent."""
        self.observer.on_note(
            "The other commit's worker takes no turns: whole runs go A B B A instead, which takes longer."
        )
        check_budget(2 * request.scenario.seconds, self.budget_seconds)
        start = time.monotonic()
        records: list[RunRecord] = []
        while True:
            records += self.run_whole_pair(request, folder, len(records) // 2, folder.name)
            pairs, spent = len(records) // 2, time.monotonic() - start
            if pairs >= MIN_PAIRS and (
                spent * (pairs + 1) / pairs > self.budget_seconds
                or is_narrow(records, self._precision(request))
            ):
                return

    def run_whole_pair(self, request: Request, folder: Path, number: int, comparison: str) -> list[RunRecord]:
        """Returns the records of a run on each side; which goes first alternates."""
        made = {}
        for arm in ("A", "B") if number % 2 == 0 else ("B", "A"):
            turns = Turns(comparison=comparison, pair=number, arm=arm, manner="whole-runs")
            run = self.run_there if arm == "A" else self.run_here
            made[arm] = run(msgspec.structs.replace(request, repeat=number), folder, turns)
        return [made["A"], made["B"]]

    def run_here(self, request: Request, folder: Path, turns: Turns | None) -> RunRecord:
        record = launch_run(
            request,
            log=folder / "logs" / f"{request.repeat:03d}-new.log",
            limits=default_limits(),
            on_progress=lambda progress: self.observer.on_progress(request, "new", progress),
            turns=turns,
        )
        return self._keep(record, folder)

    def run_there(self, request: Request, folder: Path, turns: Turns) -> RunRecord:
        self.observer.on_progress(request, "baseline", Progress(phase="running"))
        record = run_at(self.tree, request, folder / "baseline" / f"{request.repeat:03d}")
        return self._keep(msgspec.structs.replace(record, turns=turns), folder)

    def _keep(self, record: RunRecord, folder: Path) -> RunRecord:
        write_record(folder, record)
        if record.status != "ok":
            side = "baseline" if record.turns and record.turns.arm == "A" else "new"
            error = DeviceError if record.status == "skipped" else RunError
            raise error(f"The {side} run {record.status}: {record.reason} Its record is in {folder}")
        return record

    def _explain_refusal(self, folder: Path) -> None:
        """Raises ConfigurationError where the other commit's worker refused a field of the request."""
        for record in read_folder(folder) if (folder / RECORDS_FOLDER).is_dir() else ():
            refused = [line for line in record.log_tail if "ValidationError" in line]
            if record.turns and record.turns.arm == "A" and refused:
                raise ConfigurationError(
                    "The other commit does not know such a run: leave out the setting that it refuses, or "
                    f"choose a later commit. Received: {refused[-1]}"
                )
