"""What a worker does when it is ordered to take turns: what it times, and what it leaves untimed."""

import pytest

from bench.execution.messages import (
    Finish,
    Message,
    Order,
    Ready,
    Taken,
    TakeTurn,
    Warmed,
    WarmUp,
)
from bench.execution.turn_taker import take_turns
from bench.measuring.environment import Reading, join_readings
from bench.measuring.timing import Clocks, Probe


class Machine:
    """A clock that only steps and pauses move, and what it shows of the machine."""

    def __init__(self) -> None:
        self.now = 0.0

    def step(self) -> None:
        self.now += 0.5

    def read(self) -> Reading:
        return Reading(
            seconds=self.now,
            busy_seconds=2 * self.now,
            own_seconds=self.now,
            swapped_bytes=0,
            load=1.0,
            frequency_hz=None,
        )


def test_a_worker_measures_what_it_is_ordered_and_nothing_between_its_turns() -> None:
    machine = Machine()
    orders: list[Order] = [
        WarmUp(probe=0, steps=2), TakeTurn(probe=0, steps=3), TakeTurn(probe=0, steps=3),
        WarmUp(probe=1, steps=1), TakeTurn(probe=1, steps=2), Finish(),
    ]  # fmt: skip
    answers: list[Message] = []

    def receive() -> Order:
        machine.now += 100.0  # the other arm's turn
        return orders.pop(0)

    def probe(name: str, sample: str) -> Probe:
        return Probe(
            name=name,
            step=machine.step,
            fence=lambda: None,
            examples_per_step=8,
            sample=sample,
            parameters={},  # type: ignore[arg-type]
        )

    ((series, readings),) = take_turns(
        [[probe("compute", "block"), probe("latency", "step")]],
        receive=receive,
        send=answers.append,
        clocks=Clocks(wall=lambda: machine.now, cpu=lambda: machine.now),
        read_machine=machine.read,
    )
    assert isinstance(answers[0], Ready)
    assert answers[1:] == [
        Warmed(step_seconds=(0.5, 0.5)), Taken(seconds=1.5), Taken(seconds=1.5),
        Warmed(step_seconds=(0.5,)), Taken(seconds=1.0),
    ]  # fmt: skip
    compute, latency = series
    assert (compute.steps, compute.examples, compute.seconds) == ((3, 3), (24, 24), (1.5, 1.5))
    assert compute.warmup_seconds == (0.5, 0.5)
    assert (latency.fence, latency.steps, latency.seconds) == ("step", (1, 1), (0.5, 0.5))
    before, after = join_readings(readings)
    assert after.seconds - before.seconds == pytest.approx(4.0)
    assert after.busy_seconds - before.busy_seconds == pytest.approx(8.0)


def test_steps_that_may_lie_ready_lead_a_turn_untimed() -> None:
    machine = Machine()
    orders: list[Order] = [TakeTurn(probe=0, steps=2), TakeTurn(probe=0, steps=2), Finish()]
    steps: list[float] = []

    def step() -> None:
        steps.append(machine.now)
        machine.now += 0.5

    probe = Probe(
        name="input", step=step, fence=lambda: None, examples_per_step=8, parameters={}, lead_steps=1,
        in_process=False,
    )  # fmt: skip
    ((series, _),) = take_turns(
        [[probe]],
        receive=lambda: orders.pop(0),
        send=lambda message: None,
        clocks=Clocks(wall=lambda: machine.now, cpu=lambda: machine.now),
        read_machine=machine.read,
    )
    assert len(steps) == 6
    assert (series[0].steps, series[0].seconds) == ((2, 2), (1.0, 1.0))
    assert series[0].cpu_seconds is None  # it works in other processes


def test_two_arms_of_one_process_keep_their_turns_apart() -> None:
    paces, slept = {"A": 1.0, "B": 3.0}, [0.0]

    def probe(arm: str) -> Probe:
        def step() -> None:
            slept[0] += paces[arm]

        return Probe(name="compute", step=step, fence=lambda: None, examples_per_step=1, parameters={})

    orders: list[Order] = [
        *(WarmUp(probe=0, steps=1, arm=arm) for arm in (0, 1)),
        *(TakeTurn(probe=0, steps=2, arm=arm) for arm in (0, 1, 1, 0)),
        Finish(),
    ]
    answers: list[Message] = []
    arms = take_turns(
        [[probe("A")], [probe("B")]],
        receive=lambda: orders.pop(0),
        send=answers.append,
        clocks=Clocks(wall=lambda: slept[0], cpu=lambda: slept[0]),
    )
    assert [type(one) for one in answers[:2]] == [Ready, Ready]
    assert [[one.seconds for one in series] for series, _ in arms] == [[(2.0, 2.0)], [(6.0, 6.0)]]
    assert [len(readings) for _, readings in arms] == [2, 2]
