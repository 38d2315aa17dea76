"""The scenario `head-training`: a head behind its frozen backbone, and on features, in this process."""

from bench.measuring.timing import measure_probe
from bench.scenarios.planting import prepare_workload
from bench.scenarios.workload import Phases
from bench.suites import Request, Scenario
from tpuens.hardware.strategies import open_strategy


def test_a_head_ends_with_the_same_weights_on_images_and_on_features() -> None:
    scenario = Scenario(
        name="head-training",
        backbone="cifar_cnn",
        image_size=8,
        batch_size=8,
        optimizer="keras",
        options={"epochs": 2, "examples": 32},
    )
    request = Request(suite="test", scenario=scenario, strategy="cpu")
    workload = prepare_workload(request, open_strategy("cpu"), Phases())
    assert workload.configuration.optimizer == "adam"
    assert workload.evaluate is not None
    (difference,) = workload.evaluate(lambda done, of: None).metrics
    assert 0 <= difference.value < 1e-5
    for probe in workload.probes:
        series = measure_probe(probe, warmup_steps=0, blocks=1, block_seconds=0.001, latency_seconds=0.0)
        assert series.examples == (64,)  # two epochs of 32
