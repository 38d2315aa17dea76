"""The worker's side of taking turns: it does what the launcher orders, and sleeps in between."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ..measuring.environment import Reading, take_reading
from ..measuring.timing import Block, Clocks, Probe, make_series, time_block
from ..records.record import Series
from .messages import Finish, Message, Order, Outline, Ready, Taken, Warmed, WarmUp

Arm = tuple[tuple[Series, ...], list[tuple[Reading, Reading]]]


def take_turns(
    arms: Sequence[Sequence[Probe]],
    *,
    receive: Callable[[], Order],
    send: Callable[[Message], None],
    clocks: Clocks | None = None,
    read_machine: Callable[[], Reading] = take_reading,
) -> list[Arm]:
    """Returns for each arm the series of its turns, and readings of the machine around each of them.

    Args:
        arms: The probes of each arm of this process, by their places: one arm, or both.
        receive: Waits for the next order and returns it.
        send: Called with the answers.
        clocks: What to read the time from; None for this process's.
        read_machine: Takes a reading, outside the timed steps.
    """
    clocks = clocks or Clocks()
    taken = [_Taken(probes) for probes in arms]
    for probes in arms:
        send(Ready(probes=tuple(map(_outline, probes))))
    while not isinstance(order := receive(), Finish):
        arm = taken[order.arm]
        probe = arm.probes[order.probe]
        if isinstance(order, WarmUp):
            probe.fence()
            steps = [time_block(probe, 1, clocks) for _ in range(order.steps)]
            arm.warmups[order.probe] += steps
            send(Warmed(step_seconds=tuple(block.seconds for block in steps)))
            continue
        lengths = (1,) * order.steps if probe.sample == "step" else (order.steps,)
        before = read_machine()
        for _ in range(probe.lead_steps):
            probe.step()
        blocks = [time_block(probe, length, clocks) for length in lengths]
        arm.readings.append((before, read_machine()))
        arm.blocks[order.probe] += blocks
        send(Taken(seconds=sum(block.seconds for block in blocks)))
    return [arm.close() for arm in taken]


@dataclass
class _Taken:
    """What an arm has done so far."""

    probes: Sequence[Probe]
    readings: list[tuple[Reading, Reading]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.warmups: list[list[Block]] = [[] for _ in self.probes]
        self.blocks: list[list[Block]] = [[] for _ in self.probes]

    def close(self) -> Arm:
        """Returns its series and readings."""
        of_probes = zip(self.probes, self.blocks, self.warmups, strict=True)
        series = [make_series(*of_probe) for of_probe in of_probes]
        return tuple(one for one in series if one.seconds), self.readings


def _outline(probe: Probe) -> Outline:
    return Outline(
        name=probe.name,
        parameters={name: value for name, value in probe.parameters.items() if name != "batch_size"},
        sample=probe.sample,
        min_steps=probe.min_steps,
        max_block_steps=probe.max_block_steps,
        examples_per_call=probe.examples_per_step * probe.steps_per_call,
    )
