"""The training step, on one device and on two logical ones: the same arithmetic, updates and sums."""

import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from tpuens.training.losses import make_loss
from tpuens.training.optimizers import make_optimizer
from tpuens.training.step import PredictStep, TrainStep, share_among_replicas

ONE = tf.distribute.OneDeviceStrategy("/cpu:0")


def make_step(*, jit_compile: bool = False, dtype_policy: str = "float32") -> TrainStep:
    with ONE.scope():
        keras.utils.set_random_seed(0)
        images = keras.Input((8, 8, 1), dtype="uint8")
        x = keras.layers.Rescaling(1 / 255, dtype="float32")(images)
        x = keras.layers.Flatten()(x)
        logits = keras.layers.Dense(3, dtype="float32")(keras.layers.Dense(16, "elu", dtype=dtype_policy)(x))
        return TrainStep(
            model=keras.Model(images, logits),
            loss=make_loss("sparse_categorical_crossentropy"),
            optimizer=make_optimizer("sgd", learning_rate=0.1, dtype_policy=dtype_policy),
            strategy=ONE,
            global_batch_size=12,
            jit_compile=jit_compile,
        )


def make_batch() -> tuple[tf.Tensor, tf.Tensor]:
    generator = np.random.default_rng(1)
    images = generator.integers(0, 256, (12, 8, 8, 1), dtype=np.uint8)
    return tf.constant(images), tf.constant(generator.integers(0, 3, 12), tf.int32)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_a_step_does_what_the_gradients_of_the_mean_loss_say(jit_compile: bool) -> None:
    step, (images, labels) = make_step(jit_compile=jit_compile), make_batch()
    with tf.GradientTape() as tape:
        logits = step.model(images, training=True)
        loss = tf.reduce_mean(keras.losses.sparse_categorical_crossentropy(labels, logits, from_logits=True))
    weights = step.model.trainable_variables
    expected = [
        w.numpy() - 0.1 * g.numpy()
        for w, g in zip(weights, tape.gradient(loss, [w.value for w in weights]), strict=True)
    ]
    step((images, labels))
    for weight, value in zip(weights, expected, strict=True):
        np.testing.assert_allclose(weight.numpy(), value, rtol=1e-4, atol=1e-6)
    mean_loss, accuracy, examples = step.read_totals()
    assert mean_loss == pytest.approx(float(loss), rel=1e-5)
    assert accuracy == pytest.approx(float(np.mean(np.argmax(logits, -1) == labels.numpy())))
    assert examples == 12


def test_the_fence_depends_on_every_updated_weight() -> None:
    step = make_step()
    step(make_batch())
    before = step.fence()
    for weight in step.model.trainable_variables:
        weight.assign(weight + 1.0)
    assert step.fence() == pytest.approx(before + len(step.model.trainable_variables), rel=1e-5)


def test_tracing_ahead_changes_no_weight_and_is_not_done_again() -> None:
    step, batch = make_step(), make_batch()
    before = [weight.numpy() for weight in step.model.trainable_variables]
    step.trace(batch)
    for weight, value in zip(step.model.trainable_variables, before, strict=True):
        np.testing.assert_array_equal(weight.numpy(), value)
    step(batch)
    assert step._step.experimental_get_tracing_count() == 1


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_a_mixed_policy_trains_and_keeps_float32_weights(policy: str) -> None:
    step, batch = make_step(dtype_policy=policy), make_batch()
    for _ in range(30):
        step(batch)
    first = step.read_totals()[0]
    step.reset_totals()
    for _ in range(30):
        step(batch)
    assert step.read_totals()[0] < first
    assert all(weight.dtype == "float32" for weight in step.model.trainable_variables)


def test_predictions_are_probabilities_in_the_order_of_the_images() -> None:
    step, (images, _) = make_step(), make_batch()
    rows = PredictStep(model=step.model, strategy=ONE)(images)
    np.testing.assert_allclose(rows, tf.nn.softmax(step.model(images)).numpy(), rtol=1e-5)
    np.testing.assert_allclose(rows.sum(axis=1), 1, rtol=1e-5)


def test_a_synthetic_batch_lies_on_the_device_already() -> None:
    images, labels = share_among_replicas(ONE, make_batch())
    assert "CPU:0" in images.device
    assert labels.shape == (12,)


TRAIN = """
import json, sys
import numpy as np, tensorflow as tf, keras
from tpuens.hardware.strategies import open_strategy
from tpuens.training.losses import make_loss
from tpuens.training.optimizers import make_optimizer
from tpuens.training.step import PredictStep, TrainStep, share_among_replicas
strategy = open_strategy(sys.argv[1])
with strategy.scope():
    keras.utils.set_random_seed(3)
    images = keras.Input((8, 8, 1), dtype="uint8")
    x = keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(images))
    model = keras.Model(images, keras.layers.Dense(3)(keras.layers.Dense(16, "elu")(x)))
    optimizer = make_optimizer("adam", learning_rate=0.01)
step = TrainStep(model=model, loss=make_loss("sparse_categorical_crossentropy"), optimizer=optimizer,
                 strategy=strategy, global_batch_size=12, jit_compile=sys.argv[2] == "jit")
generator = np.random.default_rng(1)
images = tf.constant(generator.integers(0, 256, (12, 8, 8, 1), dtype=np.uint8))
labels = tf.constant(generator.integers(0, 3, 12), tf.int32)
batch = share_among_replicas(strategy, (images, labels))
for _ in range(20):
    step(batch)
print(json.dumps({
    "fence": step.fence() / strategy.num_replicas_in_sync,
    "totals": step.read_totals(),
    "probabilities": PredictStep(model=model, strategy=strategy)(images).tolist(),
}))
"""


def train(strategy: str, jit: str = "no") -> dict[str, list[float]]:
    answer = subprocess.run(
        [sys.executable, "-c", TRAIN, strategy, jit],
        capture_output=True,
        text=True,
        env=os.environ | {"CUDA_VISIBLE_DEVICES": "-1"},
        timeout=120,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    result: dict[str, list[float]] = json.loads(answer.stdout)
    return result


def test_three_replicas_learn_what_one_learns_from_the_same_global_batch() -> None:
    one, three = train("cpu"), train("cpu-mirrored:3", "jit")
    assert three["fence"] == pytest.approx(one["fence"], rel=1e-3)
    assert three["totals"] == pytest.approx(one["totals"], rel=1e-4)
    np.testing.assert_allclose(three["probabilities"], one["probabilities"], atol=1e-4)
