"""The worker's side of taking turns: it does what the launcher orders, and sleeps in between."""

from collections.abc import Callable, Sequence

from ..measuring.environment import Reading, take_reading
from ..measuring.timing import Block, Clocks, Probe, make_series, time_block
from ..records.record import Series
from .messages import Finish, Message, Order, Outline, Ready, Taken, Warmed, WarmUp


def take_turns(
    probes: Sequence[Probe],
    *,
    receive: Callable[[], Order],
    send: Callable[[Message], None],
    clocks: Clocks | None = None,
    read_machine: Callable[[], Reading] = take_reading,
) -> tuple[tuple[Series, ...], list[tuple[Reading, Reading]]]:
    """Returns the series of the turns that were ordered, and readings of the machine around each turn.

    Args:
        probes: What may be ordered, by its place.
        receive: Waits for the next order and returns it.
        send: Called with the answers.
        clocks: What to read the time from; None for this process's.
        read_machine: Takes a reading, outside the timed steps.
    """
    clocks = clocks or Clocks()
    warmups: list[list[Block]] = [[] for _ in probes]
    blocks: list[list[Block]] = [[] for _ in probes]
    readings = []
    send(Ready(probes=tuple(map(_outline, probes))))
    while not isinstance(order := receive(), Finish):
        probe = probes[order.probe]
        if isinstance(order, WarmUp):
            probe.fence()
            taken = [time_block(probe, 1, clocks) for _ in range(order.steps)]
            warmups[order.probe] += taken
            send(Warmed(step_seconds=tuple(block.seconds for block in taken)))
            continue
        lengths = (1,) * order.steps if probe.sample == "step" else (order.steps,)
        before = read_machine()
        taken = [time_block(probe, length, clocks) for length in lengths]
        readings.append((before, read_machine()))
        blocks[order.probe] += taken
        send(Taken(seconds=sum(block.seconds for block in taken)))
    series = [make_series(*of_probe) for of_probe in zip(probes, blocks, warmups, strict=True)]
    return tuple(one for one in series if one.seconds), readings


def _outline(probe: Probe) -> Outline:
    return Outline(
        name=probe.name,
        sample=probe.sample,
        min_steps=probe.min_steps,
        max_block_steps=probe.max_block_steps,
    )
