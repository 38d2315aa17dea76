"""Finished runs as one network: joined, weighted, trained on if asked, scored and exported."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

import keras
import numpy as np
import tensorflow as tf

from ..data.examples import Examples
from ..ensembling.combine import align_predictions, arithmetic_mean, check_weights
from ..ensembling.honesty import cross_fit
from ..ensembling.joint import Trainable, export_classifier, fuse_classifiers, match_inputs, read_weights
from ..ensembling.weights import search_weights
from ..errors import ConfigurationError, unknown_name_error
from ..evaluation.metrics import Scores, compute_scores, score_predictions
from ..evaluation.predictions import Predictions, label_predictions, load_predictions, save_predictions
from ..hardware.strategies import is_chief, open_strategy
from ..models.freezing import freeze
from ..training.loop import Trainer, predict_examples
from ..training.losses import Activation, activation_of
from ..training.optimizers import check_optimizer, choose_implementation, make_optimizer
from ..training.step import PredictStep
from ..training.workers import passed_by_all
from .config import TrainConfig
from .members import Member, load_member_parts, load_model, open_members
from .parts import make_pipelines, weigh_classes
from .phases import Observer, judge_epoch
from .run_folder import RunFolder

PARTS = ("validation", "test")
ENSEMBLE_FILE = "ensemble.keras"
SAVED_MODEL = "saved_model"


@dataclass(frozen=True, kw_only=True)
class FuseSummary:
    """A fused network and how good it is.

    Attributes:
        folder: Where everything lies.
        weights: The weight of each run, by its name.
        origin: In words, where the weights come from, and what else was trained on what.
        scores: For each labelled part, the scores of each run, as that run left them, and of ``"ensemble"``;
            cross-fitted on the validation part where nothing but the weights was fitted there.
        model: The network, as in ``ensemble.keras``.
    """

    folder: Path
    weights: dict[str, float]
    origin: str
    scores: dict[str, dict[str, Scores]]
    model: keras.Model


def fuse_runs(
    runs: Sequence[Path],
    output: Path,
    *,
    train: Trainable | None = None,
    weights: Sequence[float] | None = None,
    epochs: int = 3,
    learning_rate: float = 1e-4,
    batch_size: int = 32,
    strategy: str = "auto",
    data_dir: str | None = None,
    observer: Observer | None = None,
) -> FuseSummary:
    """Joins finished runs in one network, writes it with its predictions and scores, and returns those.

    The weights are fitted to the validation part, which no member was trained on: fitted to the training part
    they would trust most who learnt it by heart. With frozen members the network's log loss is a convex
    function of the weights alone: each member sees that part once, then its minimum is computed.

    The output holds ``ensemble.keras`` (log probabilities, or logits under sigmoid), ``saved_model/``
    (its serving signature gives probabilities), ``predictions/``, ``metrics.json`` (the ensemble's),
    ``fuse.json`` (runs, weights, what they were fitted to, and the members' scores), and ``history.csv``
    where members were trained. Keras alone, and TensorFlow alone, load the first two.

    Args:
        runs: Two or more folders of runs over one split of one data set, with the same colours.
        output: A folder that does not exist yet, or is empty.
        train: ``"weights"``, with the members as they are; ``"all"``, which after that trains weights and
            members together on the training part, their batch normalisation apart; ``"nothing"``. None for
            ``"weights"``, or for ``"nothing"`` where weights are given.
        weights: One a run, scaled to sum to 1, in place of those that would be fitted.
        epochs: Passes over the training part, for ``"all"``.
        learning_rate: Of Adam, constant, for ``"all"``.
        batch_size: Examples on each replica.
        strategy: A name in `STRATEGIES`.
        data_dir: Where the data lies now; None where the first run found it.
        observer: Told of progress.

    Raises:
        ConfigurationError: An argument cannot be used, or the runs do not go together.
        DataError: The data is no longer what the runs were made with, or predictions are missing.
        WeightsError: A run has no trained model yet, or it cannot be read.
    """
    train = _check_request(train, weights, epochs, learning_rate)
    observer = observer or Observer()
    members = open_members(runs)
    check_weights(weights, len(members))
    opened = open_strategy(strategy)
    work = _Work.open(members, output, opened, batch_size, data_dir, observer)
    said = _load_predictions(members, work.parts)
    observer.on_status(f"joining {len(members)} networks")
    with opened.scope():
        models = [load_model(member.folder) for member in members]
        networks = match_inputs(models)
    work = work.at_size(networks[0].input_shape[1])
    shares, judged = weights, []
    labels = work.parts["validation"].known_labels
    if weights is None and train != "nothing":
        observer.on_status("fitting the weights")
        judged = [work.predict(network, "validation") for network in networks]
        shares = search_weights(judged, labels).weights
    activation = members[0].activation
    with opened.scope():
        model = fuse_classifiers(models, weights=shares, trainable=train, activation=activation)
    history = work.train(model, epochs, learning_rate, observer) if train == "all" else []
    observer.on_status("predicting and writing the results")
    predictions = {part: work.label(model, part, output.name) for part in said}
    names = [member.name for member in members]
    scores = _score(names, said, predictions)
    if train == "weights":
        scores["validation"]["ensemble"] = compute_scores(labels, cross_fit(judged, labels, _fit_mean))
    summary = FuseSummary(
        folder=output,
        weights=dict(zip(names, read_weights(model).tolist(), strict=True)),
        origin=_describe_origin(train, weights),
        scores=scores,
        model=model,
    )
    if is_chief(opened):
        _write(summary, predictions, history, activation)
    return summary


@dataclass(frozen=True, kw_only=True)
class _Work:
    """What networks are trained and tried on."""

    config: TrainConfig
    parts: dict[str, Examples]
    strategy: Any
    batch_size: int

    @classmethod
    def open(
        cls,
        members: Sequence[Member],
        output: Path,
        strategy: Any,
        batch_size: int,
        data_dir: str | None,
        observer: Observer,
    ) -> "_Work":
        """Makes the output's folder and loads the data of the first member, which is that of all."""
        first = members[0]
        config = replace(first.config, data_dir=data_dir or first.config.data_dir, views=("plain",))
        if config.deterministic:
            tf.config.experimental.enable_op_determinism()
        observer.on_status(f"loading {config.dataset}")
        with passed_by_all(strategy):
            if is_chief(strategy):
                RunFolder(output).create()
            parts = load_member_parts(config, first.folder)
        return cls(config=config, parts=parts, strategy=strategy, batch_size=batch_size)

    def at_size(self, image_size: int) -> "_Work":
        """Returns the same with images of another height and width."""
        return replace(self, config=replace(self.config, image_size=image_size))

    def train(
        self, model: keras.Model, epochs: int, learning_rate: float, observer: Observer
    ) -> list[dict[str, Any]]:
        """Trains all that is not frozen on the training part, and returns the history."""
        keras.utils.set_random_seed(self.config.seed)
        with self.strategy.scope():
            freeze(model, "all", freeze_batch_norm=True)
            optimizer = make_optimizer(
                "adam",
                learning_rate=learning_rate,
                dtype_policy=self.config.dtype_policy,
                implementation=choose_implementation(self.strategy),
            )
        trainer = Trainer(
            model=model,
            optimizer=optimizer,
            strategy=self.strategy,
            per_replica_batch_size=self.batch_size,
            loss=weigh_classes(self.config, self.parts["train"]),
            jit_compile=self.config.jit_compile,
        )
        pipelines = make_pipelines(self.config, {name: self.parts[name] for name in ("train", "validation")})
        return [
            judge_epoch(
                trainer,
                trainer.train_epoch(pipelines["train"], epoch, on_progress=observer.on_progress),
                pipelines["validation"],
                observer,
            )
            for epoch in range(epochs)
        ]

    def predict(self, model: keras.Model, part: str) -> np.ndarray:
        """Returns a model's probabilities, float32 (examples, classes)."""
        activation = activation_of(self.config.loss.name)
        step = PredictStep(model=model, strategy=self.strategy, activation=activation)
        pipeline = make_pipelines(self.config, {part: self.parts[part]})[part]
        return predict_examples(step, pipeline, per_replica_batch_size=self.batch_size)

    def label(self, model: keras.Model, part: str, source: str) -> Predictions:
        """Returns a model's predictions of a part, with ids and what labels there are."""
        sigmoid = activation_of(self.config.loss.name) == "sigmoid"
        return label_predictions(self.parts[part], self.predict(model, part), source, sigmoid=sigmoid)


def _load_predictions(members: Sequence[Member], parts: Collection[str]) -> dict[str, list[Predictions]]:
    """Returns what the members' runs said of each part that is there, in the same order of examples."""
    return {
        part: align_predictions([load_predictions(member.folder.predictions(part)) for member in members])
        for part in PARTS
        if part in parts
    }


def _check_request(
    train: Trainable | None, weights: Sequence[float] | None, epochs: int, learning_rate: float
) -> Trainable:
    """Returns what is to be trained, once it is known to make sense."""
    if train is None:
        train = "weights" if weights is None else "nothing"
    if train not in get_args(Trainable):
        raise unknown_name_error("thing to train", "train", train, get_args(Trainable))
    if train == "weights" and weights is not None:
        raise ConfigurationError(
            "Weights are given or fitted: leave one out, or begin with those given and train 'all'. "
            f"Received: weights={list(weights)} and train='weights'"
        )
    if epochs < 1:
        raise ConfigurationError(f"Joint training takes at least one epoch. Received: epochs={epochs}")
    check_optimizer("adam", learning_rate)
    return train


def _describe_origin(train: Trainable, weights: Sequence[float] | None) -> str:
    if weights is not None:
        origin = "given"
    else:
        origin = "equal" if train == "nothing" else "fitted to the validation part"
    if train == "all":
        after = "" if weights is not None else "; its validation scores flatter the ensemble"
        return f"{origin}, then trained on the training part together with the members{after}"
    if train == "weights":
        origin += ", where the ensemble's scores are cross-fitted"
    return f"{origin}; the members are as their runs left them"


def _fit_mean(members: list[np.ndarray], labels: np.ndarray) -> Callable[[Sequence[np.ndarray]], np.ndarray]:
    weights = np.array(search_weights(members, labels).weights)
    return lambda rows: arithmetic_mean(rows, weights)


def _score(
    names: Sequence[str], said: dict[str, list[Predictions]], predictions: dict[str, Predictions]
) -> dict[str, dict[str, Scores]]:
    return {
        part: {
            **{name: score_predictions(one) for name, one in zip(names, said[part], strict=True)},
            "ensemble": score_predictions(whole),
        }
        for part, whole in predictions.items()
        if whole.labels is not None
    }


def _write(
    summary: FuseSummary,
    predictions: dict[str, Predictions],
    history: Sequence[dict[str, Any]],
    activation: Activation,
) -> None:
    folder = RunFolder(summary.folder)
    for part, whole in predictions.items():
        save_predictions(folder.predictions(part), whole)
    scores = {
        part: {name: one.as_dict() for name, one in rows.items()} for part, rows in summary.scores.items()
    }
    folder.write_json("metrics.json", {part: rows["ensemble"] for part, rows in scores.items()})
    folder.write_json("fuse.json", {"weights": summary.weights, "origin": summary.origin, "scores": scores})
    if history:
        folder.write_history(history)
    export_classifier(summary.model, activation, summary.folder / ENSEMBLE_FILE, summary.folder / SAVED_MODEL)
