"""How steady the samples of a series were, and what to beware of in the figures made of them.

These cautions follow from the samples, so they are derived on reading; what the machine did meanwhile
(load, clock, swapping) follows from nothing else and is recorded.
"""

from dataclasses import dataclass
from typing import Literal

from ..records.record import Caution, Series
from .statistics import describe, step_seconds
from .steady_state import MIN_SAMPLES, steady_state

SLOW_FIRST_BLOCK = 1.1  # times the median of the others
_DEVIATIONS = 5  # median absolute deviations, about 3.4 standard deviations of a normal distribution

_CAUTIONS = {
    "few-samples": f"Fewer than {MIN_SAMPLES} samples: time more blocks, or repeat the run with --repeats.",
    "slow-first-block": "The first block was slower than the others, and it counts: warm up for more steps.",
    "drifting": "The step time still drifted at the end: warm up and measure for longer, and look for heat, "
    "swapping or a leak.",
    "never-steady": "The step time changed its level until the end: stop what else runs here, and repeat the "
    "run with --repeats.",
}


@dataclass(frozen=True, kw_only=True)
class Steadiness:
    """What became of a series.

    Attributes:
        verdict: See `SteadyState`; "too few samples" where there are too few to say.
        from_step: The step, counted from 1 after the warm-up, from which on it was steady; None: never.
    """

    verdict: Literal["steady", "drifting", "never steady", "too few samples"]
    from_step: int | None = None


def judge_steadiness(series: Series) -> Steadiness:
    """Returns whether the step time became steady, and from which step on."""
    seconds = step_seconds(series)
    if len(seconds) < MIN_SAMPLES:
        return Steadiness(verdict="too few samples")
    state = steady_state(seconds)
    from_step = None if state.from_step is None else sum(series.steps[: state.from_step]) + 1
    return Steadiness(verdict=state.verdict, from_step=from_step)


def sample_cautions(series: Series, steadiness: Steadiness) -> tuple[Caution, ...]:
    """Returns what the samples themselves say against the figures that are made of them."""
    codes = []
    if steadiness.verdict == "too few samples":
        codes.append("few-samples")
    elif steadiness.verdict != "steady":
        codes.append(steadiness.verdict.replace(" ", "-"))
    if series.fence == "block" and _first_is_slow(step_seconds(series)):
        codes.append("slow-first-block")
    return tuple(Caution(code=code, message=_CAUTIONS[code], series=series.name) for code in codes)


def _first_is_slow(seconds: tuple[float, ...]) -> bool:
    others = describe(seconds[1:])
    if others is None or len(seconds) < MIN_SAMPLES:
        return False
    return seconds[0] > max(SLOW_FIRST_BLOCK * others.median, others.median + _DEVIATIONS * others.mad)
