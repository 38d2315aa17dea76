"""The self-test on simulated step times: do intervals cover the truth, and does the gate keep its promises?

It calls the very functions that compare and check call (`bench.analysis.ratios`), on series whose true ratio
is known. Every promise has a row; so has what the method cannot do, without a promise.
"""

import math
import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from typing import TYPE_CHECKING, Any

from ..records.floors import Floor
from ..records.record import Series
from .gate_simulation import simulate_gates
from .rates import Rate
from .ratios import (
    MIN_PAIRS,
    Clock,
    Judgement,
    judge,
    narrow_enough,
    noise_floor,
    pair_log_ratio,
    pairs_needed,
    ratio_interval,
)
from .step_times import MACHINES, SHAPES, Machine, Slowdown, draw_pairs

if TYPE_CHECKING:
    import numpy as np

CASES = 2000
MOST_PAIRS = 12  # of a comparison whose interval does not get narrow before
CALIBRATION_PAIRS = 20
_CALIBRATIONS = 60
_ALARM_CASES = 15  # times the others': 6,000 could not prove that 4.3 % is below 5 % more often than not
_MOST_PLANNED = 30  # more than that nobody waits for

Pairs = Sequence[tuple[Series, Series]]


def simulate(
    cases: int = CASES, seed: int = 0, on_rate: Callable[[Rate], None] = lambda rate: None
) -> list[Rate]:
    """Returns what simulated comparisons of every kind came to; the same for the same seed.

    Args:
        cases: Comparisons of each kind.
        seed: Of the random numbers.
        on_rate: Told each rate as soon as it is there.
    """
    import numpy as np

    rates = []
    for rate in _rates(np.random.default_rng(seed), cases):
        on_rate(rate)
        rates.append(rate)
    return rates


