"""A new head on a frozen backbone: every image through the backbone in each epoch, or once for its features.

Both ways train the same head from the same weights, on the same batches in the same order, without dropout,
which would draw another mask for each; what computing the features takes is part of the second. One sample
is a whole training.
"""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from tpuens.models.classifier import split_at_head
from tpuens.models.freezing import freeze, leaf_layers
from tpuens.training.features import FeaturePipeline
from tpuens.training.loop import BatchSource, Trainer, predict_examples
from tpuens.training.step import PredictStep

from ..measuring.timing import Probe
from ..records.record import Metric, WorkloadKey
from ..suites import Request
from .workload import (
    LOSS,
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
    make_trainer,
    read_options,
    resolve_batch,
    resolve_image_shape,
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
        for layer in leaf_layers(model):
            if isinstance(layer, keras.layers.Dropout):
                layer.rate = 0.0
        freeze(model, "head", freeze_batch_norm=True)
        backbone, head = split_at_head(model)
        trainers = {
            "images": make_trainer(request, strategy, model, batch),
            "features": make_trainer(request, strategy, head, batch),
        }
        step = PredictStep(
            model=backbone, strategy=strategy, activation="none", jit_compile=request.scenario.jit
        )

    def train_on_images() -> None:
        _train(trainers["images"], pipeline, epochs)

    def train_on_features() -> None:
        found = predict_examples(step, pipeline, per_replica_batch_size=batch.per_replica)
        _train(trainers["features"], FeaturePipeline(pipeline, lambda view: found), epochs)

    trainings = {"images": train_on_images, "features": train_on_features}
    start = head.get_weights()
    trained = {}
    for name, train in trainings.items():
        with phases("first_training"):  # traces, and fills the cache of images
            head.set_weights(start)
            train()
            trained[name] = head.get_weights()

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
            request,
            strategy,
            batch,
            optimizer=describe_optimizer(request, strategy),
            **describe_pipeline(pipeline),
        ),
        probes=tuple(
            Probe(
                name=name,
                step=train,
                fence=trainers[name].step.fence,
                examples_per_step=epochs * trainers[name].count_steps(examples) * batch.global_,
                parameters={},
                max_block_steps=1,
            )
            for name, train in trainings.items()
        ),
        in_rounds=True,
        evaluate=lambda on_progress: _hold_together(trained["images"], trained["features"]),
        dataset_fingerprint=examples.fingerprint(),
    )


def _train(trainer: Trainer, source: BatchSource, epochs: int) -> None:
    for epoch in range(epochs):
        trainer.train_epoch(source, epoch)


def _hold_together(some: Sequence[np.ndarray], others: Sequence[np.ndarray]) -> Evaluation:
    """Returns the largest difference between the weights of two heads."""
    largest = max(float(np.abs(one - other).max()) for one, other in zip(some, others, strict=True))
    return Evaluation(metrics=[Metric(name="largest_absolute_difference", value=largest)])
