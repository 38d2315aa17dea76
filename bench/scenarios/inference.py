"""Latency of one image a replica, and throughput of large batches, on images that lie on the device."""

from typing import Any

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
    resolve_batch,
    resolve_image_shape,
)

DEFAULT_BATCH_SIZE = 64


def prepare(request: Request, strategy: Any, phases: Phases) -> Workload:
    """Returns two probes: single images one by one, and blocks of large batches."""
    large = resolve_batch(request, strategy, DEFAULT_BATCH_SIZE)
    single = resolve_batch_size(strategy.num_replicas_in_sync, per_replica_batch_size=1)
    with phases("build"), strategy.scope():
        model = build_model(request, num_classes=SYNTHETIC_CLASSES)
        predict = PredictStep(model=model, strategy=strategy, jit_compile=request.scenario.jit)
    probes = []
    shapes: tuple[tuple[BatchSize, Sample], ...] = ((single, "step"), (large, "block"))
    for batch, sample in shapes:
        with phases("data"):
            images = make_synthetic_images(request, strategy, batch)
        with phases("first_step"):
            predict.collect(predict.run(images))
        probes.append(
            make_predict_probe(
                [predict],
                images,
                examples_per_step=batch.global_,
                sample=sample,
                parameters={"batch_size": batch.global_},
            )
        )
    return Workload(
        key=WorkloadKey(
            scenario="inference",
            backbone=request.scenario.backbone or "cifar_cnn",
            image_shape=resolve_image_shape(request),
            dataset="synthetic",
            num_classes=SYNTHETIC_CLASSES,
            phase="inference",
        ),
        configuration=describe_configuration(request, strategy, large),
        probes=tuple(probes),
        networks=lambda: [predicting_network(model, strategy, images)],
    )
