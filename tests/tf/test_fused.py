"""The fused optimizers, batch normalisation and swish against Keras's own."""

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tpuens.training import kernels
from tpuens.training.kernels import cpu_kernels
from tpuens.training.losses import LossConfig, make_loss
from tpuens.training.optimizers import Implementation, TabulatedSchedule, make_optimizer
from tpuens.training.step import TrainStep

ONE = tf.distribute.OneDeviceStrategy("/cpu:0")
SHAPES = (3, 5), (7,), (2, 2, 3, 4), (1000, 9)
DECAY = {"adamw": 0.05}


def make(name: str, implementation: Implementation, learning_rate: Any = 0.01) -> keras.optimizers.Optimizer:
    return make_optimizer(
        name, learning_rate=learning_rate, weight_decay=DECAY.get(name), implementation=implementation
    )


def draw_gradients(steps: int) -> list[list[np.ndarray]]:
    """Returns gradients of sizes from 1e-6 to 1e3, which change as training goes on."""
    generator = np.random.default_rng(3)
    scales = [10.0 ** generator.uniform(-6, 3, shape) for shape in SHAPES]
    return [
        [
            (scale * generator.normal(0.3, 1, scale.shape) * (1 + step / 20)).astype(np.float32)
            for scale in scales
        ]
        for step in range(steps)
    ]


def start_weights() -> list[keras.Variable]:
    generator = np.random.default_rng(4)
    return [keras.Variable(generator.normal(0, 0.1, shape).astype(np.float32)) for shape in SHAPES]


def apply(optimizer: keras.optimizers.Optimizer, weights: list[keras.Variable], gradients: Any) -> None:
    optimizer.build(weights)
    step = tf.function(lambda values: optimizer.apply(values, weights), autograph=False)
    for values in gradients:
        step([tf.constant(value) for value in values])


@pytest.mark.parametrize("schedule", [False, True])
@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_a_hundred_steps_end_where_those_of_keras_end(name: str, schedule: bool) -> None:
    rate = TabulatedSchedule(np.linspace(0.02, 0.001, 80)) if schedule else 0.01
    ends = []
    for implementation in ("keras", "fused"):
        weights = start_weights()
        apply(make(name, implementation, rate), weights, draw_gradients(100))  # type: ignore[arg-type]
        ends.append([weight.numpy() for weight in weights])
    for start, one, other in zip(start_weights(), *ends, strict=True):
        size = np.abs(one - start.numpy()).max()
        assert size > 0.01
        assert np.abs(one - other).max() <= 1e-6 * size


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
@pytest.mark.parametrize(("before", "after"), [("keras", "fused"), ("fused", "keras"), ("fused", "fused")])
def test_a_checkpoint_of_either_goes_on_under_the_other(
    name: str, before: Implementation, after: Implementation, tmp_path: Path
) -> None:
    gradients = draw_gradients(20)
    whole = start_weights()
    apply(make(name, "fused"), whole, gradients)

    first, weights = make(name, before), start_weights()
    apply(first, weights, gradients[:10])
    path = tf.train.Checkpoint(optimizer=first, weights=weights).write(str(tmp_path / "state"))
    second, others = make(name, after), start_weights()
    second.build(others)
    status = tf.train.Checkpoint(optimizer=second, weights=others).read(path)
    status.assert_existing_objects_matched()
    assert int(second.iterations) == 10
    apply(second, others, gradients[10:])
    for one, other in zip(whole, others, strict=True):
        if before == after:
            np.testing.assert_array_equal(one.numpy(), other.numpy())
        else:
            np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=1e-5, atol=1e-6)


def test_an_update_is_one_operation_a_weight() -> None:
    weights, optimizer = start_weights(), make("adam", "fused")
    optimizer.build(weights)
    step = tf.function(lambda values: optimizer.apply(values, weights), autograph=False)
    operations = step.get_concrete_function([tf.constant(value) for value in draw_gradients(1)[0]]).graph
    kinds = [operation.type for operation in operations.get_operations()]
    assert kinds.count("ResourceApplyAdam") == len(SHAPES)
    assert "AssignSubVariableOp" not in kinds


