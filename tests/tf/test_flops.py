"""FLOPs of an example, held against what can be worked out by hand."""

import sys

import keras
import pytest
import tensorflow as tf

from bench.scenarios.flops import count_flops, predicting_network, training_network
from tpuens.hardware.strategies import open_strategy
from tpuens.training.loop import Trainer

pytest.importorskip("jaxlib")
# A convolution without padding, 7 × 7 places of 3 × 3 × 2 → 5; a dense layer 245 → 4.
CONVOLUTION, DENSE = 2 * 7 * 7 * 3 * 3 * 2 * 5, 2 * 245 * 4
FORWARD = CONVOLUTION + DENSE


@pytest.fixture(scope="module")
def trainer() -> Trainer:
    images = keras.Input((9, 9, 2), dtype="uint8")
    features = keras.layers.Conv2D(5, 3, use_bias=False)(keras.layers.Rescaling(1 / 255)(images))
    outputs = keras.layers.Dense(4, use_bias=False)(keras.layers.Flatten()(features))
    return Trainer(
        model=keras.Model(images, outputs),
        optimizer=keras.optimizers.SGD(),
        strategy=open_strategy("cpu"),
        per_replica_batch_size=8,
    )


@pytest.fixture(scope="module")
def batch() -> tuple[tf.Tensor, tf.Tensor]:
    return tf.zeros((8, 9, 9, 2), tf.uint8), tf.zeros((8,), tf.int32)


def test_xla_counts_a_forward_pass_and_what_moves(trainer, batch):
    counted = count_flops([predicting_network(trainer.model, trainer.strategy, batch[0])] * 3)
    assert counted is not None
    assert (counted.of, counted.method) == ("forward pass", "hlo-cost-analysis")
    assert 3 * FORWARD <= counted.per_example < 3.2 * FORWARD
    weights = (3 * 3 * 2 * 5 + 245 * 4) / 8
    assert counted.bytes_per_example == pytest.approx(3 * 4 * (9 * 9 * 2 + 2 * 245 + 4 + weights))


def test_xla_counts_the_gradients_of_weights_and_of_inputs_those_of_the_images_too(trainer, batch):
    counted = count_flops([training_network(trainer, batch)])
    assert counted is not None
    assert counted.of == "training step"
    assert 3 * FORWARD <= counted.per_example < 1.05 * 3 * FORWARD


def test_without_jaxlib_the_profiler_counts_the_forward_pass_of_a_training(trainer, batch, monkeypatch):
    monkeypatch.setitem(sys.modules, "jaxlib", None)
    counted = count_flops([training_network(trainer, batch)])
    assert counted is not None
    assert (counted.of, counted.method) == ("forward pass", "tensorflow-profiler")
    assert FORWARD <= counted.per_example < 1.1 * FORWARD
    assert counted.bytes_per_example is None
