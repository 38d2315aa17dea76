"""Several classifiers as one network: what it says, what it learns, and that it needs nothing of ours."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tpuens.data.examples import ArrayImages, Examples
from tpuens.ensembling.joint import export_classifier, fuse_classifiers, read_weights
from tpuens.errors import ConfigurationError, DataError, WeightsError
from tpuens.evaluation.metrics import score_predictions
from tpuens.evaluation.predictions import label_predictions, load_predictions, save_predictions
from tpuens.recipes.config import TrainConfig
from tpuens.recipes.fuse import fuse_runs
from tpuens.recipes.parts import load_parts
from tpuens.recipes.run_folder import RunFolder
from tpuens.training.losses import LossConfig, make_loss
from tpuens.training.optimizers import make_optimizer
from tpuens.training.step import TrainStep

ONE = tf.distribute.OneDeviceStrategy("/cpu:0")
IMAGES = np.random.default_rng(1).integers(0, 256, (24, 12, 12, 1), dtype=np.uint8)


def make_member(
    seed: int, *, size: int = 12, channels: int = 1, classes: int = 3, policy: str = "float32"
) -> keras.Model:
    keras.utils.set_random_seed(seed)
    with ONE.scope():
        images = keras.Input((size, size, channels), dtype="uint8", name="images")
        features = keras.Sequential(
            [keras.layers.Flatten(), keras.layers.Dense(8, "elu", dtype=policy), keras.layers.Dropout(0.5)],
            name="backbone",
        )
        x = features(keras.layers.Rescaling(1 / 64, offset=-2.0, dtype="float32")(images))
        logits = keras.layers.Dense(classes, dtype="float32", name="head")(x)
        return keras.Model(images, logits, name="small")


def make_step(model: keras.Model, *, learning_rate: float = 0.05) -> TrainStep:
    with ONE.scope():
        return TrainStep(
            model=model,
            loss=make_loss(LossConfig()),
            optimizer=make_optimizer("adam", learning_rate=learning_rate),
            strategy=ONE,
            global_batch_size=len(IMAGES),
        )


def values_of(model: keras.Model) -> list[np.ndarray]:
    return [variable.numpy() for variable in model.weights]


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_it_gives_the_weighted_mean_of_its_members_each_at_its_own_size(activation: Any) -> None:
    members = [make_member(0), make_member(1, size=8), make_member(2, size=3)]
    fused = fuse_classifiers(members, weights=[1, 2, 5], activation=activation)
    probabilities = getattr(tf.nn, activation)
    middle = np.round(tf.image.resize(IMAGES, (8, 8))).astype(np.uint8)
    small = np.round(IMAGES.reshape(-1, 3, 4, 3, 4, 1).mean((2, 4))).astype(np.uint8)
    rows = [probabilities(m(i)) for m, i in zip(members, (IMAGES, middle, small), strict=True)]
    expected = np.average(rows, axis=0, weights=[1, 2, 5])
    assert fused.input_shape == (None, 12, 12, 1)
    np.testing.assert_allclose(probabilities(fused(IMAGES)), expected, atol=1e-6)
    np.testing.assert_allclose(read_weights(fused), [0.125, 0.25, 0.625], rtol=1e-6)


def test_it_compiles_with_xla() -> None:
    fused = fuse_classifiers([make_member(0), make_member(1, size=5)])
    compiled = tf.function(lambda images: fused(images, training=False), jit_compile=True, autograph=False)
    np.testing.assert_allclose(compiled(tf.constant(IMAGES)), fused(IMAGES), atol=1e-5)


def test_learnt_weights_move_to_the_better_member_and_stay_on_the_simplex() -> None:
    members = [make_member(0), make_member(1)]
    labels = tf.argmax(members[0](IMAGES), -1, tf.int32)  # so the first is always right
    with ONE.scope():
        fused = fuse_classifiers(members)
    before = [values_of(member) for member in members]
    step = make_step(fused)
    for _ in range(60):
        step((tf.constant(IMAGES), labels))
    weights = read_weights(fused)
    assert weights[0] > 0.8
    assert weights.min() > 0
    assert weights.sum() == pytest.approx(1)
    for member, values in zip(members, before, strict=True):
        for now, then in zip(values_of(member), values, strict=True):
            np.testing.assert_array_equal(now, then)


def test_training_all_changes_every_member_and_the_weights() -> None:
    members = [make_member(0), make_member(1)]
    with ONE.scope():
        fused = fuse_classifiers(members, trainable="all")
    before = [variable.numpy() for variable in fused.trainable_variables]
    assert len(before) == 9
    step = make_step(fused)
    step((tf.constant(IMAGES), tf.zeros(len(IMAGES), tf.int32)))
    for now, then in zip(fused.trainable_variables, before, strict=True):
        assert (now.numpy() != then).any(), now.path


def test_nothing_to_train_leaves_no_free_parameter() -> None:
    assert fuse_classifiers([make_member(0), make_member(1)], trainable="nothing").trainable_variables == []


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_under_a_mixed_policy_it_computes_in_float32(policy: str) -> None:
    members = [make_member(0, policy=policy), make_member(1, policy=policy)]
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        fused = fuse_classifiers(members)
    finally:
        keras.config.set_dtype_policy(before)
    logs = fused(IMAGES)
    assert logs.dtype == tf.float32
    np.testing.assert_allclose(tf.reduce_sum(tf.exp(logs), -1), 1, atol=1e-6)
    mean = np.mean([tf.nn.softmax(member(IMAGES)) for member in members], axis=0)
    np.testing.assert_allclose(tf.exp(logs), mean, atol=1e-6)


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_a_member_that_is_dead_certain_and_a_weight_of_nothing_leave_everything_finite(
    activation: Any,
) -> None:
    members = [make_member(0), make_member(1)]
    members[0].get_layer("head").bias.assign([1e4, -1e4, 0])
    fused = fuse_classifiers(members, weights=[1, 0], activation=activation)
    with tf.GradientTape() as tape:
        logits = fused(IMAGES)
        total = tf.reduce_sum(logits)
    (gradient,) = tape.gradient(total, [variable.value for variable in fused.trainable_variables])
    assert np.isfinite(logits).all()
    assert np.isfinite(gradient).all()
    assert read_weights(fused).tolist() == pytest.approx([1, 0])


@pytest.mark.parametrize(
    ("others", "options", "message"),
    [
        ([], {}, "at least two"),
        ([{"channels": 3}], {}, "one number of channels"),
        ([{"classes": 4}], {}, "1 -> 4"),
        ([{}], {"weights": [1, 2, 3]}, "one weight for each"),
        ([{}], {"weights": [1, -1]}, "not below 0"),
    ],
)
def test_members_that_do_not_go_together_are_refused(
    others: list[dict[str, Any]], options: dict[str, Any], message: str
) -> None:
    members = [make_member(0), *(make_member(1, **other) for other in others)]
    with pytest.raises(ConfigurationError, match=message):
        fuse_classifiers(members, **options)


RELOAD = """
import sys, keras, numpy as np
model = keras.saving.load_model(sys.argv[1])
assert "tpuens" not in sys.modules
np.save(sys.argv[3], np.exp(model.predict(np.load(sys.argv[2]), verbose=0)))
"""


def test_keras_alone_and_tensorflow_alone_load_what_was_exported(tmp_path: Path) -> None:
    fused = fuse_classifiers([make_member(0), make_member(1, size=8)], weights=[1, 3])
    export_classifier(fused, "softmax", tmp_path / "ensemble.keras", tmp_path / "saved_model")
    expected = np.exp(fused(IMAGES))
    np.save(tmp_path / "images.npy", IMAGES)
    files = ["ensemble.keras", "images.npy", "answer.npy"]
    # In another folder, where no tpuens can be imported.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run([sys.executable, "-c", RELOAD, *files], check=True, cwd=tmp_path, env=environment)
    np.testing.assert_allclose(np.load(tmp_path / "answer.npy"), expected, atol=1e-6)

    signature = tf.saved_model.load(tmp_path / "saved_model").signatures["serving_default"]
    (argument,) = signature.structured_input_signature[1].values()
    assert argument.dtype == tf.uint8
    (served,) = signature(tf.constant(IMAGES)).values()
    np.testing.assert_allclose(served, expected, atol=1e-6)
    assert sorted(path.name for path in tmp_path.glob("*part*")) == []


MIRRORED = """
import json
import numpy as np, tensorflow as tf, keras
from tpuens.ensembling.joint import fuse_classifiers, read_weights
from tpuens.hardware.strategies import open_strategy
from tpuens.training.losses import LossConfig, make_loss
from tpuens.training.optimizers import make_optimizer
from tpuens.training.step import TrainStep, share_among_replicas
def train(strategy):
    with strategy.scope():
        keras.utils.set_random_seed(3)
        members = []
        for size in (8, 5):
            images = keras.Input((size, size, 1), dtype="uint8")
            x = keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(images))
            members.append(keras.Model(images, keras.layers.Dense(3)(x)))
        fused = fuse_classifiers(members, weights=[1, 4], trainable="all")
        optimizer = make_optimizer("sgd", learning_rate=0.5)
    step = TrainStep(model=fused, loss=make_loss(LossConfig()), optimizer=optimizer, strategy=strategy,
                     global_batch_size=12)
    generator = np.random.default_rng(1)
    images = tf.constant(generator.integers(0, 256, (12, 8, 8, 1), dtype=np.uint8))
    labels = tf.constant(generator.integers(0, 3, 12), tf.int32)
    batch = share_among_replicas(strategy, (images, labels))
    for _ in range(10):
        step(batch)
    return [*read_weights(fused).tolist(), step.fence() / strategy.num_replicas_in_sync]
