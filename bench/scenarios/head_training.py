"""A new head on a frozen backbone: every image through the backbone in each epoch, or once for its features.

Both ways train the same head from the same weights, on the same batches in the same order; what computing
the features takes is part of the second. One sample is a whole training.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from tpuens.models.classifier import split_at_head
from tpuens.models.freezing import freeze
from tpuens.training.features import FeaturePipeline
from tpuens.training.loop import BatchSource, Trainer, predict_examples
from tpuens.training.optimizers import make_optimizer
from tpuens.training.step import PredictStep

from ..measuring.timing import Probe
from ..records.record import Metric, WorkloadKey
from ..suites import Request
from .workload import (
    LEARNING_RATE,
    LOSS,
    OPTIMIZER,
    Evaluation,
    Phases,
    Workload,
    build_model,
    describe_configuration,
    describe_dataset,
    describe_optimizer,
    describe_pipeline,
    load_parts,
    make_pipeline,
    read_options,
    resolve_batch,
    resolve_image_shape,
    resolve_implementation,
    take_first,
)

DEFAULT_BATCH_SIZE = 16


def prepare(request: Request, strategy: Any, phases: Phases) -> Workload:
    """Returns two probes, "images" and "features"; each step is a training of the head, some epochs long."""
    options = read_options(request)
    epochs = int(options["epochs"])
    batch = resolve_batch(request, strategy, DEFAULT_BATCH_SIZE)
    examples = take_first(load_parts(request, phases)[0], int(options["examples"]))
    pipeline = make_pipeline(request, examples)
    with phases("build"), strategy.scope():
        model = build_model(request, num_classes=len(examples.class_names))
        freeze(model, "head", freeze_batch_norm=True)
        backbone, head = split_at_head(model)
        whole, alone = (
            Trainer(
                model=one,
                optimizer=make_optimizer(
                    OPTIMIZER,
                    learning_rate=LEARNING_RATE,
                    dtype_policy=request.scenario.dtype_policy,
                    implementation=resolve_implementation(request),
                ),
                strategy=strategy,
                per_replica_batch_size=batch.per_replica,
                jit_compile=request.scenario.jit,
            )
            for one in (model, head)
        )
        step = PredictStep(
            model=backbone, strategy=strategy, activation="none", jit_compile=request.scenario.jit
        )

    def collect(view: str) -> Any:
        return predict_examples(step, pipeline, per_replica_batch_size=batch.per_replica, view=view)

    def make_features() -> BatchSource:
        found = collect("plain")
        return FeaturePipeline(pipeline, lambda view: found)

    ways: dict[str, tuple[Trainer, Callable[[], BatchSource]]] = {
        "images": (whole, lambda: pipeline),
        "features": (alone, make_features),
    }

    def make_training(trainer: Trainer, open_source: Callable[[], BatchSource]) -> Callable[[], None]:
        def train() -> None:
            source = open_source()
            for epoch in range(epochs):
                trainer.train_epoch(source, epoch)

        return train

    start = head.get_weights()
    trained = {}
    trainings = {name: make_training(*way) for name, way in ways.items()}
    for name, train in trainings.items():
        with phases("first_step"):  # traces, and fills the cache of images
            head.set_weights(start)
            train()
            trained[name] = head.get_weights()

    def evaluate(on_progress: Callable[[int, int], None]) -> Evaluation:
        largest = max(
            float(np.abs(one - other).max())
            for one, other in zip(trained["images"], trained["features"], strict=True)
        )
        return Evaluation(metrics=[Metric(name="largest_absolute_difference", value=largest)])

    return Workload(
        key=WorkloadKey(
            scenario="head-training",
            backbone=request.scenario.backbone or "cifar_cnn",
            image_shape=resolve_image_shape(request),
            dataset=describe_dataset(request),
            num_classes=len(examples.class_names),
            loss=LOSS,
            options={"epochs": epochs, "examples": len(examples)},
        ),
        configuration=describe_configuration(
            request, strategy, batch, optimizer=describe_optimizer(request), **describe_pipeline(pipeline)
        ),
        probes=tuple(
            Probe(
                name=name,
                step=train,
                fence=ways[name][0].step.fence,
                examples_per_step=epochs * whole.count_steps(examples) * batch.global_,
                parameters={},
                max_block_steps=1,
            )
            for name, train in trainings.items()
        ),
        evaluate=evaluate,
        dataset_fingerprint=examples.fingerprint(),
    )
