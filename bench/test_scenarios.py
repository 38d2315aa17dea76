"""Every scenario through the `benchmark` fixture; `conftest.py` says how. Run it with `pytest bench`."""

from collections.abc import Callable
from typing import Any

import pytest

from .conftest import Replay
from .records.record import RunRecord
from .reporting.pytest_json import extra_info, readings_of, step_durations
from .scenarios.table import SCENARIOS

# What of a scenario to show. One that is not here shows what it timed first.
READINGS = {
    "train-step": ("compute", "latency"),
    "train-epoch": ("compute", "input", "both"),
    "inference": ("latency", "throughput"),
    "ensemble-inference": ("throughput, sequential", "throughput, fused"),
    "matmul": ("matmul, cpu, n = 1000",),
}


@pytest.mark.parametrize(
    ("scenario", "reading"),
    [(name, reading) for name in SCENARIOS for reading in READINGS.get(name, ("first",))],
)
def test_scenario(
    replay: Replay, benchmark: Any, run_scenario: Callable[[str], RunRecord], scenario: str, reading: str
) -> None:
    """Shows the samples of one reading, seconds a step."""
    record = run_scenario(scenario)
    if record.status == "skipped":
        pytest.skip(record.reason or "")
    assert record.status == "ok", record.reason
    readings = readings_of(record)
    series = readings[next(iter(readings)) if reading == "first" else reading]
    durations = step_durations(record, series)
    replay.load(durations)
    benchmark.group = scenario
    benchmark.extra_info.update(extra_info(record, series))
    benchmark.pedantic(replay.step, setup=replay.restart, rounds=len(durations))
