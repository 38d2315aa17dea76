"""Simulated step times of pairs of processes, whose true ratio is known.

A pair's two processes take turns in blocks, in the order A B B A. A block's time is the product of what the
arm does (the truth), what the machine is like in that minute, what the process keeps for life (where its
memory lies, on which cores its threads run), and noise of some shape. All are drawn as logarithms.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..records.record import Series
from .noise import REFERENCE

if TYPE_CHECKING:
    import numpy as np

BLOCKS = 16  # of each arm: as many turns as `compare` takes
_CPU_PROCESS_SD, _CPU_BLOCK_SD = 0.0045, 0.01  # so that pairs spread by 0.7 %, as `compare` saw
_CPU_SEES = 0.1  # of what disturbs the wall time: waiting costs no CPU time, cold caches do

Noise = Callable[["np.random.Generator", int], "np.ndarray[Any, Any]"]


@dataclass(frozen=True, kw_only=True)
class Machine:
    """How unlike its own runs are.

    Attributes:
        name: For reports.
        spread: Standard deviation from one minute to another: what runs that do not take turns show.
        process_sd: Standard deviation of what a process keeps for life.
    """

    name: str
    spread: float
    process_sd: float


# Medians of separate runs spread by 3 to 12 %, and ratios of two that took turns by 1.5 to 3.5 %, on the
# 2-core machines that this was tried on; while others worked on the same cores, ratios spread by 8 to 10 %.
MACHINES = (
    Machine(name="quiet", spread=0.03, process_sd=0.007),
    Machine(name="middling", spread=0.06, process_sd=0.013),
    Machine(name="noisy", spread=0.12, process_sd=0.022),
    Machine(name="busy", spread=0.25, process_sd=0.065),
)


@dataclass(frozen=True, kw_only=True)
class Slowdown:
    """What arm B does more than arm A, as shares of a step's time.

    Attributes:
        wall: Of the wall time.
        cpu: Of the process CPU time: as much for planted work, nothing for planted sleep.
    """

    wall: float = 0.0
    cpu: float = 0.0


def draw_pairs(
    chance: "np.random.Generator",
    machine: Machine,
    noise: Noise,
    pairs: int,
    slowdown: Slowdown = Slowdown(),
    process_noise: Noise | None = None,
) -> Iterator[tuple[Series, Series]]:
    """Yields the two arms' series of so many pairs of fresh processes.

    Args:
        chance: Where the numbers come from.
        machine: How unlike its own runs are.
        noise: Draws the logarithms that disturb the blocks, in the order in which they run: one row for each
            pair, 2 × `BLOCKS` long.
        pairs: How many.
        slowdown: Of arm B.
        process_noise: Draws what two processes of each pair keep for life, in place of the machine's.
    """
    import numpy as np

    own = process_noise(chance, pairs) if process_noise else chance.normal(0, machine.process_sd, (pairs, 2))
    minute = chance.normal(0, machine.spread, (pairs, 1))
    disturbance = noise(chance, pairs)
    order = np.tile([0, 1, 1, 0], BLOCKS // 2)
    cpu_own = chance.normal(0, _CPU_PROCESS_SD, (pairs, 2)) + _CPU_SEES * own
    arms = []
    for arm, (wall_effect, cpu_effect) in enumerate(((0.0, 0.0), (slowdown.wall, slowdown.cpu))):
        disturbed = disturbance[:, order == arm]
        wall = (1 + wall_effect) * np.exp(own[:, arm, None] + minute + disturbed)
        noisy = chance.normal(0, _CPU_BLOCK_SD, disturbed.shape)
        cpu = (1 + cpu_effect) * np.exp(cpu_own[:, arm, None] + noisy + _CPU_SEES * (minute + disturbed))
        arms.append(zip(wall.tolist(), cpu.tolist(), strict=True))
    for a, b in zip(*arms, strict=True):
        yield _series(*a), _series(*b)


def normal(chance: "np.random.Generator", rows: int) -> "np.ndarray[Any, Any]":
    """Returns noise without memory, normal on the scale of logarithms."""
    return chance.normal(0, REFERENCE.block_sd, (rows, 2 * BLOCKS))


def heavy_tailed(chance: "np.random.Generator", rows: int) -> "np.ndarray[Any, Any]":
    """Returns noise in which some blocks are much slower, by exponentially distributed amounts."""
    import numpy as np

    slow = chance.random((rows, 2 * BLOCKS)) < REFERENCE.slow_share
    sizes = np.log1p(chance.exponential(REFERENCE.slow_size, slow.shape))
    return normal(chance, rows) + np.where(slow, sizes, 0.0)


def autocorrelated(chance: "np.random.Generator", rows: int) -> "np.ndarray[Any, Any]":
    """Returns noise that remembers: an autoregression of the first order, common to both arms."""
    import numpy as np

    memory = REFERENCE.autocorrelation
    fresh = normal(chance, rows)
    found = np.empty_like(fresh)
    found[:, 0] = fresh[:, 0]
    for at in range(1, found.shape[1]):
        found[:, at] = memory * found[:, at - 1] + (1 - memory**2) ** 0.5 * fresh[:, at]
    return found


def drifting(chance: "np.random.Generator", rows: int) -> "np.ndarray[Any, Any]":
    """Returns noise around a slope: each pair's machine gets up to 20 % slower or faster meanwhile."""
    import numpy as np

    slope = chance.uniform(-0.2, 0.2, (rows, 1))
    return normal(chance, rows) + slope * np.linspace(0, 1, 2 * BLOCKS)


def bimodal(chance: "np.random.Generator", rows: int) -> "np.ndarray[Any, Any]":
    """Returns noise with two modes: three blocks in ten are 15 % slower."""
    import numpy as np

    slow = chance.random((rows, 2 * BLOCKS)) < 0.3
    return normal(chance, rows) + np.where(slow, 0.14, 0.0)


def warming_up(chance: "np.random.Generator", rows: int) -> "np.ndarray[Any, Any]":
    """Returns noise after a start that is slower and levels off over some blocks."""
    import numpy as np

    return normal(chance, rows) + np.log1p(REFERENCE.warm_up * np.exp(-np.arange(2 * BLOCKS) / 6))


SHAPES: Mapping[str, Noise] = {
    "normal": normal,
    "heavy-tailed": heavy_tailed,
    "autocorrelated": autocorrelated,
    "drifting": drifting,
    "bimodal": bimodal,
    "warming up": warming_up,
}


def _series(seconds: list[float], cpu_seconds: list[float]) -> Series:
    ones = (1,) * BLOCKS
    return Series(
        name="compute",
        fence="block",
        steps=ones,
        examples=ones,
        seconds=tuple(seconds),
        cpu_seconds=tuple(cpu_seconds),
    )
