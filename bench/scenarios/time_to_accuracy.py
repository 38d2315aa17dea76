"""Train until the validation accuracy reaches a target, with the clock split into its phases."""

import time
from collections.abc import Callable
from typing import Any

from tpuens.data.splits import split_holdout
from tpuens.evaluation.metrics import compute_scores

from ..records.record import Metric, WorkloadKey
from ..suites import Request
from .flops import training_network
from .workload import (
    Evaluation,
    Phases,
    Workload,
    build_trainer,
    describe_configuration,
    describe_dataset,
    describe_optimizer,
    describe_pipeline,
    load_parts,
    make_pipeline,
    make_synthetic_batch,
    read_options,
    resolve_batch,
    resolve_image_shape,
    resolve_loss,
)

DEFAULT_BATCH_SIZE = 64
VALIDATION_FRACTION = 0.2


def prepare(request: Request, strategy: Any, phases: Phases) -> Workload:
    """Returns the training to run; all of it is its evaluation."""
    options = read_options(request)
    target, epochs = float(options["target_accuracy"]), int(options["epochs"])
    batch = resolve_batch(request, strategy, DEFAULT_BATCH_SIZE)
    examples, _ = load_parts(request, phases)
    train_part, validation_part = split_holdout(examples, fraction=VALIDATION_FRACTION, seed=0)
    num_classes = len(examples.class_names)
    trainer = build_trainer(request, strategy, phases, batch=batch, num_classes=num_classes)
    pipeline, validation = (make_pipeline(request, part) for part in (train_part, validation_part))

    def evaluate(on_progress: Callable[[int, int], None]) -> Evaluation:
        start = time.perf_counter()
        metrics: list[Metric] = []
        for epoch in range(epochs):
            with phases("training"):
                report = trainer.train_epoch(pipeline, epoch)
            if report.first_step_seconds is not None:
                phases.seconds["first_step"] = report.first_step_seconds
                phases.seconds["training"] -= report.first_step_seconds
            with phases("evaluation"):
                scores = compute_scores(validation_part.known_labels, trainer.predict(validation))
            elapsed = time.perf_counter() - start
            assert report.blocked_seconds is not None, "a step a call is waited for"
            where: dict[str, str | int | float | bool] = {"epoch": epoch + 1, "split": "validation"}
            metrics += [
                Metric(name="top_1_accuracy", value=scores.top_1_accuracy, parameters=where),
                Metric(name="epoch_seconds", value=report.seconds, parameters={"epoch": epoch + 1}),
                Metric(name="blocked_seconds", value=report.blocked_seconds, parameters={"epoch": epoch + 1}),
            ]
            on_progress(epoch + 1, epochs)
            if scores.top_1_accuracy >= target:
                metrics.append(Metric(name="time_to_accuracy_seconds", value=elapsed))
                break
        reached = metrics[-1].name == "time_to_accuracy_seconds"
        return Evaluation(metrics=[*metrics, Metric(name="reached", value=float(reached))])

    return Workload(
        key=WorkloadKey(
            scenario="time-to-accuracy",
            backbone=request.scenario.backbone or "cifar_cnn",
            image_shape=resolve_image_shape(request),
            dataset=describe_dataset(request),
            num_classes=num_classes,
            loss=resolve_loss(request),
            augment=request.scenario.augment,
            options={"target_accuracy": target, "epochs": epochs},
        ),
        configuration=describe_configuration(
            request,
            strategy,
            batch,
            optimizer=describe_optimizer(request, strategy),
            **describe_pipeline(pipeline),
        ),
        evaluate=evaluate,
        dataset_fingerprint=examples.fingerprint(),
        networks=lambda: [
            training_network(trainer, make_synthetic_batch(request, strategy, batch, num_classes))
        ],
    )
