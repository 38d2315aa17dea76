"""Train members, predict the test part, combine: the accuracy of each and of the ensemble, over seeds."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras

from tpuens.data.examples import Examples
from tpuens.data.pipeline import Pipeline
from tpuens.ensembling.combine import combine_predictions
from tpuens.evaluation.predictions import Predictions, label_predictions
from tpuens.hardware.batches import BatchSize
from tpuens.training.loop import Trainer

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
    train_part, test_part = load_parts(request, phases)
    train_part = take_first(train_part, int(options["examples"]))
    trainings = _Trainings(
        request=request,
        strategy=strategy,
        phases=phases,
        batch=resolve_batch(request, strategy, DEFAULT_BATCH_SIZE),
        test_part=test_part,
        pipelines=(make_pipeline(request, train_part), make_pipeline(request, test_part)),
        backbones=(options["backbones"] or request.scenario.backbone or "cifar_cnn").split(","),
        **{name: int(options[name]) for name in ("members", "seeds", "epochs")},
    )
    counts = {name: getattr(trainings, name) for name in ("members", "seeds", "epochs")}
    return Workload(
        key=WorkloadKey(
            scenario="ensemble-accuracy",
            backbone=",".join(trainings.backbones),
            image_shape=resolve_image_shape(request),
            dataset=describe_dataset(request),
            num_classes=len(train_part.class_names),
            loss=resolve_loss(request),
            augment=request.scenario.augment,
            options={**counts, "examples": len(train_part)},
        ),
        configuration=describe_configuration(
            request,
            strategy,
            trainings.batch,
            optimizer=describe_optimizer(request, strategy),
            **describe_pipeline(trainings.pipelines[0]),
        ),
        evaluate=trainings.evaluate,
        dataset_fingerprint=train_part.fingerprint(),
        networks=trainings.make_networks,
    )


@dataclass(frozen=True, kw_only=True)
class _Trainings:
    """Members to train and to combine, over seeds."""

    request: Request
    strategy: Any
    phases: Phases
    batch: BatchSize
    test_part: Examples
    pipelines: tuple[Pipeline, Pipeline]  # of the training part, and of the test part
    backbones: Sequence[str]
    members: int
    seeds: int
    epochs: int

    def evaluate(self, on_progress: Callable[[int, int], None]) -> Evaluation:
        """Trains and combines, seed by seed, and returns how right members and ensembles are."""
        metrics: list[Metric] = []
        outcomes: list[Outcomes] = []

        def keep(predictions: Predictions, where: dict[str, Parameter]) -> None:
            where["split"] = "test"
            metrics.extend(make_metrics(predictions, where))
            outcomes.append(make_outcomes(predictions, where))

        first = self.request.scenario.seed
        for seed in range(first, first + self.seeds):
            trained = []
            for member in range(self.members):
                trained.append(self._train(seed, member))
                keep(trained[-1], {"seed": seed, "of": "member", "member": member})
                on_progress((seed - first) * self.members + member + 1, self.seeds * self.members)
                keras.backend.clear_session()
            keep(combine_predictions(trained), {"seed": seed, "of": "ensemble"})
        return Evaluation(metrics=metrics, outcomes=outcomes)

    def make_networks(self) -> list[Network]:
        """Returns what an example goes through in each member's training."""
        synthetic = make_synthetic_batch(self.request, self.strategy, self.batch, self._num_classes)
        made = {
            name: training_network(self._build(name, Phases()), synthetic)
            for name in dict.fromkeys(map(self._backbone_of, range(self.members)))
        }
        return [made[self._backbone_of(member)] for member in range(self.members)]

    def _train(self, seed: int, member: int) -> Predictions:
        trainer = self._build(self._backbone_of(member), self.phases, seed=1000 * seed + member)
        with self.phases("training"):
            # Epochs are numbered on, so that every member sees the examples in an order of its own.
            first = (seed * self.members + member) * self.epochs
            for epoch in range(first, first + self.epochs):
                trainer.train_epoch(self.pipelines[0], epoch)
        if self.request.scenario.planted == SPOILT and member == 0:
            spoil_weights(trainer.model, seed)
        with self.phases("evaluation"):
            return label_predictions(self.test_part, trainer.predict(self.pipelines[1]), f"member {member}")

    def _build(self, backbone: str, phases: Phases, seed: int | None = None) -> Trainer:
        return build_trainer(
            self.request,
            self.strategy,
            phases,
            batch=self.batch,
            num_classes=self._num_classes,
            seed=seed,
            backbone=backbone,
        )

    def _backbone_of(self, member: int) -> str:
        return self.backbones[member % len(self.backbones)]

    @property
    def _num_classes(self) -> int:
        return len(self.test_part.class_names)
