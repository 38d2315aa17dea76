"""Calls of several steps: the same training as calls of one, and where it may be stopped."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from bench.execution import racing
from bench.execution.limits import default_limits
from bench.execution.tuning import Tuner
from bench.suites import Request, Scenario
from tpuens.data.datasets import load_examples
from tpuens.data.pipeline import Pipeline, PipelineConfig
from tpuens.hardware.strategies import open_strategy
from tpuens.models.classifier import build_classifier
from tpuens.training.loop import EpochReport, Trainer
from tpuens.training.optimizers import make_optimizer

CPU = open_strategy("cpu")


def learn(steps: int) -> tuple[list[EpochReport], list[int], list[np.ndarray]]:
    """Trains for two epochs of 7 steps, the second from its third step on."""
    keras.utils.set_random_seed(0)
    with CPU.scope():
        model = build_classifier(backbone="cifar_cnn", num_classes=10, image_shape=(8, 8, 3), dropout=0.0)
        optimizer = make_optimizer("sgd", learning_rate=0.01)
    trainer = Trainer(
        model=model,
        optimizer=optimizer,
        strategy=CPU,
        per_replica_batch_size=8,
        steps_per_execution=steps,
    )
    pipeline = Pipeline(
        load_examples("digits", "train").subset(range(56)), PipelineConfig(image_shape=(8, 8, 3))
    )
    ends: list[int] = []
    reports = [
        trainer.train_epoch(pipeline, epoch, skip_steps=skipped, on_step=ends.append)
        for epoch, skipped in ((0, 0), (1, 2))
    ]
    return reports, ends, [weight.numpy() for weight in model.trainable_variables]


def test_several_steps_a_call_train_what_one_a_call_trains() -> None:
    (ones, one_ends, one_weights), (threes, ends, weights) = learn(1), learn(3)
    assert one_ends == [1, 2, 3, 4, 5, 6, 7, 3, 4, 5, 6, 7]
    assert ends == [3, 6, 7, 5, 7]  # what does not fill a call is a smaller one
    for one, three in zip(one_weights, weights, strict=True):
        np.testing.assert_allclose(three, one, atol=1e-5)
    for report, one_report in zip(threes, ones, strict=True):
        assert (report.steps, report.examples) == (one_report.steps, one_report.examples)
        assert report.loss == pytest.approx(one_report.loss, rel=1e-4)
        assert report.blocked_seconds is None
        assert one_report.blocked_seconds is not None


def test_no_iterator_of_a_training_waits_for_a_tuner_when_it_is_dropped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plain, tuned = tf.data.Dataset.__iter__, []

    def spy(dataset: tf.data.Dataset) -> Iterator[Any]:
        tuned.append(dataset.options().autotune.enabled is not False)
        return plain(dataset)

    monkeypatch.setattr(tf.data.Dataset, "__iter__", spy)
    learn(1)
    assert tuned  # the strategy's own buffer on the device
    assert not any(tuned)


def test_real_workers_try_settings_in_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(racing, "MOST_TURNS", 4)
    scenario = Scenario(name="train-step", backbone="cifar_cnn", image_size=8, batch_size=4)
    tuner = Tuner(
        fingerprint="f" * 16,
        versions={},
        logs=tmp_path / "logs",
        make_limits=default_limits,
        typed=("batch_size", "jit", "intra_op_threads"),
        kept_in=tmp_path / "kept",
    )
    (tuned,) = tuner.tune([Request(suite="test", scenario=scenario, strategy="cpu")])
    assert tuned.tuning is not None
    ones, eights = tuned.tuning.trials
    assert (ones.settings, eights.settings) == ({"steps_per_execution": 1}, {"steps_per_execution": 8})
    assert ones.reason is eights.reason is None
    assert ones.examples % 4 == eights.examples % 32 == 0
    assert min(*ones.seconds, *eights.seconds) > 0.05  # a quarter of a second each, about
    assert tuned.scenario.steps_per_execution == tuned.tuning.chosen["steps_per_execution"]
