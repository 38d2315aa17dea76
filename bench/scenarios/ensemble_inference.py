"""An ensemble's members one after another, and fused into one graph: which way predicts faster?"""

from typing import Any

from tpuens.ensembling.joint import fuse_classifiers
from tpuens.hardware.batches import BatchSize, resolve_batch_size
from tpuens.training.step import PredictStep

from ..measuring.timing import Sample
from ..records.record import WorkloadKey
from ..suites import Request
from .flops import predicting_network
from .predict_probe import make_predict_probe
from .workload import (
    SYNTHETIC_CLASSES,
    Phases,
    Workload,
    build_model,
    describe_configuration,
    make_synthetic_images,
    read_options,
    resolve_batch,
    resolve_image_shape,
)

DEFAULT_BATCH_SIZE = 64


def prepare(request: Request, strategy: Any, phases: Phases) -> Workload:
    """Returns four probes: sequential and fused, at one image a replica and at the large batch."""
    count = int(read_options(request)["members"])
    large = resolve_batch(request, strategy, DEFAULT_BATCH_SIZE)
    single = resolve_batch_size(strategy.num_replicas_in_sync, per_replica_batch_size=1)
    with phases("build"), strategy.scope():
        models = [build_model(request, num_classes=SYNTHETIC_CLASSES) for _ in range(count)]
        jit = request.scenario.jit
        arms = {
            "sequential": [PredictStep(model=model, strategy=strategy, jit_compile=jit) for model in models],
            "fused": [PredictStep(model=fuse_classifiers(models), strategy=strategy, jit_compile=jit)],
        }
    probes = []
    shapes: tuple[tuple[BatchSize, Sample], ...] = ((single, "step"), (large, "block"))
    for batch, sample in shapes:
        with phases("data"):
            images = make_synthetic_images(request, strategy, batch)
        for arm, members in arms.items():
            with phases("first_step"):
                for member in members:
                    member.collect(member.run(images))
            probes.append(
                make_predict_probe(
                    members,
                    images,
                    examples_per_step=batch.global_,
                    sample=sample,
                    parameters={"arm": arm, "batch_size": batch.global_},
                )
            )
    return Workload(
        key=WorkloadKey(
            scenario="ensemble-inference",
            backbone=request.scenario.backbone or "cifar_cnn",
            image_shape=resolve_image_shape(request),
            dataset="synthetic",
            num_classes=SYNTHETIC_CLASSES,
            phase="inference",
            options={"members": count},
        ),
        configuration=describe_configuration(request, strategy, large),
        probes=tuple(probes),
        networks=lambda: [predicting_network(models[0], strategy, images)] * count,
    )