def _rates(chance: "np.random.Generator", cases: int) -> Iterator[Rate]:
    yield from _coverage(chance, cases)
    yield from _limits(chance, cases)
    for machine in MACHINES:
        calibrations = [_calibrate(chance, machine) for _ in range(min(_CALIBRATIONS, cases))]
        yield from _false_alarms(chance, machine, calibrations, cases)
        yield from _found(chance, machine, calibrations, cases)
    yield from simulate_gates(chance, cases // 2)


def _coverage(chance: "np.random.Generator", cases: int) -> Iterator[Rate]:
    """Yields how often the interval of the fewest pairs covers the truth, for every shape and machine."""
    slower = Slowdown(wall=0.1, cpu=0.1)
    middling = MACHINES[1]
    kinds: list[tuple[Machine, str, Clock]] = [(middling, name, "wall") for name in SHAPES]
    kinds += [(machine, "normal", "wall") for machine in MACHINES if machine is not middling]
    kinds += [(middling, "normal", "cpu")]
    for machine, name, clock in kinds:
        pairs = draw_pairs(chance, machine, SHAPES[name], cases * MIN_PAIRS, slower)
        intervals = (_logs(islice(pairs, MIN_PAIRS), clock) for _ in range(cases))
        yield Rate(
            group="coverage",
            title=f"{name}, {machine.name} machine" + (", CPU time" if clock == "cpu" else ""),
            hits=sum(_covers(logs, slower) for logs in intervals),
            trials=cases,
            at_least=0.93,
            at_most=0.97,
            held_by="rate",
        )


def _limits(chance: "np.random.Generator", cases: int) -> Iterator[Rate]:
    """Yields how often the interval covers the truth where its assumptions do not hold, or are not used."""
    same, machine, plain = Slowdown(), MACHINES[1], SHAPES["normal"]

    def told(title: str, drawn: Iterable[Sequence[float]]) -> Rate:
        hits = sum(_covers(logs, same) for logs in drawn)
        return Rate(group="limits", title=title, hits=hits, trials=cases)

    pairs = draw_pairs(chance, machine, plain, cases * MIN_PAIRS, process_noise=_two_kinds)
    yield told(
        "one process in ten is 30 % slower for life", (_logs(islice(pairs, MIN_PAIRS)) for _ in range(cases))
    )
    for size in MACHINES:
        pairs = draw_pairs(chance, size, plain, cases * MOST_PAIRS)
        yield told(
            f"stopped once narrow enough, {size.name} machine",
            (_logs(_take(list(islice(pairs, MOST_PAIRS)))) for _ in range(cases)),
        )
    pairs = draw_pairs(chance, machine, plain, cases * MIN_PAIRS)
    drifts = chance.normal(0, machine.spread, cases)
    yield told(
        "all runs of A before all of B, while the machine drifts",
        ([one + drift for one in _logs(islice(pairs, MIN_PAIRS))] for drift in drifts),
    )
    pairs = draw_pairs(chance, machine, plain, cases)
    yield told("blocks of one pair of processes taken for pairs", (_block_logs(a, b) for a, b in pairs))


def _false_alarms(
    chance: "np.random.Generator", machine: Machine, calibrations: Sequence["_Calibration"], cases: int
) -> Iterator[Rate]:
    cases = _ALARM_CASES * cases
    found = Counter(
        one.verdict for one in _compare(chance, machine, calibrations, cases, Slowdown(), MOST_PAIRS)
    )
    for title, hits in (
        ("equal arms told apart", found["slower"] + found["faster"]),
        ("equal arms, and the gate alarms", found["slower"]),
    ):
        yield Rate(
            group="false alarms",
            title=f"{title}, {machine.name} machine",
            hits=hits,
            trials=found.total(),
            at_most=0.05,
        )


def _found(
    chance: "np.random.Generator", machine: Machine, calibrations: Sequence["_Calibration"], cases: int
) -> Iterator[Rate]:
    """Yields how often planted slowdowns are found, with as many pairs as the calibration says it takes.

    Where no number of pairs does, since the noise floor hides the slowdown, nothing is promised of what the
    wall time alone can see.
    """
    for effect, promised in ((0.1, 0.95), (0.05, 0.8)):
        planned = [one.pairs_for(effect) for one in calibrations]
        usual = statistics.median(pairs or _MOST_PLANNED for pairs in planned)
        hidden = planned.count(None) > len(planned) / 100
        for what, cpu in (("work", effect), ("sleep", 0.0)):
            slowdown = Slowdown(wall=effect, cpu=cpu)
            judgements = _compare(chance, machine, calibrations, cases // 2, slowdown, None)
            yield Rate(
                group="found",
                title=f"planted {what} of {effect:.0%}, {machine.name} machine, {usual:.0f} pairs",
                hits=sum(one.verdict == "slower" for one in judgements),
                trials=len(judgements),
                at_least=None if hidden and what == "sleep" else promised,
            )


@dataclass(frozen=True, kw_only=True)
class _Calibration:
    """What A/A pairs showed: the floor, and the spread by which a comparison is planned."""

    floor: Floor
    sd: float

    def pairs_for(self, effect: float) -> int | None:
        """Returns how many pairs find a slowdown with a chance of 97.5 %, by the wall time alone.

        None: more than anyone would run, or none at all.
        """
        pairs = pairs_needed(self.sd, effect, 0.975, floor=self.floor.wall, error=0.025)
        return pairs if pairs and pairs <= _MOST_PLANNED else None


def _calibrate(chance: "np.random.Generator", machine: Machine) -> _Calibration:
    pairs = list(draw_pairs(chance, machine, SHAPES["normal"], CALIBRATION_PAIRS))
    wall = _logs(pairs)
    floor = Floor(
        scenario_class="simulated",
        wall=noise_floor(wall) or 0.0,
        cpu=noise_floor(_logs(pairs, "cpu")),
        pairs=CALIBRATION_PAIRS,
        created="",
        fingerprint=machine.name,
    )
    return _Calibration(floor=floor, sd=statistics.stdev(wall))


def _compare(
    chance: "np.random.Generator",
    machine: Machine,
    calibrations: Sequence[_Calibration],
    cases: int,
    slowdown: Slowdown,
    most: int | None,
) -> list[Judgement]:
    """Returns the judgements of comparisons as compare makes them, in equal parts of every shape.

    With `most` pairs they stop once the interval is narrow enough; with None, each takes the pairs that its
    calibration says the slowdown takes.
    """
    judgements = []
    for noise in SHAPES.values():
        chosen = list(islice(cycle(calibrations), cases // len(SHAPES)))
        counts = [most or one.pairs_for(slowdown.wall) or _MOST_PLANNED for one in chosen]
        pairs = draw_pairs(chance, machine, noise, sum(counts), slowdown)
        for calibration, count in zip(chosen, counts, strict=True):
            taken = _take(list(islice(pairs, count)), stops=most is not None)
            wall, cpu = ratio_interval(_logs(taken)), ratio_interval(_logs(taken, "cpu"))
            judgements.append(judge(wall, cpu, floor=calibration.floor))
    return judgements


def _take(pairs: Pairs, *, stops: bool = True) -> Pairs:
    """Returns the pairs up to the one with which the interval gets narrow enough."""
    if stops:
        logs = _logs(pairs)
        for count in range(MIN_PAIRS, len(pairs)):
            if narrow_enough(ratio_interval(logs[:count])):
                return pairs[:count]
    return pairs


def _logs(pairs: Iterable[tuple[Series, Series]], clock: Clock = "wall") -> list[float]:
    return [pair_log_ratio(a, b, clock) for a, b in pairs]


def _covers(logs: Sequence[float], slowdown: Slowdown) -> bool:
    interval = ratio_interval(logs)
    return interval is not None and interval.low <= 1 / (1 + slowdown.wall) <= interval.high


def _block_logs(a: Series, b: Series) -> list[float]:
    return [math.log(before / after) for before, after in zip(a.seconds, b.seconds, strict=True)]


def _two_kinds(chance: "np.random.Generator", pairs: int) -> "np.ndarray[Any, Any]":
    return math.log(1.3) * (chance.random((pairs, 2)) < 0.1) + chance.normal(0, 0.013, (pairs, 2))
