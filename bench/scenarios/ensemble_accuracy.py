"""Train members, predict the test part, combine: the accuracy of each and of the ensemble, over seeds."""

from collections.abc import Callable
from typing import Any

import keras

from tpuens.ensembling.combine import combine_predictions
from tpuens.evaluation.predictions import Predictions, label_predictions

from ..records.record import Metric, Outcomes, Parameter, WorkloadKey
from ..suites import Request
from .flops import Network, training_network
from .planting import SPOILT, spoil_weights
from .scores import make_metrics, make_outcomes
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
    take_first,
)

DEFAULT_BATCH_SIZE = 64


def prepare(request: Request, strategy: Any, phases: Phases) -> Workload:
    """Returns the trainings to run; all of it is their evaluation.

    Members differ in their seeds, and in their backbones where several are named in the options.
    """
    options = read_options(request)
    count, seeds, epochs = (int(options[name]) for name in ("members", "seeds", "epochs"))
    backbones = (options["backbones"] or request.scenario.backbone or "cifar_cnn").split(",")
    batch = resolve_batch(request, strategy, DEFAULT_BATCH_SIZE)
    train_part, test_part = load_parts(request, phases)
    train_part = take_first(train_part, int(options["examples"]))
    pipelines = [make_pipeline(request, part) for part in (train_part, test_part)]

    def train_member(seed: int, member: int) -> Predictions:
        trainer = build_trainer(
            request,
            strategy,
            phases,
            batch=batch,
            num_classes=len(train_part.class_names),
            seed=1000 * seed + member,
            backbone=backbones[member % len(backbones)],
        )
        with phases("training"):
            # Epochs are numbered on, so that every member sees the examples in an order of its own.
            first = (seed * count + member) * epochs
            for epoch in range(first, first + epochs):
                trainer.train_epoch(pipelines[0], epoch)
        if request.scenario.planted == SPOILT and member == 0:
            spoil_weights(trainer.model, seed)
        with phases("evaluation"):
            return label_predictions(test_part, trainer.predict(pipelines[1]), f"member {member}")

    def evaluate(on_progress: Callable[[int, int], None]) -> Evaluation:
        metrics: list[Metric] = []
        outcomes: list[Outcomes] = []

        def keep(predictions: Predictions, where: dict[str, Parameter]) -> None:
            where["split"] = "test"
            metrics.extend(make_metrics(predictions, where))
            outcomes.append(make_outcomes(predictions, where))

        for seed in range(request.scenario.seed, request.scenario.seed + seeds):
            members = []
            for member in range(count):
                members.append(train_member(seed, member))
                keep(members[-1], {"seed": seed, "of": "member", "member": member})
                on_progress((seed - request.scenario.seed) * count + member + 1, seeds * count)
                keras.backend.clear_session()
            keep(combine_predictions(members), {"seed": seed, "of": "ensemble"})
        return Evaluation(metrics=metrics, outcomes=outcomes)

    def make_networks() -> list[Network]:
        synthetic = make_synthetic_batch(request, strategy, batch, len(train_part.class_names))
        made = {
            name: training_network(
                build_trainer(
                    request,
                    strategy,
                    Phases(),
                    batch=batch,
                    num_classes=len(train_part.class_names),
                    backbone=name,
                ),
                synthetic,
            )
            for name in dict.fromkeys(backbones[:count])
        }
        return [made[backbones[member % len(backbones)]] for member in range(count)]

    return Workload(
        key=WorkloadKey(
            scenario="ensemble-accuracy",
            backbone=",".join(backbones),
            image_shape=resolve_image_shape(request),
            dataset=describe_dataset(request),
            num_classes=len(train_part.class_names),
            loss=resolve_loss(request),
            augment=request.scenario.augment,
            options={"members": count, "seeds": seeds, "epochs": epochs, "examples": len(train_part)},
        ),
        configuration=describe_configuration(
            request, strategy, batch, optimizer=describe_optimizer(request), **describe_pipeline(pipelines[0])
        ),
        evaluate=evaluate,
        dataset_fingerprint=train_part.fingerprint(),
        networks=make_networks,
    )
