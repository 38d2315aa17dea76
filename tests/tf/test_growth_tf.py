"""The scenarios whose points take turns, on few and small images, in this process."""

from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf

from bench.measuring.timing import Clocks, measure_in_rounds, time_block
from bench.scenarios import input_growth
from bench.scenarios.planting import prepare_workload
from bench.scenarios.workload import Phases, Workload
from bench.suites import Request, Scenario
from tpuens.data import photographs
from tpuens.hardware.strategies import open_strategy


@pytest.fixture
def prepare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Prepares a scenario on photographs of 96×64, ten of them, 16 of which a cache holds."""
    monkeypatch.setenv("TPUENS_CACHE_DIR", str(tmp_path))
    for name, value in {"WIDTH": 96, "HEIGHT": 64, "_CROPS": 5}.items():
        monkeypatch.setattr(photographs, name, value)
    small = {"WIDTH": 96, "WIDTHS": (48, 96), "BATCH_SIZES": (1, 4), "LENGTHS": (0.5, 4.0)}
    for name, value in {**small, "CACHED_IMAGES": 16, "_EXAMPLES": 16, "BATCH_SIZE": 4}.items():
        monkeypatch.setattr(input_growth, name, value)

    def prepare_here(**settings: Any) -> Workload:
        request = Request(suite="test", scenario=Scenario(image_size=8, **settings), strategy="cpu")
        return prepare_workload(request, open_strategy("cpu"), Phases())

    return prepare_here


def measure(workload: Workload) -> list[Any]:
    assert workload.in_rounds
    return measure_in_rounds(
        workload.probes, warmup_steps=1, blocks=2, block_seconds=0.001, latency_seconds=0.01
    )


def test_input_growth_times_every_point_and_its_capped_cache_spares_what_it_holds(
    prepare: Any, tmp_path: Path
) -> None:
    workload = prepare(name="input-growth")
    series = measure(workload)
    points = [dict(one.parameters) for one in series]
    assert [next(iter(point)) for point in points[:4]] == ["image_bytes"] * 2 + ["batch_size"] * 2
    assert points[0]["image_bytes"] < points[1]["image_bytes"]
    assert [point["batch_size"] for point in points[2:4]] == [1, 4]
    assert {point["parallel_calls"] for point in points[4:-2]} >= {1, 2}
    assert [point["examples_per_cached"] for point in points[-2:]] == [0.5, 4.0]
    assert all(min(one.seconds) > 0 and len(one.seconds) == 2 for one in series)
    assert series[2].examples[0] == series[2].steps[0]  # single images

    for file in tmp_path.rglob("*.jpg"):
        file.unlink()
    fits, too_long = workload.probes[-2:]
    time_block(fits, 6, Clocks())
    with pytest.raises(tf.errors.NotFoundError):
        time_block(too_long, 16, Clocks())


def test_input_caches_times_each_source_cold_and_warm_and_says_what_it_holds(prepare: Any) -> None:
    workload = prepare(name="input-caches", batch_size=4)
    readings = {(one.parameters["source"], one.parameters["state"]): one for one in measure(workload)}
    assert readings.keys() == {
        ("files", "first epoch"),
        ("files", "later epochs"),
        ("memory", "first epoch"),
        ("memory", "later epochs"),
        ("disk", "first epoch"),
        ("disk", "reopened"),
        ("disk", "later epochs"),
        ("tfrecords", "reopened"),
        ("tfrecords", "later epochs"),
    }
    assert all(
        one.examples == ((8, 8) if state != "later epochs" else one.examples)
        for (_, state), one in readings.items()
    )
    assert workload.evaluate is not None
    held = {
        (metric.parameters["source"], metric.name): metric.value
        for metric in workload.evaluate(lambda done, of: None).metrics
    }
    assert held["memory", "in_memory_bytes"] == held["disk", "on_disk_bytes"] == 8 * 8 * 8 * 3
    assert held["files", "on_disk_bytes"] > held["tfrecords", "on_disk_bytes"] > 8 * 300


def test_ensemble_inference_times_both_arms_at_every_batch_size(prepare: Any) -> None:
    workload = prepare(name="ensemble-inference", batch_size=4, options={"members": 2})
    series = measure(workload)
    assert [(one.name, one.parameters["arm"], one.parameters["batch_size"]) for one in series] == [
        ("latency", "sequential", 1),
        ("latency", "fused", 1),
        ("small batch", "sequential", 1),
        ("small batch", "fused", 1),
        ("throughput", "sequential", 4),
        ("throughput", "fused", 4),
    ]
