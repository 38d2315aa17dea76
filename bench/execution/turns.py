"""A pair of arms that stay alive side by side and take turns: only one of them works at a time.

Each has a process of its own, but for a device that takes one process alone, which then has both arms.

Both are prepared, side by side. Then, probe by probe: the warm-up of one and of the other; how many steps a
turn has, from the slower of the two; turns in the order A B B A; and at last each tells what it measured.
Whatever disturbs the machine for longer than a turn so falls on both [METHOD of this project, rule 7].
What works ahead, as input pipelines do, is stopped while it is not its turn.
"""

import contextlib
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from tpuens.errors import ConfigurationError

from ..records.record import Parameter, RunRecord, Turns
from ..scenarios.table import SCENARIOS
from ..suites import Request, Timing
from .limits import Limits
from .live_worker import Answer, LiveWorker
from .messages import Finish, Outline, Progress, Ready, TakeTurn, Warmed, WarmUp

Arm = Literal["A", "B"]
ProbeKey = tuple[str, tuple[tuple[str, Parameter], ...]]  # name and parameters
ARMS: tuple[Arm, Arm] = ("A", "B")
MOST_SINGLE_STEPS = 250  # in a turn: each is a sample in the record
PARTNER_ENDED = "It was stopped, since the other arm of its pair had ended."
# A virtual machine hands freed memory back to its host within some seconds, and touching it anew took 3 s
# a GiB here, against 1.3 s where it was freed just before: the arm that starts right after the pair before
# would have its first step 10 to 20 % sooner than the other one.
SETTLE_SECONDS = 20
# A waiting arm must leave room on a GPU for the other one.
SHARED_DEVICE = {"TF_FORCE_GPU_ALLOW_GROWTH": "true"}


@dataclass(frozen=True, kw_only=True)
class TurnLength:
    """How a pair takes turns with one probe, the same for both arms.

    Attributes:
        steps: In each turn.
        turns: Of each arm.
    """

    steps: int
    turns: int


@dataclass(frozen=True, kw_only=True)
class Side:
    """One arm of a pair.

    Attributes:
        request: What it runs.
        turns: Its place in the comparison.
        log: File for everything that its worker prints.
        root: The source tree that it runs; None for this one.
        command: Another program in the worker's place, for tests.
    """

    request: Request
    turns: Turns
    log: Path
    root: Path | None = None
    command: list[str] | None = None


@dataclass(frozen=True, kw_only=True)
class Pair:
    """What became of a pair of workers.

    Attributes:
        records: Of A and of B; where one has failed, the other was stopped and says so.
        lengths: How turns were taken with each probe.
        ran_out_of_memory: Whether that seems to be why it failed.
    """

    records: tuple[RunRecord, RunRecord]
    lengths: Mapping[ProbeKey, TurnLength]
    ran_out_of_memory: bool

    @property
    def complete(self) -> bool:
        """Returns whether both arms have told what they measured."""
        return all(record.status == "ok" for record in self.records)


class _ArmEndedError(Exception):
    """One of the two workers has ended before its time."""


