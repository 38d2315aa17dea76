"""Settings, faults and outcomes of scenarios, on digits of 8×8 pixels, in this process."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from bench.records.record import Metric, Outcomes
from bench.scenarios.planting import make_work, prepare_workload
from bench.scenarios.workload import (
    Evaluation,
    Phases,
    Workload,
    build_trainer,
    make_synthetic_batch,
    resolve_batch,
    start_step,
)
from bench.suites import Request, Scenario
from tpuens.errors import ConfigurationError
from tpuens.hardware.strategies import open_strategy

CPU = open_strategy("cpu")
SMALL: dict[str, Any] = {"backbone": "cifar_cnn", "image_size": 8, "batch_size": 8}


def request_for(**settings: Any) -> Request:
    return Request(suite="test", scenario=Scenario(**{**SMALL, **settings}), strategy="cpu")


def prepare(**settings: Any) -> Workload:
    return prepare_workload(request_for(**settings), CPU, Phases())


def evaluate(**settings: Any) -> Evaluation:
    workload = prepare(**settings)
    assert workload.evaluate is not None
    return workload.evaluate(lambda done, of: None)


def value_of(metrics: list[Metric], name: str, **parameters: Any) -> float:
    (found,) = [
        metric.value
        for metric in metrics
        if metric.name == name and parameters.items() <= metric.parameters.items()
    ]
    return found


def share_right(outcomes: Outcomes) -> float:
    return outcomes.right.count("1") / len(outcomes.right)


def weights_after(steps: int, **settings: Any) -> list[np.ndarray]:
    request = request_for(name="train-step", **settings)
    batch = resolve_batch(request, CPU, 8)
    trainer = build_trainer(request, CPU, Phases(), batch=batch, num_classes=10)
    step = start_step(request, trainer, make_synthetic_batch(request, CPU, batch, 10), Phases())
    while int(trainer.step.optimizer.iterations) < steps:
        step()
    return [np.asarray(variable) for variable in trainer.model.trainable_variables]


@pytest.mark.parametrize("augment", [(), ("mixup",)])
def test_keras_fit_trains_what_our_loop_trains(augment: tuple[str, ...]) -> None:
    ours, of_fit = (weights_after(4, loop=loop, augment=augment) for loop in ("tpuens", "keras-fit"))
    for one, other in zip(ours, of_fit, strict=True):
        apart = np.abs(one - other)
        assert apart.mean() < 1e-6
        assert apart.max() < 1e-3  # a step of Adam, which a gradient of next to nothing may turn round
    assert np.abs(ours[0] - weights_after(2, augment=augment)[0]).mean() > 1e-4


def test_an_epoch_by_keras_fit_records_what_it_was() -> None:
    phases = Phases()
    request = request_for(
        name="train-epoch",
        loop="keras-fit",
        augment=("shift", "mixup"),
        colour="grey",
        cache="disk",
        prefetch=3,
        options={"examples": 32},
    )
    workload = prepare_workload(request, CPU, phases)
    assert workload.key.augment == ("shift", "mixup")
    assert workload.key.image_shape == (8, 8, 1)
    assert workload.key.loss == "categorical_crossentropy"
    configuration = workload.configuration
    assert (configuration.loop, configuration.cache, configuration.prefetch) == ("keras-fit", "disk", 3)
    compute, feed, both = workload.probes
    assert phases.seconds["first_step"] > 0.1
    assert "trace" not in phases.seconds
    before = both.fence()
    assert both.step() is None  # what it waited for input is inside its graph
    assert both.fence() != before
    assert feed.step() is not None
    compute.step()


def test_a_call_of_several_steps_trains_as_many_and_takes_its_batches_itself() -> None:
    for one, other in zip(weights_after(6), weights_after(6, steps_per_execution=3), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
    workload = prepare(
        name="train-epoch", steps_per_execution=3, num_parallel_calls=1, options={"examples": 64}
    )
    configuration = workload.configuration
    assert (configuration.steps_per_execution, configuration.num_parallel_calls) == (3, 1)
    compute, feed, both = workload.probes
    assert [probe.steps_per_call for probe in workload.probes] == [3, 1, 3]
    assert [probe.max_block_steps for probe in workload.probes] == [3, 8, 3]
    assert both.min_steps == 6  # calls, for two epochs of 8 steps
    before = both.fence()
    assert both.step() is None
    assert both.fence() != before
    assert feed.step() is not None
    compute.step()


def test_another_loop_takes_a_step_a_call() -> None:
    with pytest.raises(ConfigurationError, match="Only the loop tpuens"):
        prepare(name="train-step", steps_per_execution=3, loop="keras-fit")


def test_what_is_not_set_is_as_it_was() -> None:
    workload = prepare(name="train-epoch", options={"examples": 32})
    assert workload.key.loss == "sparse_categorical_crossentropy"
    assert workload.key.image_shape == (8, 8, 3)
    configuration = workload.configuration
    assert (configuration.loop, configuration.cache, configuration.prefetch) == ("tpuens", "memory", 2)
    assert configuration.planted is None


def test_several_workers_are_refused_to_keras_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(CPU), "num_replicas_in_sync", 2)
    with pytest.raises(ConfigurationError, match="several workers"):
        prepare(name="train-step", loop="keras-fit")


def test_planted_work_takes_time_on_the_device_and_can_be_waited_for() -> None:
    work = make_work("/cpu:0")
    assert isinstance(work(1e-4)(), float)
    assert timed(lambda: work(0.2)()) > 3 * timed(lambda: work(0.02)())


def timed(call: Callable[[], object]) -> float:
    import time

    call()
    seconds = []
    for _ in range(3):
        start = time.process_time()
        call()
        seconds.append(time.process_time() - start)
    return min(seconds)


def test_a_missing_fence_is_recorded_and_returns_at_once() -> None:
    workload = prepare(name="train-step", planted="no-fence")
    assert workload.configuration.planted == "no-fence"
    assert workload.fence is not None
    assert [probe.fence() for probe in workload.probes] == [None, None]
    assert workload.fence() is None


def test_a_scenario_without_steps_cannot_be_slowed_down() -> None:
    with pytest.raises(ConfigurationError, match="times no steps"):
        prepare(name="time-to-accuracy", planted="work:0.1")


def test_an_ensemble_says_which_examples_were_right_and_shows_a_spoilt_member() -> None:
    found = evaluate(
        name="ensemble-accuracy",
        batch_size=16,
        planted="spoilt-member",
        options={"members": 2, "seeds": 1, "epochs": 2},
    )
    for outcomes in found.outcomes:
        accuracy = value_of(found.metrics, "top_1_accuracy", **outcomes.parameters)
        assert share_right(outcomes) == pytest.approx(accuracy)
    assert [outcomes.parameters["of"] for outcomes in found.outcomes] == ["member", "member", "ensemble"]
    assert len({outcomes.examples_fingerprint for outcomes in found.outcomes}) == 1
    spoilt, sound, _ = map(share_right, found.outcomes)
    assert spoilt < 0.4 < 0.7 < sound


def test_the_same_weights_agree_under_other_arithmetic() -> None:
    found = evaluate(name="agreement", batch_size=32, options={"epochs": 1, "examples": 512})
    arms = [outcomes.parameters["arm"] for outcomes in found.outcomes]
    assert arms == ["as trained", "cpu float32", "mixed_bfloat16", "mixed_float16", "jit"]
    largest = [value_of(found.metrics, "largest_absolute_difference", arm=arm) for arm in arms]
    assert largest[0] == 0
    assert [largest[1], largest[4]] == pytest.approx([0, 0], abs=1e-5)
    # bfloat16 rounds to 8 bits, float16 to 11: they differ, and by little.
    assert 1e-5 < largest[3] < largest[2] < 0.1
    for arm, outcomes in zip(arms, found.outcomes, strict=True):
        assert share_right(outcomes) == pytest.approx(value_of(found.metrics, "top_1_accuracy", arm=arm))
        same = np.mean([a == b for a, b in zip(outcomes.right, found.outcomes[0].right, strict=True)])
        assert same > 0.97