print(json.dumps([train(open_strategy("cpu-mirrored:2")), train(open_strategy("cpu"))]))
"""


def test_two_replicas_learn_the_same_weights_as_one() -> None:
    answer = subprocess.run([sys.executable, "-c", MIRRORED], capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    two, one = json.loads(answer.stdout)
    assert one[0] != pytest.approx(0.2, abs=1e-3)
    assert two == pytest.approx(one, rel=1e-4)


CONFIG = TrainConfig(dataset="digits", image_size=12, colour="grey", strategy="cpu", cache="none")


def pixels_of(examples: Examples, size: int) -> np.ndarray:
    assert isinstance(examples.images, ArrayImages)
    resized = tf.image.resize(examples.images.pixels, (size, size), antialias=True)
    return np.asarray(np.round(resized), np.uint8)


def write_run(path: Path, config: TrainConfig, model: keras.Model) -> Path:
    """Leaves what a finished run would, without training one."""
    folder = RunFolder(path)
    folder.create()
    parts, _ = load_parts(config)
    (path / "config.json").write_text(config.as_json())
    folder.write_split({name: part.ids.tolist() for name, part in parts.items()} | {"skipped": []})
    folder.write_model(model)
    for part in ("validation", "test"):
        probabilities = tf.nn.softmax(model(pixels_of(parts[part], model.input_shape[1]))).numpy()
        save_predictions(folder.predictions(part), label_predictions(parts[part], probabilities, path.name))
    return path


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two finished runs, of which the first knows more."""
    folder = tmp_path_factory.mktemp("runs")
    train = load_parts(CONFIG)[0]["train"]
    finished = []
    for seed, (name, size, steps) in enumerate((("better", 12, 100), ("worse", 10, 200))):
        model = make_member(seed, size=size, classes=10)
        step = make_step(model, learning_rate=0.02)
        images, labels = pixels_of(train, size), train.known_labels.astype(np.int32)
        for start in range(steps):
            batch = np.arange(128 * start, 128 * start + 128) % len(train)
            step((tf.constant(images[batch]), tf.constant(labels[batch])))
        finished.append(write_run(folder / name, replace(CONFIG, image_size=size), model))
    return finished


