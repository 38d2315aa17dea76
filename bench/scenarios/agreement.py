"""The same weights under other arithmetic: does the same network say the same of the same examples?

A network is trained once, and predicts the test part under each arm: as it was trained, which is what the
others are held against; in float32 on the CPU; under the two mixed dtype policies; compiled by XLA.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from tpuens.evaluation.predictions import label_predictions
from tpuens.hardware.strategies import open_cpu_beside
from tpuens.training.loop import predict_examples
from tpuens.training.losses import activation_of
from tpuens.training.step import PredictStep

from ..records.record import Metric, Outcomes, WorkloadKey
from ..suites import Request
from .flops import training_network
from .scores import make_metrics, make_outcomes
from .workload import (
    Evaluation,
    Phases,
    Workload,
    build_model,
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
    take_first,
)

DEFAULT_BATCH_SIZE = 64


def prepare(request: Request, strategy: Any, phases: Phases) -> Workload:
    """Returns the training and the predictions to make; all of it is their evaluation."""
    options = read_options(request)
    epochs = int(options["epochs"])
    batch = resolve_batch(request, strategy, DEFAULT_BATCH_SIZE)
    train_part, test_part = load_parts(request, phases)
    train_part = take_first(train_part, int(options["examples"]))
    num_classes = len(train_part.class_names)
    trainer = build_trainer(request, strategy, phases, batch=batch, num_classes=num_classes)
    pipeline, test = (make_pipeline(request, part) for part in (train_part, test_part))
    scenario = request.scenario
    arms: dict[str, tuple[Any, str, bool]] = {
        "cpu float32": (open_cpu_beside(), "float32", False),
        "mixed_bfloat16": (strategy, "mixed_bfloat16", scenario.jit),
        "mixed_float16": (strategy, "mixed_float16", scenario.jit),
        "jit": (strategy, scenario.dtype_policy, True),
    }

    def predict(place: Any, dtype_policy: str, jit_compile: bool) -> np.ndarray:
        with phases("build"), place.scope():
            model = build_model(request, num_classes=num_classes, dtype_policy=dtype_policy)
            model.set_weights(trainer.model.get_weights())
        step = PredictStep(
            model=model,
            strategy=place,
            activation=activation_of(resolve_loss(request)),
            jit_compile=jit_compile,
        )
        with phases("evaluation"):
            return predict_examples(step, test, per_replica_batch_size=batch.per_replica)

    def evaluate(on_progress: Callable[[int, int], None]) -> Evaluation:
        with phases("training"):
            for epoch in range(epochs):
                trainer.train_epoch(pipeline, epoch)
        with phases("evaluation"):
            reference = trainer.predict(test)
        predicted = {"as trained": reference}
        for name, arm in arms.items():
            on_progress(len(predicted), len(arms) + 1)
            predicted[name] = predict(*arm)
        metrics: list[Metric] = []
        outcomes: list[Outcomes] = []
        for name, probabilities in predicted.items():
            predictions = label_predictions(test_part, probabilities, name)
            metrics += make_metrics(predictions, {"arm": name})
            metrics += _measure_differences(probabilities, reference, name)
            outcomes.append(make_outcomes(predictions, {"arm": name}))
        return Evaluation(metrics=metrics, outcomes=outcomes)

    return Workload(
        key=WorkloadKey(
            scenario="agreement",
            backbone=scenario.backbone or "cifar_cnn",
            image_shape=resolve_image_shape(request),
            dataset=describe_dataset(request),
            num_classes=num_classes,
            loss=resolve_loss(request),
            augment=scenario.augment,
            options={"epochs": epochs, "examples": len(train_part)},
        ),
        configuration=describe_configuration(
            request,
            strategy,
            batch,
            optimizer=describe_optimizer(request, strategy),
            **describe_pipeline(pipeline),
        ),
        evaluate=evaluate,
        networks=lambda: [
            training_network(trainer, make_synthetic_batch(request, strategy, batch, num_classes))
        ],
        dataset_fingerprint=train_part.fingerprint(),
    )


def _measure_differences(probabilities: np.ndarray, reference: np.ndarray, arm: str) -> list[Metric]:
    """Returns the largest and the mean difference between probabilities, over examples and classes."""
    differences = np.abs(probabilities.astype(np.float64) - reference)
    values = {
        "largest_absolute_difference": differences.max(),
        "mean_absolute_difference": differences.mean(),
    }
    return [Metric(name=name, value=float(value), parameters={"arm": arm}) for name, value in values.items()]
