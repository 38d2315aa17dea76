"""Faults that are planted: read from their names, and put behind steps whose clock we turn ourselves."""

from collections.abc import Callable

import numpy as np
import pytest

from bench.analysis.labels import configuration_text
from bench.measuring.timing import Clocks, Probe, measure_probe
from bench.records.record import Configuration
from bench.scenarios.planting import Fault, parse_fault, prepare_workload, slow_down, spoil_weights
from bench.suites import Request, Scenario, Timing
from tpuens.errors import ConfigurationError


class Machine:
    """A step takes device time, which passes when the fence waits; what is planted takes a multiple of
    what it is asked for, and some time besides."""

    def __init__(self, step_seconds: float = 0.1, factor: float = 1.0, overhead: float = 0.0) -> None:
        self.now = self.queued = 0.0
        self.step_seconds, self.factor, self.overhead = step_seconds, factor, overhead
        self.spent: list[float] = []

    def step(self) -> None:
        self.queued += self.step_seconds

    def fence(self) -> None:
        self.now += self.queued
        self.queued = 0.0

    def spend(self, seconds: float) -> Callable[[], None]:
        self.spent.append(self.factor * seconds + self.overhead)
        self.queued += self.spent[-1]
        return self.fence

    def slowed(self, share: float, warmup_steps: int = 10) -> Probe:
        probe = Probe(name="compute", step=self.step, fence=self.fence, examples_per_step=8, parameters={})
        return slow_down(probe, share, self.spend, warmup_steps, clock=lambda: self.now)

    def measure(self, share: float) -> float:
        """Returns the seconds a step that the instrument reads."""
        series = measure_probe(
            self.slowed(share),
            warmup_steps=10,
            blocks=5,
            block_seconds=1.0,
            latency_seconds=1.0,
            clocks=Clocks(wall=lambda: self.now, cpu=lambda: self.now),
        )
        return sum(series.seconds) / sum(series.steps)


@pytest.mark.parametrize("share", [0.05, 0.1, 0.5])
def test_a_slowed_step_takes_the_share_longer(share: float) -> None:
    assert Machine().measure(share) == pytest.approx(0.1 * (1 + share))


def test_what_is_planted_is_set_right_by_what_it_took_in_the_warm_up() -> None:
    assert Machine(factor=3.0).measure(0.1) == pytest.approx(0.11)
    assert Machine(factor=0.2, overhead=0.001).measure(0.1) == pytest.approx(0.11, rel=2e-3)


def test_a_slow_first_half_of_the_warm_up_does_not_count() -> None:
    machine = Machine(step_seconds=5.0)
    probe = machine.slowed(0.1)
    for number in range(10):
        machine.step_seconds = 5.0 if number < 5 else 0.1
        probe.step()
    machine.spent.clear()
    probe.step()
    assert machine.spent == pytest.approx([0.01])


def test_after_the_warm_up_the_amount_stays() -> None:
    machine = Machine()
    probe = machine.slowed(0.1, warmup_steps=3)
    for _ in range(3):
        probe.step()
    machine.step_seconds = 7.0
    machine.spent.clear()
    for _ in range(4):
        probe.step()
    assert machine.spent == pytest.approx([0.01] * 4)


def test_the_wait_for_input_is_passed_on() -> None:
    machine = Machine()
    probe = Probe(name="input", step=lambda: 0.25, fence=lambda: None, examples_per_step=1, parameters={})
    slowed = slow_down(probe, 0.1, machine.spend, 1, clock=iter(range(100)).__next__)
    assert [slowed.step(), slowed.step()] == [0.25, 0.25]


def test_faults_are_read_from_their_names() -> None:
    assert parse_fault("work:0.10") == Fault(name="work", share=0.1)
    assert parse_fault("sleep:0.05") == Fault(name="sleep", share=0.05)
    assert parse_fault("no-fence") == Fault(name="no-fence")
    assert parse_fault("spoilt-member") == Fault(name="spoilt-member")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sleeep:0.1", "Did you mean 'sleep'"),
        ("work", "work:0.10"),
        ("sleep:much", "sleep:0.10"),
        ("work:0", "work:0.10"),
        ("work:nan", "work:0.10"),
        ("no-fence:0.1", "takes no share"),
    ],
)
def test_a_fault_that_there_is_not_says_what_would_do(text: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        parse_fault(text)


@pytest.mark.parametrize(
    ("scenario", "message"),
    [
        (Scenario(name="train-step", planted="spoilt-member"), "Only ensemble-accuracy"),
        (
            Scenario(name="train-step", planted="work:0.1", timing=Timing(warmup_steps=0)),
            "one step or more",
        ),
    ],
)
def test_what_cannot_be_planted_is_refused_before_anything_is_built(scenario: Scenario, message: str) -> None:
    request = Request(suite="s", scenario=scenario, strategy="cpu")
    with pytest.raises(ConfigurationError, match=message):
        prepare_workload(request, None, None)  # type: ignore[arg-type]


def test_what_is_planted_stands_in_every_label_and_tells_configurations_apart() -> None:
    planted = Configuration(strategy="cpu", planted="sleep:0.10")
    assert "PLANTED sleep:0.10" in configuration_text(planted)
    assert planted != Configuration(strategy="cpu")


class Model:
    """As much of a model as has weights."""

    def __init__(self) -> None:
        self.weights = [np.arange(50.0).reshape(5, 10) + 1, np.linspace(1, 2, 20)]

    def get_weights(self) -> list[np.ndarray]:
        return self.weights

    def set_weights(self, weights: list[np.ndarray]) -> None:
        self.weights = weights


def test_spoilt_weights_are_the_same_numbers_elsewhere() -> None:
    model, before = Model(), Model().weights
    spoil_weights(model, seed=3)
    for spoilt, weight in zip(model.weights, before, strict=True):
        assert spoilt.shape == weight.shape
        assert sorted(spoilt.ravel()) == sorted(weight.ravel())
        assert np.mean(spoilt == weight) < 0.3
