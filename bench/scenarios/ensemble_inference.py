"""An ensemble's members one after another, and fused into one graph: which way predicts faster, from which
batch size on?

Both arms take turns at every batch size, block by block.
"""

import itertools
from dataclasses import replace
from typing import Any

from tpuens.ensembling.joint import fuse_classifiers
from tpuens.hardware.batches import resolve_batch_size
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
BATCH_SIZES = (1, 4, 16, 64)  # up to the one that is asked for
SMALL = "small batch"  # the series of those below it; comparisons take their turns with the others


def prepare(request: Request, strategy: Any, phases: Phases) -> Workload:
    """Returns a probe of each arm for single images, and of each arm for every batch size."""
    count = int(read_options(request)["members"])
    large = resolve_batch(request, strategy, DEFAULT_BATCH_SIZE)
    with phases("build"), strategy.scope():
        models = [build_model(request, num_classes=SYNTHETIC_CLASSES) for _ in range(count)]
        jit = request.scenario.jit
        arms = {
            "sequential": [PredictStep(model=model, strategy=strategy, jit_compile=jit) for model in models],
            "fused": [PredictStep(model=fuse_classifiers(models), strategy=strategy, jit_compile=jit)],
        }
    probes = []
    for size in (*(size for size in BATCH_SIZES if size < large.per_replica), large.per_replica):
        batch = resolve_batch_size(strategy.num_replicas_in_sync, per_replica_batch_size=size)
        with phases("data"):
            images = make_synthetic_images(request, strategy, batch)
        samples: tuple[Sample, ...] = ("step", "block") if size == 1 else ("block",)
        with phases("first_step"):
            for member in itertools.chain(*arms.values()):
                member.collect(member.run(images))
        for sample in samples:
            for arm, members in arms.items():
                probe = make_predict_probe(
                    members,
                    images,
                    examples_per_step=batch.global_,
                    sample=sample,
                    parameters={"arm": arm, "batch_size": batch.global_},
                )
                is_small = sample == "block" and size < large.per_replica
                probes.append(replace(probe, name=SMALL) if is_small else probe)
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
        in_rounds=True,
        networks=lambda: [predicting_network(models[0], strategy, images)] * count,
    )
