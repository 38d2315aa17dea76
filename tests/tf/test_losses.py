"""Losses against Keras's own and against their formulas in NumPy; the learning rate that is looked up."""

import keras
import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf

from tpuens.errors import ConfigurationError
from tpuens.training.losses import LOSSES, LossConfig, make_loss, targets_of
from tpuens.training.optimizers import TabulatedSchedule, check_optimizer, make_optimizer
from tpuens.training.schedules import ScheduleConfig, learning_rates

Array = npt.NDArray[np.float64]

GENERATOR = np.random.default_rng(5)
LOGITS = GENERATOR.normal(scale=3, size=(6, 4)).astype(np.float32)
CLASSES = np.array([0, 1, 2, 3, 1, 0], np.int32)
ONE_HOT = np.eye(4, dtype=np.float32)[CLASSES]
MIXED = (0.7 * ONE_HOT + 0.3 * ONE_HOT[::-1]).astype(np.float32)
MANY = GENERATOR.integers(0, 2, (6, 4)).astype(np.float32)
WEIGHTS = (0.5, 2.0, 1.0, 0.0)


def losses_of(targets: npt.NDArray[np.generic], logits: object = LOGITS, **options: object) -> Array:
    values = make_loss(LossConfig(**options))(tf.constant(targets), tf.constant(logits))  # type: ignore[arg-type]
    assert values.dtype == tf.float32
    return np.asarray(values.numpy(), np.float64)


def log_softmax(logits: npt.NDArray[np.float32]) -> Array:
    x = logits.astype(np.float64)
    return x - np.log(np.exp(x).sum(axis=1, keepdims=True))


def test_the_sparse_and_the_one_hot_loss_are_cross_entropy() -> None:
    expected = -log_softmax(LOGITS)[np.arange(6), CLASSES]
    np.testing.assert_allclose(losses_of(CLASSES), expected, rtol=1e-5)
    np.testing.assert_allclose(losses_of(ONE_HOT, name="categorical_crossentropy"), expected, rtol=1e-5)


def test_label_smoothing_spreads_its_share_over_all_classes() -> None:
    smooth = 0.9 * MIXED + 0.1 / 4
    expected = -(smooth * log_softmax(LOGITS)).sum(axis=1)
    got = losses_of(MIXED, name="categorical_crossentropy", label_smoothing=0.1)
    np.testing.assert_allclose(got, expected, rtol=1e-5)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_focal_loss_is_its_formula_and_keras_own(gamma: float, smoothing: float) -> None:
    options = {"label_smoothing": smoothing, "focal_gamma": gamma, "focal_alpha": 0.25}
    got = losses_of(MIXED, name="categorical_focal", **options)
    log_p = log_softmax(LOGITS)
    smooth = MIXED * (1 - smoothing) + smoothing / 4
    expected = -0.25 * (smooth * (1 - np.exp(log_p)) ** gamma * log_p).sum(axis=1)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-7)
    theirs = keras.losses.categorical_focal_crossentropy(
        MIXED, LOGITS, alpha=0.25, gamma=gamma, from_logits=True, label_smoothing=smoothing
    )
    np.testing.assert_allclose(got, theirs, rtol=1e-3, atol=1e-6)  # which clips at 1e-7


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_the_binary_loss_is_the_mean_over_the_columns_and_keras_own(smoothing: float) -> None:
    got = losses_of(MANY, name="binary_crossentropy", label_smoothing=smoothing)
    p = 1 / (1 + np.exp(-LOGITS.astype(np.float64)))
    smooth = MANY * (1 - smoothing) + smoothing / 2
    expected = -(smooth * np.log(p) + (1 - smooth) * np.log(1 - p)).mean(axis=1)
    np.testing.assert_allclose(got, expected, rtol=1e-5)
    theirs = keras.losses.binary_crossentropy(MANY, LOGITS, from_logits=True, label_smoothing=smoothing)
    np.testing.assert_allclose(got, theirs, rtol=1e-6)


@pytest.mark.parametrize("name", [name for name in LOSSES if name != "binary_crossentropy"])
def test_a_class_weight_multiplies_the_losses_of_its_examples(name: str) -> None:
    targets = CLASSES if targets_of(name) == "index" else ONE_HOT
    expected = losses_of(targets, name=name) * np.array(WEIGHTS)[CLASSES]
    np.testing.assert_allclose(losses_of(targets, name=name, class_weights=WEIGHTS), expected, rtol=1e-5)


