"""The parts of the self-test that take real runs: each in a folder of its own, so that it can be resumed."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec

from tpuens.errors import RunError

from ..analysis.ratios import UNTIL_NARROW, Precision
from ..analysis.selftest_results import COMPARISONS, STOPWATCH_SCENARIOS
from ..records.atomic import write_file
from ..records.store import write_record
from ..suites import Request, Scenario, Timing, find_scenarios
from .compare_run import run_comparison
from .items import Item
from .launcher import launch_run
from .limits import default_limits
from .start import ROOT

STRATEGY = "cpu"
BUDGET_SECONDS = 180.0  # of a comparison
CALIBRATION_SECONDS = 600.0
STOPWATCH_PROCESSES = 6
SEEDS = 5
STOPWATCH_TIMING = Timing(blocks=12, block_seconds=0.25)
_STOPWATCH_LIMIT_SECONDS = 300.0
_START_STOPWATCH = "import sys; sys.path[0] = sys.argv[1]; from bench.scenarios.stopwatch import main; main()"


def make_items() -> list[Item]:
    """Returns everything that takes real runs, in an order in which what is done early is of every kind.

    Half of the planted slowdowns are work, half are sleep.
    """
    items = [_compare("calibration", None, CALIBRATION_SECONDS, precision=None)]
    items += [_time(name) for name in STOPWATCH_SCENARIOS]
    items += [
        _launch("honest", _scenario("train-step")),
        _launch("no-fence", _scenario("train-step", planted="no-fence")),
        _launch("members", _members(seed=0)),
        _launch("members-other-seeds", _members(seed=100)),
        _launch("members-spoilt", _members(seed=200, planted="spoilt-member")),
    ]
    for number in range(COMPARISONS // 2):
        for kind, planted in (("work", "work:0.10"), ("sleep", "sleep:0.10")):
            items.append(_compare(f"equal-{kind}-{number:02d}", None, BUDGET_SECONDS))
            items.append(_compare(f"{kind}-{number:02d}", planted, BUDGET_SECONDS))
    return items


def _scenario(name: str, **changes: Any) -> Scenario:
    _, (scenario,) = find_scenarios([name])
    return msgspec.structs.replace(scenario, **changes)


def _request(scenario: Scenario) -> Request:
    return Request(suite="selftest", scenario=scenario, strategy=STRATEGY)


def _compare(
    name: str, planted: str | None, seconds: float, *, precision: Precision | None = UNTIL_NARROW
) -> Item:
    def run(folder: Path) -> None:
        a, b = (_request(_scenario("train-step", planted=fault)) for fault in (None, planted))
        run_comparison(a, b, folder, budget_seconds=seconds, precision=precision)

    return Item(name=name, seconds=seconds, run=run)


def _time(name: str) -> Item:
    request = _request(_scenario(name, timing=STOPWATCH_TIMING))

    def run(folder: Path) -> None:
        for number in range(STOPWATCH_PROCESSES):
            path = folder / f"process-{number}.json"
            if not path.exists():
                write_file(path, run_stopwatch(request), overwrite=False)

    return Item(name=f"stopwatch-{name}", seconds=15.0 * STOPWATCH_PROCESSES, run=run)


def run_stopwatch(request: Request) -> bytes:
    """Returns what instrument and stopwatch measured in a fresh process; see `bench.scenarios.stopwatch`.

    Raises:
        RunError: It failed, or did not end.
    """
    command = [sys.executable, "-c", _START_STOPWATCH, str(ROOT)]
    try:
        done = subprocess.run(
            command,
            input=msgspec.json.encode(request),
            capture_output=True,
            timeout=_STOPWATCH_LIMIT_SECONDS,
            check=True,
        )
    except subprocess.SubprocessError as error:
        log = (getattr(error, "stderr", None) or b"").decode(errors="replace").splitlines()
        raise RunError(f"The stopwatch failed ({error}). {' '.join(log[-3:])}") from error
    return done.stdout


def _members(**changes: Any) -> Scenario:
    scenario = _scenario("ensemble-accuracy", **changes)
    options = {**scenario.options, "seeds": SEEDS}
    return msgspec.structs.replace(scenario, options=options, seconds=120)


def _launch(name: str, scenario: Scenario) -> Item:
    def run(folder: Path) -> None:
        record = launch_run(_request(scenario), log=folder / "logs" / "run.log", limits=default_limits())
        write_record(folder, record)
        if record.status != "ok":
            raise RunError(record.reason or "The run failed.")

    return Item(name=name, seconds=scenario.seconds, run=run)
