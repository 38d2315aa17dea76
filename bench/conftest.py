"""`pytest bench`: every scenario as a benchmark of pytest-benchmark.

Each scenario runs as always, in a worker process of its own with its own warm-up, blocks and fences; so
pytest itself imports no TensorFlow, and nothing is calibrated. pytest-benchmark has no public call for
durations that were measured elsewhere. What it has is a choice of timer (a setting of its mark) and
`benchmark.pedantic`, which calls a function a stated number of times between two looks at the timer: so
`Replay` is a timer that shows the worker's own samples, a round each, to the last bit.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from .execution.launcher import launch_run
from .execution.limits import default_limits
from .records.record import RunRecord
from .records.store import write_record
from .suites import find_scenarios, plan_requests


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds what the scenarios run on, and where their records stay."""
    group = parser.getgroup("tpuens")
    group.addoption("--tpuens-strategy", default="cpu", help="Strategy of the scenarios (default cpu).")
    group.addoption("--tpuens-results", type=Path, help="Folder that keeps the records.")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Returns 0: what is timed has the machine to itself."""
    return 0


class Replay:
    """A timer that shows durations which were measured elsewhere."""

    def __init__(self) -> None:
        self._durations: list[float] = []
        self._now = 0.0

    def load(self, durations: tuple[float, ...]) -> None:
        """Takes the durations to show, one a round."""
        self._durations = list(reversed(durations))

    def restart(self) -> None:
        """Begins a round: from zero, so that no sum rounds a duration."""
        self._now = 0.0

    def step(self) -> None:
        """Stands for the function that is timed."""
        self._now = self._durations.pop()

    def read(self) -> float:
        """Returns the time, as a timer of pytest-benchmark does."""
        return self._now


@pytest.fixture
def replay(request: pytest.FixtureRequest) -> Replay:
    """Returns the timer of this test's benchmark; ask for it before `benchmark`."""
    replay = Replay()
    request.node.add_marker(pytest.mark.benchmark(timer=replay.read))
    return replay


@pytest.fixture(scope="session")
def run_scenario(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], RunRecord]:
    """Returns what runs a scenario as the suite `quick` does, once a session, and gives its record."""
    records: dict[str, RunRecord] = {}
    folder = request.config.getoption("--tpuens-results")
    logs = tmp_path_factory.mktemp("logs")

    def run(name: str) -> RunRecord:
        if name not in records:
            suite, scenarios = find_scenarios([name])
            strategies = [request.config.getoption("--tpuens-strategy")]
            (planned,) = plan_requests(suite, scenarios, strategies=strategies)
            records[name] = launch_run(planned, log=logs / f"{name}.log", limits=default_limits())
            if folder is not None:
                write_record(folder, records[name])
        return records[name]

    return run