def test_runs_become_one_network_whose_weights_come_from_the_validation_part(
    runs: list[Path], tmp_path: Path
) -> None:
    summary = fuse_runs(runs, tmp_path / "fused", strategy="cpu")
    assert list(summary.weights) == ["better", "worse"]
    assert 0.5 < summary.weights["better"] < 0.999
    assert "validation part" in summary.origin
    assert "cross-fitted" in summary.origin
    scores = summary.scores["validation"]
    fitted = score_predictions(load_predictions(tmp_path / "fused" / "predictions" / "validation.npz"))
    assert fitted.log_loss <= scores["better"].log_loss + 1e-6
    assert fitted.log_loss < scores["ensemble"].log_loss - 1e-6  # of fits that did not see what they scored
    assert scores["ensemble"].log_loss < scores["better"].log_loss
    written = json.loads((tmp_path / "fused" / "fuse.json").read_text())
    assert written["weights"] == summary.weights
    assert set(written["scores"]["test"]) == {"better", "worse", "ensemble"}
    metrics = json.loads((tmp_path / "fused" / "metrics.json").read_text())
    assert metrics["test"] == summary.scores["test"]["ensemble"].as_dict()
    assert len(load_predictions(tmp_path / "fused" / "predictions" / "test.npz")) == 360
    assert (tmp_path / "fused" / "ensemble.keras").exists()
    assert (tmp_path / "fused" / "saved_model" / "saved_model.pb").exists()
    assert not (tmp_path / "fused" / "history.csv").exists()