REPLICAS = """
import json, sys
import numpy as np, tensorflow as tf, keras
from tpuens.hardware.strategies import open_strategy
from tpuens.training.losses import LossConfig, make_loss
from tpuens.training.optimizers import make_optimizer
from tpuens.training.step import TrainStep, share_among_replicas
strategy = open_strategy(sys.argv[1])
generator = np.random.default_rng(1)
images = tf.constant(generator.integers(0, 256, (12, 8, 8, 1), dtype=np.uint8))
labels = tf.constant(generator.integers(0, 3, 12), tf.int32)
ends = {}
for name, policy in ("adam", "float32"), ("adamw", "float32"), ("sgd", "float32"), ("adam", "mixed_float16"):
    for implementation in "keras", "fused":
        with strategy.scope():
            keras.utils.set_random_seed(3)
            inputs = keras.Input((8, 8, 1), dtype="uint8")
            x = keras.layers.Flatten()(keras.layers.Rescaling(1 / 255, dtype="float32")(inputs))
            x = keras.layers.Dense(16, "elu", dtype=policy)(x)
            model = keras.Model(inputs, keras.layers.Dense(3, dtype="float32")(x))
            optimizer = make_optimizer(
                name, learning_rate=0.001, dtype_policy=policy, implementation=implementation
            )
        step = TrainStep(
            model=model, loss=make_loss(LossConfig()), optimizer=optimizer, strategy=strategy,
            global_batch_size=12,
        )
        batch = share_among_replicas(strategy, (images, labels))
        for _ in range(10):
            step(batch)
        ends[f"{name} {policy} {implementation}"] = np.concatenate(
            [weight.numpy().ravel() for weight in model.trainable_variables]
        ).tolist()
print(json.dumps(ends))
"""


