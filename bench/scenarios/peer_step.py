"""The training step of what users would run instead of Keras and TensorFlow: the arms in `bench.peers`."""

from typing import Any

from tpuens.data.streams import count_parallel_calls
from tpuens.errors import ConfigurationError
from tpuens.hardware.batches import BatchSize

from ..measuring.timing import Probe
from ..peers.table import LOOPS, Training, TrainingWork
from ..records.record import WorkloadKey
from ..suites import Request
from .workload import (
    LEARNING_RATE,
    LOSS,
    OPTIMIZER,
    SYNTHETIC_CLASSES,
    Phases,
    Workload,
    describe_configuration,
    resolve_image_shape,
    resolve_loss,
)


def prepare_peer(request: Request, strategy: Any, phases: Phases, batch: BatchSize) -> Workload:
    """Returns the step to time, as `bench.scenarios.train_step` has ours; it computes the same.

    Raises:
        ConfigurationError: The strategy is not the CPU's, the arm is to do what it is not set up for, or
            one of its packages is missing.
    """
    scenario = request.scenario
    plain = scenario.dtype_policy == "float32" and not scenario.jit and scenario.steps_per_execution == 1
    if request.strategy != "cpu" or not plain or resolve_loss(request) != LOSS or scenario.colour != "rgb":
        raise ConfigurationError(
            "What users would run instead trains on the CPU, eagerly, in float32, on colour images. "
            f"Received: loop={scenario.loop!r}, strategy={request.strategy!r}, "
            f"dtype_policy={scenario.dtype_policy!r}, jit={scenario.jit}, "
            f"steps_per_execution={scenario.steps_per_execution}, "
            f"augment={scenario.augment}, colour={scenario.colour!r}"
        )
    work = TrainingWork(
        backbone=scenario.backbone or "cifar_cnn",
        image_shape=resolve_image_shape(request),
        batch_size=batch.global_,
        num_classes=SYNTHETIC_CLASSES,
        learning_rate=LEARNING_RATE,
        seed=scenario.seed,
        threads=count_parallel_calls(),
    )
    start = LOOPS[scenario.loop].load()
    with phases("build"):
        training: Training = start(work)
    with phases("first_step"):
        training.step()
        training.fence()

    def probe(**how: Any) -> Probe:
        return Probe(
            step=training.step,
            fence=training.fence,
            examples_per_step=batch.global_,
            parameters={},
            **how,
        )

    return Workload(
        key=WorkloadKey(
            scenario="train-step",
            backbone=work.backbone,
            image_shape=work.image_shape,
            dataset="synthetic",
            num_classes=SYNTHETIC_CLASSES,
            loss=LOSS,
        ),
        configuration=describe_configuration(
            request, strategy, batch, optimizer=f"{OPTIMIZER} (fused)", peer_settings=dict(training.settings)
        ),
        probes=(probe(name="compute"), probe(name="latency", sample="step")),
        fence=training.fence,
    )