def test_a_mixed_target_has_the_mean_of_its_classes_weights() -> None:
    plain = losses_of(MIXED, name="categorical_crossentropy", label_smoothing=0.1)
    got = losses_of(MIXED, name="categorical_crossentropy", label_smoothing=0.1, class_weights=WEIGHTS)
    np.testing.assert_allclose(got, plain * (MIXED @ np.array(WEIGHTS)), rtol=1e-5)


def test_a_class_weight_multiplies_its_column_of_the_binary_loss() -> None:
    single = [
        losses_of(MANY[:, c : c + 1], LOGITS[:, c : c + 1], name="binary_crossentropy") for c in range(4)
    ]
    expected = np.stack(single, axis=1) @ np.array(WEIGHTS) / 4
    got = losses_of(MANY, name="binary_crossentropy", class_weights=WEIGHTS)
    np.testing.assert_allclose(got, expected, rtol=1e-5)


@pytest.mark.parametrize("name", LOSSES)
def test_weights_for_another_number_of_classes_are_refused(name: str) -> None:
    targets = CLASSES if targets_of(name) == "index" else ONE_HOT
    with pytest.raises(ConfigurationError, match=r"each of the 4 classes. Received: 2"):
        losses_of(targets, name=name, class_weights=(1.0, 2.0))


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("name", LOSSES)
def test_huge_logits_give_finite_losses_and_gradients(name: str, jit_compile: bool) -> None:
    logits = tf.Variable([[2e4, -1e4, -2e4], [2e4, -1e4, -2e4], [0.0, 0.0, 17.0]])
    classes = np.array([0, 2, 2], np.int32)
    targets = classes if targets_of(name) == "index" else np.eye(3, dtype=np.float32)[classes]
    loss = make_loss(LossConfig(name=name, focal_gamma=0.5))

    @tf.function(jit_compile=jit_compile, autograph=False)
    def run() -> object:
        with tf.GradientTape() as tape:
            losses = loss(tf.constant(targets), logits)
        return losses, tape.gradient(losses, logits)

    losses, gradients = run()
    assert np.isfinite(losses).all()
    assert np.isfinite(gradients).all()
    assert losses[0].numpy() == pytest.approx(0, abs=1e-6)
    assert losses[1].numpy() > 1e4
    assert np.abs(gradients[1]).sum() > 0.1


@pytest.mark.parametrize("name", LOSSES)
def test_half_precision_logits_are_raised_to_float32(name: str) -> None:
    targets = CLASSES if targets_of(name) == "index" else ONE_HOT
    got = losses_of(targets, LOGITS.astype(np.float16), name=name, class_weights=(1.0, 1.0, 1.0, 1.0))
    np.testing.assert_allclose(got, losses_of(targets, name=name), rtol=1e-2, atol=1e-3)


def test_a_looked_up_rate_follows_the_step_and_stays_at_its_last() -> None:
    schedule = TabulatedSchedule([0.5, 0.25, 0.125])
    assert [float(schedule(tf.constant(step, tf.int64))) for step in (0, 1, 2, 3, 99)] == [
        0.5,
        0.25,
        0.125,
        0.125,
        0.125,
    ]
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(schedule))
    assert isinstance(copy, TabulatedSchedule)
    assert float(copy(1)) == 0.25


def test_an_optimizer_moves_by_the_rate_of_each_step() -> None:
    config = ScheduleConfig(name="warmup-linear", learning_rate=1.0, start_learning_rate=0.5, warmup_epochs=1)
    rates = learning_rates(config, steps=4, steps_per_epoch=2, num_replicas=1, global_batch_size=1)
    optimizer = make_optimizer("sgd", learning_rate=TabulatedSchedule(rates))
    optimizer.momentum = 0.0
    weight = keras.Variable(0.0)
    optimizer.build([weight])
    update = tf.function(lambda: optimizer.apply([tf.constant(-1.0)], [weight]), autograph=False)
    places = [float(weight.value)]
    for _ in range(4):
        update()
        places.append(float(weight.value))
    np.testing.assert_allclose(np.diff(places), [0.5, 0.75, 1.0, 1.0])
    assert float(optimizer.learning_rate) == 1.0


def test_weight_decay_is_adamws_alone() -> None:
    assert make_optimizer("adamw", learning_rate=0.1, weight_decay=0.01).weight_decay == 0.01
    with pytest.raises(ConfigurationError, match="adamw's"):
        check_optimizer("adam", 0.1, 0.01)
    with pytest.raises(ConfigurationError, match="0 or more"):
        check_optimizer("adamw", 0.1, -1.0)
