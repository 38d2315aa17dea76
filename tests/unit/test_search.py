"""The search for the fastest settings, on arms whose speed is a formula."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from bench.execution import racing
from bench.execution.racing import LEAST_GAIN, MOST_TURNS, Runner, Settings, TrialError, judge_rival, race
from bench.execution.search import BATCH, MOST_EXAMPLES, Axis, search
from bench.records.record import Tuning

BATCH_AXIS = Axis(setting=BATCH, present=16)
JIT = Axis(setting="jit", present=False, others=(True,))
THREADS = Axis(setting="intra_op_threads", present="auto", others=(1, 4))


@dataclass
class Arm:
    """An arm that takes so long a turn, one after another."""

    examples: int
    seconds: list[float]
    step_seconds: float = 0.01
    taken: int = 0
    closed: bool = False

    def take_turn(self) -> float:
        self.taken += 1
        return self.seconds[(self.taken - 1) % len(self.seconds)]

    def close(self) -> None:
        self.closed = True


@dataclass
class Machine:
    """Starts arms by a formula from settings to examples a second; a text is why they cannot start."""

    speed: Callable[[Settings], float | str]
    noise: list[float] = field(default_factory=lambda: [1.0, 1.001, 0.999])
    step_seconds: Callable[[Settings], float] = lambda settings: 0.01
    memory: int = 10**9  # examples that all living arms together can hold
    arms: list[tuple[Settings, Arm]] = field(default_factory=list)

    def start(self, settings: Settings) -> Arm:
        speed = self.speed(settings)
        if isinstance(speed, str):
            raise TrialError(speed)
        batch = int(settings.get(BATCH, 1))
        if batch + sum(int(one.get(BATCH, 1)) for one, arm in self.arms if not arm.closed) > self.memory:
            raise TrialError("The device ran out of memory", out_of_memory=True)
        arm = Arm(batch, [batch / speed * noise for noise in self.noise], self.step_seconds(settings))
        self.arms.append((settings, arm))
        return arm

    def search(self, *axes: Axis, side_by_side: bool = True) -> Tuning:
        tuning = search(self.start, axes, side_by_side=side_by_side)
        assert all(arm.closed for _, arm in self.arms)
        return tuning

    def tried(self, setting: str) -> list[object]:
        return [settings[setting] for settings, _ in self.arms]


def saturating(settings: Settings) -> float:
    """Grows with the batch up to 64 examples."""
    return 100.0 * min(int(settings[BATCH]), 64) ** 0.5


def test_a_batch_grows_while_it_pays_and_two_doublings_more() -> None:
    machine = Machine(saturating)
    tuning = machine.search(BATCH_AXIS)
    assert tuning.chosen == {BATCH: 64}
    assert machine.tried(BATCH) == [16, 32, 64, 128, 256]
    assert "batch_size becomes 64 (32 faster, 64 faster, 128 no gain, 256 no gain)" in tuning.why


def test_a_doubling_that_brings_nothing_does_not_hide_the_next_one() -> None:
    machine = Machine(lambda settings: {16: 100.0, 32: 100.5}.get(int(settings[BATCH]), 110.0))
    assert machine.search(BATCH_AXIS).chosen == {BATCH: 64}


def test_a_batch_shrinks_where_smaller_is_faster() -> None:
    machine = Machine(lambda settings: 1000.0 / max(int(settings[BATCH]), 4))
    assert machine.search(BATCH_AXIS).chosen == {BATCH: 4}
    assert machine.tried(BATCH) == [16, 32, 64, 8, 4, 2]


def test_a_batch_that_does_not_fit_ends_the_doubling() -> None:
    machine = Machine(lambda settings: float(settings[BATCH]), memory=64)
    tuning = machine.search(BATCH_AXIS, side_by_side=False)
    assert tuning.chosen == {BATCH: 64}
    (failed,) = [trial for trial in tuning.trials if trial.reason]
    assert (failed.settings, failed.seconds) == ({BATCH: 128}, ())
    assert "128 out of memory" in tuning.why


def test_a_batch_that_fits_alone_is_tried_alone() -> None:
    machine = Machine(lambda settings: float(settings[BATCH]), memory=64)
    tuning = machine.search(BATCH_AXIS)
    assert tuning.chosen == {BATCH: 64}  # 32 and 64 do not fit beside each other
    assert "one after another, since memory does not hold two" in tuning.why


def test_a_present_batch_that_does_not_fit_is_halved_until_it_does() -> None:
    tuning = Machine(lambda settings: float(settings[BATCH]), memory=5).search(BATCH_AXIS)
    assert tuning.chosen == {BATCH: 4}
    assert "batch_size 16 does not fit; batch_size 8 does not fit" in tuning.why


def test_steps_grow_no_longer_than_a_trial_may_take() -> None:
    machine = Machine(saturating, step_seconds=lambda settings: int(settings[BATCH]) / 10)
    assert machine.search(BATCH_AXIS).chosen == {BATCH: 64}
    assert machine.tried(BATCH) == [16, 32, 64]
    endless = Machine(lambda settings: float(settings[BATCH]))
    assert endless.search(BATCH_AXIS).chosen == {BATCH: MOST_EXAMPLES}


def test_settings_are_chosen_one_after_another_at_what_has_won_before() -> None:
    def speed(settings: Settings) -> float:
        return saturating(settings) * (1.5 if settings["jit"] and settings[BATCH] == 64 else 1.0)

    machine = Machine(speed)
    tuning = machine.search(BATCH_AXIS, JIT, THREADS)
    assert tuning.chosen == {BATCH: 64, "jit": True, "intra_op_threads": "auto"}
    assert "jit becomes on (on faster)" in tuning.why
    assert "intra_op_threads stays auto (1 no gain, 4 no gain)" in tuning.why
    # XLA may make room for more, so the batch was looked at again.
    assert tuning.why.count("batch_size") == 2


def test_the_batch_is_not_looked_at_again_where_nothing_changed() -> None:
    machine = Machine(saturating)
    assert machine.search(BATCH_AXIS, JIT).why.count("batch_size") == 1


def test_differences_within_the_noise_keep_what_there_is() -> None:
    noise = [1.0, 1.3, 0.8, 1.15, 0.9, 1.2, 0.75]
    machine = Machine(lambda settings: 104.0 if settings["jit"] else 100.0)
    arms = itertools.count()

    def start(settings: Settings) -> Arm:
        arm = machine.start(settings)
        shift = 3 * next(arms)
        arm.seconds = [arm.seconds[0] * one for one in (*noise[shift:], *noise[:shift])]
        return arm

    tuning = search(start, [JIT], side_by_side=True)
    assert tuning.chosen == {"jit": False}
    assert len(tuning.trials[0].seconds) == MOST_TURNS  # it tried to tell


@pytest.mark.parametrize(("gain", "chosen"), [(1 + LEAST_GAIN / 2, False), (1 + 2 * LEAST_GAIN, True)])
def test_a_change_must_bring_the_least_gain(gain: float, chosen: bool) -> None:
    machine = Machine(lambda settings: 100.0 * (gain if settings["jit"] else 1.0))
    assert machine.search(JIT).chosen == {"jit": chosen}


def test_settings_that_fail_are_kept_with_the_reason() -> None:
    machine = Machine(lambda settings: "no XLA on this device" if settings["jit"] else 100.0)
    tuning = machine.search(JIT)
    assert tuning.chosen == {"jit": False}
    assert [(trial.settings, trial.reason) for trial in tuning.trials if trial.reason] == [
        ({"jit": True}, "no XLA on this device")
    ]


def test_present_settings_that_fail_end_the_search() -> None:
    with pytest.raises(TrialError, match="no such GPU"):
        Machine(lambda settings: "no such GPU").search(JIT)


def test_every_trial_is_told_with_its_samples() -> None:
    tuning = Machine(saturating).search(BATCH_AXIS)
    assert [trial.settings[BATCH] for trial in tuning.trials] == [16, 32, 32, 64, 64, 128, 64, 256]
    assert all(trial.examples == trial.settings[BATCH] and trial.seconds for trial in tuning.trials)


def test_who_races_takes_turns_there_and_back() -> None:
    order: list[str] = []

    class Noted(Arm):
        def take_turn(self) -> float:
            order.append(self.name)  # type: ignore[attr-defined]
            return super().take_turn()

    runners = []
    for name, seconds in (("A", 1.0), ("B", 1.0), ("C", 5.0)):
        arm = Noted(1, [seconds, 1.01 * seconds, 0.99 * seconds])
        arm.name = name  # type: ignore[attr-defined]
        runners.append(Runner({}, arm))
    race(runners[0], runners[1:])
    assert "".join(order[:12]) == "ABCCBAABCCBA"
    assert order.count("C") == racing.FEWEST_TURNS  # five times slower: that is soon clear
    assert judge_rival(runners[0], runners[2]) == "slower"


def test_a_rival_that_ends_in_the_race_has_failed() -> None:
    class Ending(Arm):
        def take_turn(self) -> float:
            if self.taken == 2:
                raise TrialError("the disk is purple")
            return super().take_turn()

    champion, rival = Runner({}, Arm(1, [1.0])), Runner({"jit": True}, Ending(1, [0.5]))
    race(champion, [rival])
    assert judge_rival(champion, rival) == "failed"
    assert rival.trial().reason == "the disk is purple"
