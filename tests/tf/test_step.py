"""The training step, on one device and on two logical ones: the same arithmetic, updates and sums."""

import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from tpuens.errors import ConfigurationError
from tpuens.models.freezing import freeze
from tpuens.training.losses import LossConfig, activation_of, make_loss, targets_of
from tpuens.training.optimizers import make_optimizer
from tpuens.training.step import PredictStep, TrainStep, share_among_replicas

ONE = tf.distribute.OneDeviceStrategy("/cpu:0")


def make_step(
    *, jit_compile: bool = False, dtype_policy: str = "float32", loss: str = "sparse_categorical_crossentropy"
) -> TrainStep:
    with ONE.scope():
        keras.utils.set_random_seed(0)
        images = keras.Input((8, 8, 1), dtype="uint8")
        x = keras.layers.Rescaling(1 / 255, dtype="float32")(images)
        x = keras.layers.Flatten()(x)
        logits = keras.layers.Dense(3, dtype="float32")(keras.layers.Dense(16, "elu", dtype=dtype_policy)(x))
        return TrainStep(
            model=keras.Model(images, logits),
            loss=make_loss(LossConfig(name=loss)),
            activation=activation_of(loss),
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


@pytest.mark.parametrize("jit_compile", [False, True])
def test_a_call_of_several_steps_does_what_as_many_calls_do(jit_compile: bool) -> None:
    one, several, batch = make_step(jit_compile=jit_compile), make_step(jit_compile=jit_compile), make_batch()
    for _ in range(5):
        one(batch)
    several.trace(batch, 3)
    assert several.read_totals()[2] == 0
    several.run(batch, 3)
    several.run(batch, 2)
    assert several._steps.experimental_get_tracing_count() == 1
    assert several.read_totals() == pytest.approx(one.read_totals(), rel=1e-5)
    for weight, value in zip(several.model.trainable_variables, one.model.trainable_variables, strict=True):
        np.testing.assert_allclose(weight.numpy(), value.numpy(), atol=1e-6)


def test_the_graph_of_a_large_network_alone_is_run_as_it_was_traced(monkeypatch: pytest.MonkeyPatch) -> None:
    def is_optimised() -> bool:
        return not tf.config.optimizer.get_experimental_options().get("disable_meta_optimizer", False)

    seen: list[bool] = []
    for many, expected in ((5, True), (4, False)):
        monkeypatch.setattr("tpuens.training.step._MANY_WEIGHTS", many)
        step = make_step()
        step._step = step._steps = lambda *args: seen.append(is_optimised())
        step(make_batch())
        step.run(make_batch(), 2)
        assert seen == [expected, expected]
        assert is_optimised()
        seen.clear()


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


VECTORS = np.array([[1, 0, 0], [0, 0.6, 0.4], [0, 1, 1], [0, 0, 0]], np.float32)
LOGITS = np.array([[2, 1, 0], [0, 1, 2], [-1, 3, 2], [1, -1, -1]], np.float32)


@pytest.mark.parametrize(
    ("loss", "targets", "accuracy"),
    [
        ("sparse_categorical_crossentropy", np.array([0, 1, 1, 0], np.int32), 3 / 4),
        ("categorical_crossentropy", VECTORS, 3 / 4),  # the largest share counts; of equals, the first
        ("binary_crossentropy", VECTORS, (2 + 2 + 3 + 2) / 12),
    ],
)
def test_accuracy_is_that_of_classes_or_of_single_decisions(
    loss: str, targets: np.ndarray, accuracy: float
) -> None:
    with ONE.scope():
        images = keras.Input((3,), dtype="float32")
        model = keras.Model(images, keras.layers.Dense(3, kernel_initializer="identity")(images))
        step = TrainStep(
            model=model,
            loss=make_loss(LossConfig(name=loss)),
            activation=activation_of(loss),
            optimizer=make_optimizer("sgd", learning_rate=1e-9),
            strategy=ONE,
            global_batch_size=4,
        )
    step((tf.constant(LOGITS), tf.constant(targets)))
    mean_loss, got, examples = step.read_totals()
    assert got == pytest.approx(accuracy)
    assert examples == 4
    assert mean_loss == pytest.approx(float(np.mean(make_loss(LossConfig(name=loss))(targets, LOGITS))))


@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
@pytest.mark.parametrize("loss", ["categorical_crossentropy", "categorical_focal", "binary_crossentropy"])
def test_every_loss_is_learnt_from_vectors(loss: str, policy: str) -> None:
    step, (images, labels) = make_step(dtype_policy=policy, loss=loss), make_batch()
    batch = images, tf.one_hot(labels, 3)
    step(batch)
    first = step.read_totals()[0]
    for _ in range(60):
        step(batch)
    step.reset_totals()
    step(batch)
    assert step.read_totals()[0] < first / 2
    assert targets_of(loss) == "vector"


def make_frozen_step(trainable: str) -> TrainStep:
    with ONE.scope():
        keras.utils.set_random_seed(0)
        pixels = keras.Input((8, 8, 1))
        x = keras.layers.BatchNormalization()(keras.layers.Conv2D(4, 3)(pixels))
        x = keras.layers.BatchNormalization()(keras.layers.Conv2D(4, 3)(x))
        backbone = keras.Model(pixels, keras.layers.Flatten()(x), name="backbone")
        images = keras.Input((8, 8, 1), dtype="uint8")
        x = backbone(keras.layers.Rescaling(1 / 255)(images))
        model = keras.Model(images, keras.layers.Dense(3, name="head")(x))
        freeze(model, trainable, freeze_batch_norm=True)
        return TrainStep(
            model=model,
            loss=make_loss(LossConfig()),
            optimizer=make_optimizer("adam", learning_rate=0.01),
            strategy=ONE,
            global_batch_size=12,
        )


def test_a_frozen_backbone_has_no_gradients_no_slots_and_does_not_move() -> None:
    step, batch = make_frozen_step("head"), make_batch()
    before = {weight.path: weight.numpy() for weight in step.model.weights}
    for _ in range(3):
        step(batch)
    moved = [w.path for w in step.model.weights if not np.array_equal(w.numpy(), before[w.path])]
    assert moved == ["head/kernel", "head/bias"]
    # Of Adam: two moments for each of the two.
    assert len([v for v in step.optimizer.variables if "head" in v.path]) == 4
    assert not [v for v in step.optimizer.variables if "conv" in v.path]
    operations = step._step.get_concrete_function(batch).graph.get_operations()
    assert [o for o in operations if o.type == "Conv2D"]
    assert not [o for o in operations if o.type.startswith("Conv2DBackprop")]


def test_the_fence_depends_on_the_head_alone_where_nothing_else_trains() -> None:
    step = make_frozen_step("head")
    before = step.fence()
    for weight in step.model.trainable_variables:
        weight.assign(weight + 1.0)
    assert step.fence() == pytest.approx(before + 2, rel=1e-5)


def test_gradients_end_where_the_frozen_layers_begin() -> None:
    step, batch = make_frozen_step("top:1"), make_batch()
    before = {weight.path: weight.numpy() for weight in step.model.weights}
    step(batch)
    moved = [w.path for w in step.model.weights if not np.array_equal(w.numpy(), before[w.path])]
    assert [path.rsplit("/")[-1] for path in moved] == ["kernel", "bias", "kernel", "bias"]
    operations = step._step.get_concrete_function(batch).graph.get_operations()
    assert len([o for o in operations if o.type == "Conv2DBackpropFilter"]) == 1


def test_a_model_that_is_frozen_as_a_whole_is_refused() -> None:
    step = make_step()
    step.model.trainable = False
    with pytest.raises(ConfigurationError, match="free its head"):
        TrainStep(
            model=step.model,
            loss=make_loss(LossConfig()),
            optimizer=step.optimizer,
            strategy=ONE,
            global_batch_size=12,
        )


def test_sigmoid_predictions_stand_each_by_itself() -> None:
    step, (images, _) = make_step(), make_batch()
    rows = PredictStep(model=step.model, strategy=ONE, activation="sigmoid")(images)
    np.testing.assert_allclose(rows, tf.nn.sigmoid(step.model(images)).numpy(), rtol=1e-5)


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
from tpuens.models.freezing import freeze
from tpuens.training.losses import LossConfig, activation_of, make_loss, targets_of
from tpuens.training.optimizers import make_optimizer
from tpuens.training.step import PredictStep, TrainStep, share_among_replicas
strategy = open_strategy(sys.argv[1])
generator = np.random.default_rng(1)
images = tf.constant(generator.integers(0, 256, (12, 8, 8, 1), dtype=np.uint8))
labels = tf.constant(generator.integers(0, 3, 12), tf.int32)
results = {}
for loss, trainable in (
    ("sparse_categorical_crossentropy", "all"),
    ("categorical_focal", "head"),
    ("binary_crossentropy", "all"),
):
    with strategy.scope():
        keras.utils.set_random_seed(3)
        pixels = keras.Input((8, 8, 1))
        x = keras.layers.Dense(16, "elu")(keras.layers.Flatten()(pixels))
        norm = keras.layers.BatchNormalization()
        x = norm(x)
        norm.set_weights(generator.uniform(0.5, 1.5, (4, 16)))
        backbone = keras.Model(pixels, x, name="backbone")
        inputs = keras.Input((8, 8, 1), dtype="uint8")
        model = keras.Model(inputs, keras.layers.Dense(3)(backbone(keras.layers.Rescaling(1 / 255)(inputs))))
        freeze(model, trainable, freeze_batch_norm=True)
        optimizer = make_optimizer("adam", learning_rate=0.01)
    step = TrainStep(
        model=model, loss=make_loss(LossConfig(name=loss, class_weights=(1.0, 2.0, 0.5))),
        activation=activation_of(loss), optimizer=optimizer, strategy=strategy, global_batch_size=12,
        jit_compile=sys.argv[2] == "jit" and trainable == "all",
    )
    targets = labels if targets_of(loss) == "index" else tf.one_hot(labels, 3)
    batch = share_among_replicas(strategy, (images, targets))
    kept = norm.get_weights()
    if sys.argv[2] == "jit":
        step.run(batch, 17)
        step.run(batch, 3)
    else:
        for _ in range(20):
            step(batch)
    step.synchronise()
    step.synchronise()
    predict = PredictStep(model=model, strategy=strategy, activation=activation_of(loss))
    results[loss] = {
        "fence": step.fence() / strategy.num_replicas_in_sync,
        "exchanged": step.exchange()(),
        "totals": step.read_totals(),
        "probabilities": predict(images).tolist(),
        "moved": [float(np.abs(a - b).max()) for a, b in zip(norm.get_weights(), kept)],
    }
print(json.dumps(results))
"""


OVERFLOW = """
import sys, keras, tensorflow as tf
from tpuens.hardware.strategies import open_strategy
from tpuens.training.optimizers import make_optimizer
from tpuens.training.step import TrainStep, share_among_replicas
strategy = open_strategy("cpu-mirrored:2")
with strategy.scope():
    images = keras.Input((2, 2, 1), dtype="uint8")
    pixels = keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(images))
    model = keras.Model(images, keras.layers.Dense(3, kernel_initializer="zeros")(pixels))
    optimizer = make_optimizer("sgd", learning_rate=0.1, dtype_policy="mixed_float16")
