"""The search for the fastest settings: one setting after another, from those that were asked for.

What starts an arm is injected, so the search is tried without a device. Nothing here imports TensorFlow.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..analysis.statistics import CONFIDENCE
from ..records.record import Parameter, Trial, Tuning
from .racing import (
    LEAST_GAIN,
    LEAST_GAIN_APART,
    Arm,
    Runner,
    Settings,
    TrialError,
    Verdict,
    end,
    gain,
    judge_rival,
    race,
    run_alone,
)

BATCH = "batch_size"
PATIENCE = 2  # doublings in a row that bring nothing, before no other is tried
MOST_EXAMPLES = 4096  # of a batch that is tried, on each replica
MOST_STEP_SECONDS = 10.0  # of a step that is tried, as far as that of half the batch tells

Start = Callable[[Settings], Arm]


@dataclass(frozen=True, kw_only=True)
class Axis:
    """A setting to choose: what it is, and what else to try. A batch size is doubled and halved instead."""

    setting: str
    present: Parameter
    others: tuple[Parameter, ...] = ()


def search(start: Start, axes: Sequence[Axis], *, side_by_side: bool) -> Tuning:
    """Returns the settings that won, every trial that was made, and why, in words.

    Setting by setting the values race against the one that holds. A batch size is doubled until it does not
    fit or two doublings bring nothing; where none brings anything it is halved while that does; and it is
    looked at again at the end, where another setting has changed since. No arm lives on.

    Args:
        start: Starts an arm and warms it up; raises `TrialError` where the settings do not work.
        axes: What to choose, in this order.
        side_by_side: Whether several arms can be alive at once. Where they cannot, or memory proves too
            small for it, one is tried after another.

    Raises:
        TrialError: The present settings do not work.
    """
    run = _Search(start, side_by_side)
    try:
        run.begin({axis.setting: axis.present for axis in axes})
        for axis in axes:
            run.choose(axis)
        return run.finish()
    finally:
        run.close()


class _Search:
    def __init__(self, start: Start, side_by_side: bool) -> None:
        self._start, self._side_by_side = start, side_by_side
        self._entered: list[Runner] = []
        self._trials: list[Trial] = []
        self._told: list[str] = []
        self._batch_at: Settings | None = None  # what held when the batch size was last looked at
        self._lacks_memory = False

    def begin(self, settings: Settings) -> None:
        """Starts the present settings; a batch size that may be chosen is halved until it fits."""
        champion = self._enter(settings)
        while not isinstance(champion, Runner):
            size = int(settings.get(BATCH, 1))
            if not champion.out_of_memory or size == 1:
                raise champion
            self._told.append(f"{BATCH} {size} does not fit")
            settings = {**settings, BATCH: size // 2}
            champion = self._enter(settings)
        self._champion = champion
        if not self._side_by_side:
            self._leave_alone()

    def choose(self, axis: Axis) -> None:
        """Lets the values of a setting race against the one that holds."""
        before = self._champion.settings
        if axis.setting == BATCH:
            told = self._resize()
            self._batch_at = self._champion.settings
        else:
            told = self._contend(axis.setting, axis.others)
        after = self._champion.settings[axis.setting]
        change = f"stays {_show(after)}" if after == before[axis.setting] else f"becomes {_show(after)}"
        self._told.append(f"{axis.setting} {change}" + (f" ({', '.join(told)})" if told else ""))

    def finish(self) -> Tuning:
        """Returns what was found, after another look at the batch size where something has changed since."""
        if self._batch_at not in (None, self._champion.settings):
            self.choose(Axis(setting=BATCH, present=self._champion.settings[BATCH]))
        manner = "side by side, in turns" if self._side_by_side else "one after another"
        if self._lacks_memory:
            manner += ", since memory does not hold two"
        why = (
            f"{'; '.join(self._told)}. Tried {manner}: a setting changes for {self._least_gain:.0%} more "
            f"examples a second, where the interval of the turns' ratios excludes 1 at {CONFIDENCE:.0%}. The "
            "turns are those of one process each, so equal settings may differ by what processes do."
        )
        return Tuning(trials=tuple(self._trials), chosen=dict(self._champion.settings), why=why)

    @property
    def _least_gain(self) -> float:
        return LEAST_GAIN if self._side_by_side else LEAST_GAIN_APART

    def close(self) -> None:
        """Ends every arm that still lives."""
        end(*self._entered)

    def _resize(self) -> list[str]:
        told: list[str] = []
        first = size = int(self._champion.settings[BATCH])
        lost = 0
        self._step_seconds = self._champion.arm.step_seconds
        while lost < PATIENCE and 2 * size <= MOST_EXAMPLES and 2 * self._step_seconds < MOST_STEP_SECONDS:
            size *= 2
            told += self._contend(BATCH, [size])
            if self._trials[-1].reason is not None:
                break
            lost = 0 if self._champion.settings[BATCH] == size else lost + 1
        size = first
        while self._champion.settings[BATCH] == size and size > 1:
            size //= 2
            told += self._contend(BATCH, [size])
        return told

    def _contend(self, setting: str, values: Sequence[Parameter]) -> list[str]:
        """Lets values of a setting race against the champion's, and returns what became of each in words."""
        rivals = [{**self._champion.settings, setting: value} for value in values]
        entered = self._race(rivals) if self._side_by_side else None
        if entered is None:
            entered = [self._enter_alone(rival) for rival in rivals]
        verdicts = [_judge(self._champion, one, self._least_gain) for one in entered]
        faster = [
            one
            for one, verdict in zip(entered, verdicts, strict=True)
            if verdict == "faster" and isinstance(one, Runner)
        ]
        for settings, one in zip(rivals, entered, strict=True):
            self._trials.append(
                one.trial() if isinstance(one, Runner) else Trial(settings=settings, reason=str(one))
            )
        best = max(faster, key=lambda one: _ratio(self._champion, one), default=self._champion)
        end(*(one for one in (self._champion, *entered) if isinstance(one, Runner) and one is not best))
        self._champion = best
        return [f"{_show(value)} {verdict}" for value, verdict in zip(values, verdicts, strict=True)]

    def _race(self, rivals: Sequence[Settings]) -> list[Runner | TrialError] | None:
        """Returns what became of rivals beside the champion; None where memory does not hold them all."""
        entered = [self._enter(rival) for rival in rivals]
        if any(isinstance(one, TrialError) and one.out_of_memory for one in entered):
            end(*(one for one in entered if isinstance(one, Runner)))
            self._side_by_side, self._lacks_memory = False, True
            self._leave_alone()
            return None
        race(self._champion, [one for one in entered if isinstance(one, Runner)])
        self._trials.append(self._champion.trial())
        return entered

    def _leave_alone(self) -> None:
        """Takes the champion's turns for the races to come, and ends it, so that others have all memory."""
        run_alone(self._champion)
        if self._champion.failure is not None:
            raise self._champion.failure
        self._trials.append(self._champion.trial())
        end(self._champion)

    def _enter_alone(self, settings: Settings) -> Runner | TrialError:
        one = self._enter(settings)
        if isinstance(one, Runner):
            run_alone(one)
            end(one)
        return one

    def _enter(self, settings: Settings) -> Runner | TrialError:
        try:
            one = Runner(settings, self._start(settings))
        except TrialError as error:
            return error
        self._entered.append(one)
        self._step_seconds = one.arm.step_seconds
        return one


def _judge(champion: Runner, rival: Runner | TrialError, least_gain: float) -> Verdict:
    if isinstance(rival, Runner):
        return judge_rival(champion, rival, least_gain)
    return "out of memory" if rival.out_of_memory else "failed"


def _ratio(champion: Runner, rival: Runner) -> float:
    found = gain(champion, rival)
    return found.ratio if found else 0.0


def _show(value: Parameter) -> str:
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value)
