"""What it takes the replicas of a strategy to sum their gradients, by itself."""

from collections.abc import Callable

from tpuens.training.loop import Trainer

from ..measuring.timing import Probe
from .workload import Phases


def make_synchronise_probes(trainer: Trainer, phases: Phases) -> tuple[Probe, ...]:
    """Returns the probe that sums tensors shaped like the gradients; none where there is but one replica."""
    if trainer.strategy.num_replicas_in_sync == 1:
        return ()
    with phases("trace_exchange"):  # a measurement of ours; training traces its own
        pending: list[Callable[[], object]] = [trainer.step.exchange()]
        pending[0]()

    def step() -> None:
        pending[0] = trainer.step.exchange()

    return (
        Probe(
            name="synchronise",
            step=step,
            fence=lambda: pending[0](),  # devices work in order: the last is the last
            examples_per_step=0,
            parameters={},
        ),
    )
