"""The training step alone, on a synthetic batch that already lies on the device."""

from dataclasses import replace
from typing import Any

from ..measuring.timing import Probe
from ..peers.table import LOOPS
from ..records.record import WorkloadKey
from ..suites import Request
from .flops import training_network
from .peer_step import prepare_peer
from .synchronising import make_synchronise_probes
from .workload import (
    SYNTHETIC_CLASSES,
    Phases,
    Workload,
    build_trainer,
    describe_configuration,
    describe_optimizer,
    make_synthetic_batch,
    resolve_batch,
    resolve_image_shape,
    resolve_loss,
    start_step,
)

DEFAULT_BATCH_SIZE = 64


def prepare(request: Request, strategy: Any, phases: Phases) -> Workload:
    """Returns the step to time: throughput in blocks, then latency step by step.

    A call of several steps does not tell what one of them takes, so latency is left out there.
    """
    batch = resolve_batch(request, strategy, DEFAULT_BATCH_SIZE)
    if request.scenario.loop in LOOPS:
        return prepare_peer(request, strategy, phases, batch)
    with phases("data"):
        synthetic = make_synthetic_batch(request, strategy, batch, SYNTHETIC_CLASSES)
    trainer = build_trainer(request, strategy, phases, batch=batch, num_classes=SYNTHETIC_CLASSES)
    step = start_step(request, trainer, synthetic, phases)
    fence = trainer.step.fence
    compute = Probe(
        name="compute",
        step=step,
        fence=fence,
        examples_per_step=batch.global_,
        steps_per_call=request.scenario.steps_per_execution,
        parameters={},
    )
    latency = replace(compute, name="latency", sample="step")
    return Workload(
        key=WorkloadKey(
            scenario="train-step",
            backbone=request.scenario.backbone or "cifar_cnn",
            image_shape=resolve_image_shape(request),
            dataset="synthetic",
            num_classes=SYNTHETIC_CLASSES,
            loss=resolve_loss(request),
        ),
        configuration=describe_configuration(
            request, strategy, batch, optimizer=describe_optimizer(request, strategy)
        ),
        probes=(
            compute,
            *([latency] if compute.steps_per_call == 1 else []),
            *make_synchronise_probes(trainer, phases),
        ),
        fence=fence,
        networks=lambda: [training_network(trainer, synthetic)],
    )