factor = lambda targets: tf.where(targets == 1, float("inf"), 1.0)
step = TrainStep(
    model=model, loss=lambda targets, logits: factor(targets) * tf.reduce_sum(logits, -1), strategy=strategy,
    optimizer=optimizer, global_batch_size=4,
)
for where in ([1, 0, 0, 0], [0, 0, 0, 1], [0, 0, 0, 0]):
    step(share_among_replicas(strategy, (tf.ones((4, 2, 2, 1), tf.uint8), tf.constant(where))))
    print(float(optimizer.dynamic_scale.numpy()), float(model.weights[1].numpy()[0]))
"""


def call(code: str, *arguments: str) -> str:
    """Returns what a fresh process prints, in which devices can be set up."""
    answer = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        env=os.environ | {"CUDA_VISIBLE_DEVICES": "-1"},
        timeout=120,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    return answer.stdout


def test_an_overflow_on_any_replica_skips_the_step_on_all() -> None:
    said = call(OVERFLOW)
    scale = 2.0**15
    lines = [tuple(map(float, line.split())) for line in said.strip().splitlines()]
    assert lines[:2] == [(scale / 2, 0.0), (scale / 4, 0.0)]
    assert lines[2] == (scale / 4, pytest.approx(-0.1))


def train(strategy: str, jit: str = "no") -> dict[str, dict[str, list[float]]]:
    result: dict[str, dict[str, list[float]]] = json.loads(call(TRAIN, strategy, jit))
    return result


def test_three_replicas_learn_what_one_learns_from_the_same_global_batch() -> None:
    """The three, compiled, run in calls of several steps; the one in calls of one."""
    ones, threes = train("cpu"), train("cpu-mirrored:3", "jit")
    assert len(ones) == 3
    for loss, one in ones.items():
        three = threes[loss]
        assert three["moved"] == one["moved"] == [0, 0, 0, 0]
        assert three["fence"] == pytest.approx(one["fence"], rel=1e-3)
        assert three["totals"] == pytest.approx(one["totals"], rel=1e-4)
        np.testing.assert_allclose(three["probabilities"], one["probabilities"], atol=1e-4)
        # What has the shapes of the gradients is summed over all replicas, and every one gets the sum.
        assert three["exchanged"] == pytest.approx([3 * three["fence"]] * 3, rel=1e-4)
