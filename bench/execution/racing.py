"""Settings that race each other: who takes turns with whom, for how long, and who wins. No TensorFlow.

Only one of them works at a time, in the order A B C C B A, so that what disturbs the machine for longer than
a turn falls on all of them. A rival is out of the race as soon as its turns tell whether it gains enough on
the settings that it would replace (Maron & Moore, Hoeffding Races, 1994; with Student's interval of the
turns' log-ratios in the place of Hoeffding's bound). The turns of one process resemble each other more than
two processes do: that will do to choose by, and claims nothing.
"""

import contextlib
import math
from collections.abc import Sequence
from typing import Literal, Protocol

from tpuens.errors import TpuensError

from ..analysis.ratios import Interval, ratio_interval
from ..records.record import Parameter, Trial

Settings = dict[str, Parameter]
Verdict = Literal["faster", "no gain", "slower", "out of memory", "failed"]

# What a change must bring: side by side, and where arms could not take turns [METHOD of this project, rule 7:
# medians of separate runs of one and the same step spread by 12 %].
LEAST_GAIN, LEAST_GAIN_APART = 0.02, 0.12
FEWEST_TURNS, MOST_TURNS = 4, 16  # of each


class TrialError(TpuensError):
    """A trial ended before its time; the message says why."""

    def __init__(self, reason: str, *, out_of_memory: bool = False) -> None:
        super().__init__(reason)
        self.out_of_memory = out_of_memory


class Arm(Protocol):
    """Settings at work: prepared, warmed up, waiting for their turns.

    Attributes:
        examples: In a turn.
        step_seconds: What a step took when it was warm.
    """

    examples: int
    step_seconds: float

    def take_turn(self) -> float:
        """Takes a turn and returns its seconds.

        Raises:
            TrialError: It has ended.
        """

    def close(self) -> None:
        """Ends it."""


class Runner:
    """Settings in a race: their arm while it lives, and their turns in this race."""

    def __init__(self, settings: Settings, arm: Arm) -> None:
        self.settings, self.arm = settings, arm
        self.seconds: list[float] = []
        self.failure: TrialError | None = None

    def take_turn(self) -> None:
        """Takes a turn; notes why, where it has ended."""
        if self.failure is None:
            try:
                self.seconds.append(self.arm.take_turn())
            except TrialError as error:
                self.failure = error

    def trial(self) -> Trial:
        """Returns what a record says of it."""
        if self.failure is not None:
            return Trial(settings=self.settings, reason=str(self.failure))
        return Trial(settings=self.settings, examples=self.arm.examples, seconds=tuple(self.seconds))


def race(champion: Runner, rivals: Sequence[Runner]) -> None:
    """Takes turns with all of them until each rival's verdict is clear, or `MOST_TURNS` are taken.

    Raises:
        TrialError: The champion has ended.
    """
    for runner in (champion, *rivals):
        runner.seconds.clear()
    running = list(rivals)
    while running and len(champion.seconds) < MOST_TURNS:
        order = [champion, *running]
        for runner in (*order, *order[::-1]):
            runner.take_turn()
        if champion.failure is not None:
            raise champion.failure
        running = [one for one in running if one.failure is None and not _is_clear(gain(champion, one))]


def run_alone(runner: Runner) -> None:
    """Takes half of `MOST_TURNS` with one that has the machine to itself."""
    runner.seconds.clear()
    for _ in range(MOST_TURNS // 2):
        runner.take_turn()


def gain(champion: Runner, rival: Runner) -> Interval | None:
    """Returns the rival's speed over the champion's, in examples a second; None below 2 turns of both."""
    pairs = zip(champion.seconds, rival.seconds, strict=False)  # who is out of the race has fewer
    examples = rival.arm.examples / champion.arm.examples
    return ratio_interval([math.log(examples * own / its) for own, its in pairs])


def judge_rival(champion: Runner, rival: Runner, least_gain: float = LEAST_GAIN) -> Verdict:
    """Returns what the race said of a rival: faster where the interval excludes 1 and the gain is enough.

    The turns are those of one process each. What differs from process to process is in them too, so that
    equal settings may seem to differ; nothing is lost by either then.
    """
    found = gain(champion, rival)
    if rival.failure is not None:
        return "out of memory" if rival.failure.out_of_memory else "failed"
    assert found is not None, "a race has turns"
    if found.low > 1 and found.ratio >= 1 + least_gain:
        return "faster"
    return "slower" if found.high < 1 else "no gain"


def end(*runners: Runner) -> None:
    """Ends those that still live."""
    with contextlib.ExitStack() as stack:
        for runner in runners:
            stack.callback(runner.arm.close)


def _is_clear(found: Interval | None) -> bool:
    if found is None or found.pairs < FEWEST_TURNS:
        return False
    return found.low > 1 + LEAST_GAIN or found.high < 1 + LEAST_GAIN