def run_pair(
    sides: Sequence[Side],
    *,
    limits: Limits,
    one_process: bool = False,
    one_by_one: bool = False,
    lengths: Mapping[ProbeKey, TurnLength] | None = None,
    on_progress: Callable[[Arm, Progress], None] = lambda arm, progress: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Pair:
    """Runs both arms in fresh processes that take turns, and returns their records, whatever becomes of them.

    Which arm takes the first turn alternates with the number of the pair.

    Args:
        sides: A and B.
        limits: When to stop a worker.
        one_process: Whether one process has both arms; both then run under one strategy, in the same tree.
        one_by_one: Whether one arm is prepared before the other starts, so that the phases of both say how
            long they take on a machine of their own, which is left alone for `SETTLE_SECONDS` before.
        lengths: As an earlier pair of the comparison took turns; of other probes it is to be found.
        on_progress: Told what an arm is at.
        should_stop: Asked a few times a second whether to stop.

    Raises:
        ConfigurationError: There is no probe that both arms have.
    """
    lengths = lengths or {}
    workers = [
        LiveWorker(
            side.request,
            log=side.log,
            limits=limits,
            root=side.root,
            takes_turns=True,
            partner=sides[1].request if one_process else None,
            variables=SHARED_DEVICE,
            command=side.command,
        )
        for side in (sides[:1] if one_process else sides)
    ]
    places = ((workers[0], 0), (workers[-1], 1 if one_process else 0))
    works_ahead = SCENARIOS[sides[0].request.scenario.name].works_ahead and not one_process
    asking = _Asking(places, on_progress, should_stop, works_ahead)
    scenario, first = sides[0].request.scenario, sides[0].turns.pair % 2
    if one_by_one:
        asking.tell(first, Progress(phase="letting the machine settle"))
        _settle(should_stop)
    with contextlib.ExitStack() as stack:
        ready: dict[int, Answer | None] = {}
        for arm in (0,) if one_process else (first, 1 - first):
            stack.enter_context(workers[arm])
            if one_by_one:
                ready[arm] = asking.follow(arm)
        out_of_memory = False
        try:
            lengths = _take_turns(asking, scenario.timing, lengths, first, ready)
        except _ArmEndedError:
            out_of_memory = any(worker.ran_out_of_memory for worker in workers)
            for worker in workers:
                worker.stop(PARTNER_ENDED)
    a, b = (worker.make_record(side.turns, arm) for (worker, arm), side in zip(places, sides, strict=True))
    return Pair(records=(a, b), lengths=lengths, ran_out_of_memory=out_of_memory)


def decide_length(
    outlines: Sequence[Outline], warmups: Sequence[Sequence[float]], timing: Timing
) -> TurnLength:
    """Returns how a pair takes turns with a probe: as long as the timing says for the slower arm.

    Args:
        outlines: The probe in each arm.
        warmups: The seconds of the steps of each arm's warm-up.
        timing: Its `blocks` are the turns of each arm, made even so that each arm comes first as often.
    """
    later = [steps[len(steps) // 2 :] for steps in warmups]
    step_seconds = max(statistics.median(steps) if steps else timing.block_seconds for steps in later)
    steps = max(1, round(timing.block_seconds / max(step_seconds, 1e-9)))
    most = [MOST_SINGLE_STEPS if one.sample == "step" else one.max_block_steps for one in outlines]
    steps = min(steps, *most)
    turns = max([timing.blocks, *(-(-outline.min_steps // steps) for outline in outlines)])
    return TurnLength(steps=steps, turns=turns + turns % 2)


def _settle(should_stop: Callable[[], bool]) -> None:
    end = time.monotonic() + SETTLE_SECONDS
    while time.monotonic() < end and not should_stop():
        time.sleep(0.1)


class _Asking:
    """Gives an order to one of the workers and waits for what it answers."""

    def __init__(
        self,
        places: Sequence[tuple[LiveWorker, int]],  # of each arm: its worker, and which arm of that
        on_progress: Callable[[Arm, Progress], None],
        should_stop: Callable[[], bool],
        works_ahead: bool,
    ) -> None:
        self._places, self._on_progress, self._should_stop = places, on_progress, should_stop
        self._works_ahead = works_ahead

    def wait(self, arm: int) -> Answer:
        answer = self.follow(arm)
        if answer is None:
            raise _ArmEndedError
        return answer

    def hold(self, arm: int, held: bool = True) -> None:
        if self._works_ahead:
            self._places[arm][0].hold(held)

    def ask(self, arm: int, order: WarmUp | TakeTurn) -> Answer:
        worker, place = self._places[arm]
        self.hold(arm, False)
        worker.give(msgspec.structs.replace(order, arm=place))
        answer = self.wait(arm)
        self.hold(arm)
        return answer

    def finish(self, arm: int) -> None:
        self.hold(arm, False)
        self._places[arm][0].give(Finish())
        while self.follow(arm) is not None:
            continue
        if not self._places[arm][0].finished:
            raise _ArmEndedError

    def tell(self, arm: int, progress: Progress) -> None:
        self._on_progress(ARMS[arm], progress)

    def follow(self, arm: int) -> Answer | None:
        return self._places[arm][0].follow(
            on_progress=lambda progress: self.tell(arm, progress), should_stop=self._should_stop
        )


def _take_turns(
    asking: _Asking,
    timing: Timing,
    lengths: Mapping[ProbeKey, TurnLength],
    first: int,
    early: Mapping[int, Answer | None],
) -> dict[ProbeKey, TurnLength]:
    """Returns how turns were taken with each probe that both arms have; both workers have finished.

    Raises:
        _ArmEndedError: One of them has ended before.
        ConfigurationError: They have none in common.
    """
    order = (first, 1 - first)
    ready = [early.get(arm) or asking.wait(arm) for arm in range(2)]
    for arm in order:
        asking.hold(arm)
    probes = [
        {_key(probe): (place, probe) for place, probe in enumerate(one.probes)}
        for one in ready
        if isinstance(one, Ready)
    ]
    shared = [key for key in probes[0] if key in probes[1]]
    if not shared:
        raise ConfigurationError(
            "The two arms time nothing that is the same on both, such as products of one size on one kind of "
            f"device. Received: A times {_join(probes[0])}; B times {_join(probes[1])}"
        )
    taken = {}
    for key in shared:
        places, both = zip(*(of_arm[key] for of_arm in probes), strict=True)
        warmups: dict[int, Sequence[float]] = {}
        for arm in order:
            asking.tell(arm, Progress(phase=f"warming up {both[arm].name}"))
            warmed = asking.ask(arm, WarmUp(probe=places[arm], steps=timing.warmup_steps))
            warmups[arm] = warmed.step_seconds if isinstance(warmed, Warmed) else ()
        length = lengths.get(key) or decide_length(both, list(warmups.values()), timing)
        for turn in range(length.turns):
            for arm in order if turn % 2 == 0 else order[::-1]:
                phase = f"taking turns with {both[arm].name}"
                asking.tell(arm, Progress(phase=phase, done=turn + 1, of=length.turns))
                asking.ask(arm, TakeTurn(probe=places[arm], steps=length.steps))
        taken[key] = length
    for arm in order:
        asking.finish(arm)
    return taken


def _key(probe: Outline) -> ProbeKey:
    return probe.name, tuple(sorted(probe.parameters.items()))


def _join(keys: Iterable[ProbeKey]) -> str:
    return "; ".join(
        ", ".join([name, *(f"{parameter} = {value}" for parameter, value in parameters)])
        for name, parameters in keys
    )
