"""A comparison with real workers: two processes that take turns, and planted work that comes out."""

from pathlib import Path

import msgspec
import pytest

from bench.analysis.compare import compare_records
from bench.analysis.matching import split_arms
from bench.execution.compare_run import ComparisonObserver, run_comparison
from bench.execution.limits import default_limits
from bench.execution.turns import ARMS, Side, run_pair
from bench.records.record import Turns
from bench.suites import Request, Scenario, Timing

SCENARIO = Scenario(
    name="train-step",
    backbone="cifar_cnn",
    image_size=8,
    batch_size=4,
    seconds=5,
    timing=Timing(warmup_steps=3, blocks=4, block_seconds=0.25),
)
SLOWED = msgspec.structs.replace(SCENARIO, planted="work:1.0")
PLANTED = "planted: None → work:1.0"


def make_requests() -> list[Request]:
    return [Request(suite="compare", scenario=one, strategy="cpu") for one in (SCENARIO, SLOWED)]


def test_two_arms_take_turns_and_planted_work_shows(tmp_path: Path) -> None:
    requests = make_requests()
    done: list[int] = []
    records = run_comparison(
        requests[0],
        requests[1],
        tmp_path,
        budget_seconds=100,
        min_pairs=2,
        turns=4,
        observer=ComparisonObserver(on_pair=lambda so_far: done.append(len(so_far))),
        clock=lambda: 50.0 * len(done),
    )
    assert done == [2, 4]
    a, b = split_arms(records)
    assert [one.turns.pair for one in a if one.turns] == [0, 1]
    for one in (*a, *b):
        (series,) = one.series
        assert series.name == "compute"
        assert len(series.seconds) == 4
        assert len(series.warmup_seconds) == 3
        assert sum(series.cpu_seconds or ()) > 0
        assert one.fence_seconds
        assert one.references == one.energy == ()
    assert {one.series[0].steps for one in (*a, *b)} == {a[0].series[0].steps}
    (reading,) = compare_records(a, b).readings
    assert reading.cpu is not None
    assert reading.cpu.ratio < 0.75  # half, were the work planted to the letter
    assert reading.match.differences == (PLANTED,)
    assert reading.match.environment == ()


def test_one_process_can_have_both_arms(tmp_path: Path) -> None:
    sides = [
        Side(
            request=request,
            turns=Turns(comparison="c", pair=0, arm=arm, manner="one-process"),
            log=tmp_path / "log",
        )
        for arm, request in zip(ARMS, make_requests(), strict=True)
    ]
    pair = run_pair(sides, limits=default_limits(), one_process=True)
    assert pair.complete, pair.records
    a, b = pair.records
    assert (a.configuration.planted, b.configuration.planted) == (None, "work:1.0")
    assert a.series[0].steps == b.series[0].steps
    assert sum(a.series[0].cpu_seconds or ()) < 0.75 * sum(b.series[0].cpu_seconds or ())
    assert a.phases["import"] == pytest.approx(b.phases["import"], abs=0.1)
    assert a.phases["trace"] != b.phases["trace"]