def test_training_all_of_it_goes_on_from_the_given_weights(runs: list[Path], tmp_path: Path) -> None:
    summary = fuse_runs(
        runs,
        tmp_path / "fused",
        train="all",
        weights=[1, 1],
        epochs=1,
        learning_rate=1e-2,
        batch_size=64,
        strategy="cpu",
    )
    assert summary.weights["better"] != pytest.approx(0.5, abs=1e-3)
    assert summary.origin.startswith("given, then trained on the training part")
    assert summary.scores["test"]["ensemble"].top_1_accuracy > 0.85
    before = keras.saving.load_model(runs[0] / "model.keras").trainable_variables
    after = keras.saving.load_model(tmp_path / "fused" / "ensemble.keras").trainable_variables
    shared = [other for other in after if other.shape == before[0].shape]
    assert shared
    assert all((other.numpy() != before[0].numpy()).all() for other in shared)
    (row,) = RunFolder(tmp_path / "fused").read_history()
    assert float(row["validation_log_loss"]) == pytest.approx(
        summary.scores["validation"]["ensemble"].log_loss
    )


def test_runs_that_do_not_go_together_are_refused(runs: list[Path], tmp_path: Path) -> None:
    other = replace(CONFIG, split=replace(CONFIG.split, seed=1))
    elsewhere = write_run(tmp_path / "elsewhere", other, make_member(1, classes=10))
    with pytest.raises(DataError, match=r"share their split.*train parts differ"):
        fuse_runs([runs[0], elsewhere], tmp_path / "fused")
    (tmp_path / "elsewhere" / "config.json").write_text(replace(CONFIG, colour="rgb").as_json())
    with pytest.raises(ConfigurationError, match="share their colour"):
        fuse_runs([runs[0], elsewhere], tmp_path / "fused")
    with pytest.raises(ConfigurationError, match="given or fitted"):
        fuse_runs(runs, tmp_path / "fused", train="weights", weights=[1, 1])
    with pytest.raises(ConfigurationError, match="one weight for each of 2 members"):
        fuse_runs(runs, tmp_path / "fused", weights=[1])
    with pytest.raises(ConfigurationError, match="Did you mean 'weights'"):
        fuse_runs(runs, tmp_path / "fused", train="weight")  # type: ignore[arg-type]
    assert not (tmp_path / "fused").exists()


def test_a_run_that_has_not_finished_is_named_with_the_way_to_go_on(runs: list[Path], tmp_path: Path) -> None:
    unfinished = write_run(tmp_path / "unfinished", CONFIG, make_member(1, classes=10))
    (unfinished / "model.keras").unlink()
    with pytest.raises(WeightsError, match=r"--resume .*unfinished"):
        fuse_runs([runs[0], unfinished], tmp_path / "fused", strategy="cpu")
