"""Phases of training: frozen first, then all; early stopping; features in place of images."""

from pathlib import Path

import numpy as np
import pytest

from tpuens.data.datasets import load_examples
from tpuens.data.pipeline import Pipeline, PipelineConfig
from tpuens.evaluation.predictions import load_predictions
from tpuens.hardware.strategies import open_strategy
from tpuens.models.classifier import build_classifier, split_at_head
from tpuens.models.freezing import freeze
from tpuens.recipes.config import PhaseConfig, TrainConfig
from tpuens.recipes.run import resume, train
from tpuens.recipes.run_folder import RunFolder
from tpuens.training.features import FeaturePipeline, FeatureStore, collect_features
from tpuens.training.loop import Trainer, predict_examples
from tpuens.training.losses import LossConfig
from tpuens.training.optimizers import make_optimizer
from tpuens.training.schedules import ScheduleConfig
from tpuens.training.step import PredictStep

CPU = open_strategy("cpu")


def small(**changes: object) -> TrainConfig:
    settings: dict[str, object] = {"dataset": "digits", "image_size": 8, "colour": "grey", "strategy": "cpu"}
    return TrainConfig(**settings | changes)  # type: ignore[arg-type]


def test_the_history_shows_the_phases_their_rates_and_what_was_frozen(tmp_path: Path) -> None:
    phases = (
        PhaseConfig(name="head", epochs=2, trainable="head", schedule=ScheduleConfig(learning_rate=0.01)),
        PhaseConfig(name="fine-tune", epochs=2, schedule=ScheduleConfig(name="cosine", learning_rate=0.002)),
    )
    train(small(phases=phases), tmp_path / "run", strategy=CPU)
    rows = RunFolder(tmp_path / "run").read_history()
    assert [row["phase"] for row in rows] == ["head", "head", "fine-tune", "fine-tune"]
    assert [row["epoch"] for row in rows] == ["0", "1", "2", "3"]
    assert [float(row["learning_rate"]) for row in rows[:3]] == [0.01, 0.01, 0.002]
    assert float(rows[3]["learning_rate"]) == pytest.approx(0.001)
    assert float(rows[3]["validation_log_loss"]) < float(rows[1]["validation_log_loss"])


def test_early_stopping_ends_with_the_weights_of_the_best_epoch_also_when_resumed(tmp_path: Path) -> None:
    # A rate this high gets worse after the first epochs.
    phase = PhaseConfig(epochs=12, patience=2, schedule=ScheduleConfig(learning_rate=0.03))
    config = small(phases=(phase,), batch_size=16, split=small().split)
    summary = train(config, tmp_path / "run", strategy=CPU)
    rows = RunFolder(tmp_path / "run").read_history()
    losses = [float(row["validation_log_loss"]) for row in rows]
    best = int(np.argmin(losses))
    assert len(rows) in (best + 3, 12)
    assert summary.scores["validation"].log_loss == pytest.approx(losses[best], rel=1e-4)

    before = load_predictions(tmp_path / "run" / "predictions" / "test.npz")
    (tmp_path / "run" / "model.keras").unlink()
    resume(tmp_path / "run", strategy=CPU)
    after = load_predictions(tmp_path / "run" / "predictions" / "test.npz")
    np.testing.assert_allclose(after.probabilities, before.probabilities, atol=1e-5)


def test_a_head_learns_the_same_from_features_as_from_images(tmp_path: Path) -> None:
    examples = load_examples("digits", "train").subset(range(192))
    pipeline = Pipeline(examples, PipelineConfig(image_shape=(32, 32, 3), targets="vector"))

    def learn(use_features: bool) -> np.ndarray:
        import keras

        keras.utils.set_random_seed(0)
        with CPU.scope():
            optimizer = make_optimizer("adam", learning_rate=0.01)
            model = build_classifier(
                backbone="efficientnet_lite0",
                num_classes=10,
                image_shape=(32, 32, 3),
                head_blocks=2,
                dropout=0.0,
            )
        for layer in model.get_layer("backbone").layers:  # its own dropout would tell the two apart
            if isinstance(layer, keras.layers.Dropout):
                layer.rate = 0.0
        freeze(model, "head", freeze_batch_norm=False)
        source, trained = pipeline, model
        if use_features:
            backbone, trained = split_at_head(model)
            step = PredictStep(model=backbone, strategy=CPU, activation="none")
            store = FeatureStore(tmp_path, {"backbone": "efficientnet_lite0"})
            source = FeaturePipeline(
                pipeline,
                lambda view: collect_features(store, step, pipeline, view, per_replica_batch_size=32),
            )
        trainer = Trainer(
            model=trained,
            optimizer=optimizer,
            strategy=CPU,
            per_replica_batch_size=32,
            loss=LossConfig(name="categorical_crossentropy"),
        )
        for epoch in range(3):
            trainer.train_epoch(source, epoch)
        step = PredictStep(model=model, strategy=CPU)
        return predict_examples(step, pipeline, per_replica_batch_size=32)

    np.testing.assert_allclose(learn(use_features=True), learn(use_features=False), atol=2e-3)


def test_features_are_kept_by_the_content_of_the_image(tmp_path: Path) -> None:
    examples = load_examples("digits", "train").subset(range(40))
    config = PipelineConfig(image_shape=(8, 8, 1))
    model = build_classifier(backbone="cifar_cnn", num_classes=10, image_shape=(8, 8, 1))
    step = PredictStep(model=split_at_head(model)[0], strategy=CPU, activation="none")
    identity = {"backbone": "cifar_cnn"}

    def collect(store: FeatureStore, part: object) -> np.ndarray:
        pipeline = Pipeline(part, config)  # type: ignore[arg-type]
        return collect_features(store, step, pipeline, "plain", per_replica_batch_size=16)

    whole = collect(FeatureStore(tmp_path, identity), examples)
    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.npz")}
    again = collect(FeatureStore(tmp_path, identity), examples.subset([7, 3]))
    np.testing.assert_array_equal(again, whole[[7, 3]])
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.npz")} == files
    collect(FeatureStore(tmp_path, identity | {"weights": "others"}), examples.subset([7]))
    assert len(list(tmp_path.rglob("*.npz"))) == len(files) + 1