def end_of_replicas(strategy: str) -> dict[str, list[float]]:
    answer = subprocess.run(
        [sys.executable, "-c", REPLICAS, strategy],
        capture_output=True,
        text=True,
        env=os.environ | {"CUDA_VISIBLE_DEVICES": "-1"},
        timeout=120,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    ends: dict[str, list[float]] = json.loads(answer.stdout)
    return ends


def test_gradients_of_two_replicas_are_summed_once_and_float16_is_scaled() -> None:
    one, two = end_of_replicas("cpu"), end_of_replicas("cpu-mirrored:2")
    assert len(two) == 8
    for name in two:
        tolerance = 2e-3 if "float16" in name else 2e-5
        np.testing.assert_allclose(two[name], one[name.replace("fused", "keras")], atol=tolerance)


def make_network() -> keras.Model:
    """Returns convolutions of many kinds, and batch normalisation with and without scale and a frozen one."""
    keras.utils.set_random_seed(0)
    images = keras.Input((8, 8, 3), dtype="uint8")
    x = keras.layers.Conv2D(4, 3)(keras.layers.Rescaling(1 / 255)(images))
    x = keras.layers.ReLU()(keras.layers.BatchNormalization(momentum=0.9)(x))
    x = keras.layers.DepthwiseConv2D(5, strides=2, padding="same", use_bias=False)(x)
    x = keras.layers.DepthwiseConv2D(3, padding="same", use_bias=False)(x)
    x = keras.layers.ZeroPadding2D(((1, 2), (2, 1)))(x)
    x = keras.layers.DepthwiseConv2D(5, strides=2, use_bias=False)(keras.layers.UpSampling2D()(x))
    x = keras.layers.Conv2D(6, 1, strides=2, padding="same")(x)
    x = keras.layers.Conv2D(4, 1, groups=2)(x)
    x = keras.layers.Conv2D(6, 1, use_bias=False, activation="elu")(keras.layers.UpSampling2D()(x))
    x = keras.layers.Conv2D(6, 1, strides=(2, 1))(x)
    x = keras.layers.Conv2D(5, 3, padding="same", activation="swish")(x)
    x = keras.layers.BatchNormalization(scale=False, epsilon=1e-5)(x)
    x = keras.layers.Activation("swish")(x)
    x = keras.layers.BatchNormalization(trainable=False)(keras.layers.Conv2D(5, 3, padding="same")(x))
    x = keras.layers.BatchNormalization()(keras.layers.Flatten()(x))
    return keras.Model(images, keras.layers.Dense(3)(x))


def test_what_our_kernels_train_is_what_keras_trains() -> None:
    generator = np.random.default_rng(1)
    batch = (
        tf.constant(generator.integers(0, 256, (6, 8, 8, 3), dtype=np.uint8)),
        tf.constant(generator.integers(0, 3, 6), tf.int32),
    )
    ends, kinds = [], []
    for kernel in (True, False):
        with ONE.scope():
            step = TrainStep(
                model=make_network(),
                loss=make_loss(LossConfig()),
                optimizer=make_optimizer("sgd", learning_rate=0.01),
                strategy=ONE,
                global_batch_size=6,
            )
        if not kernel:
            step._kernels = contextlib.nullcontext
        for _ in range(10):
            step(batch)
        ends.append([weight.numpy() for weight in step.model.weights])
        operations = step._step.get_concrete_function(batch).graph.get_operations()
        kinds.append([operation.type for operation in operations])
        kinds[-1] += [
            "explicit depthwise"
            for operation in operations
            if operation.type == "DepthwiseConv2dNativeBackpropFilter"
            and operation.get_attr("padding") == b"EXPLICIT"
        ]
    assert [one.count("FusedBatchNormV3") for one in kinds] == [2, 0]
    assert [one.count("FusedBatchNormGradV3") for one in kinds] == [2, 0]
    assert [one.count("explicit depthwise") for one in kinds] == [2, 0]
    assert [one.count("Conv2DBackpropFilter") for one in kinds] == [3, 6]  # three are products of matrices
    for one, other in zip(*ends, strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("size", [(3, 3), (2, 4), (1, 7), (5, 1), (1, 1), (9, 9)])
@pytest.mark.parametrize("strides", [1, (2, 2)])
def test_convolutions_and_their_gradients_are_those_of_keras(
    monkeypatch: pytest.MonkeyPatch, size: tuple[int, int], strides: Any, padding: str
) -> None:
    monkeypatch.setattr(kernels, "_MANY_CHANNELS", 3)
    monkeypatch.setattr(kernels, "_has_avx512", lambda: False)
    layer = keras.layers.Conv2D(5, size, strides=strides, padding=padding, activation="elu")
    generator = np.random.default_rng(0)
    images = tf.constant(generator.normal(size=(2, 9, 10, 3)).astype(np.float32))
    model = keras.Sequential([keras.Input((9, 10, 3)), layer])

    def weights_of(shape: Any) -> Any:
        return tf.reshape(tf.sin(tf.range(shape.num_elements(), dtype=tf.float32)), shape)

    def differentiate() -> list[Any]:
        with tf.GradientTape() as tape:
            tape.watch(images)
            outputs = model(images)
            loss = tf.reduce_sum(outputs * weights_of(outputs.shape))
        return [outputs, *tape.gradient(loss, [images, *model.trainable_weights])]

    expected = differentiate()
    with cpu_kernels(model):
        found = differentiate()
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("channels", "size", "avx512", "own"),
    [(64, 3, False, 1), (64, 3, True, 0), (63, 3, False, 0), (64, 1, False, 0)],
)
def test_the_gradient_of_filters_of_many_channels_is_tensorflows_own_without_avx512(
    monkeypatch: pytest.MonkeyPatch, channels: int, size: int, avx512: bool, own: int
) -> None:
    monkeypatch.setattr(kernels, "_has_avx512", lambda: avx512)
    model = keras.Sequential([keras.Input((4, 4, channels)), keras.layers.Conv2D(64, size, padding="same")])

    @tf.function(autograph=False)
    def differentiate(images: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(model(images))
        return tape.gradient(loss, model.trainable_weights)

    with cpu_kernels(model):
        graph = differentiate.get_concrete_function(tf.TensorSpec((2, 4, 4, channels), tf.float32)).graph
    filters = [one for one in graph.get_operations() if one.type == "Conv2DBackpropFilter"]
    assert sum(one.get_attr("padding") == b"EXPLICIT" for one in filters) == own
    assert len(filters) == (size > 1)


def test_a_model_has_its_own_layers_back_outside_of_the_step() -> None:
    model = make_network()

    def look() -> list[Any]:
        return [
            (layer.call, getattr(layer, "convolution_op", None), layer.get_config()) for layer in model.layers
        ]

    before = look()
    with cpu_kernels(model):
        changes = [(a[0] != b[0], a[1] != b[1]) for a, b in zip(before, look(), strict=True)]
    assert [sum(change) for change in zip(*changes, strict=True)] == [7, 7]
    assert look() == before
