import importlib
import re
import zipfile

import h5py
import keras
import numpy as np
import pytest

from tpuens.errors import ConfigurationError, WeightsError
from tpuens.models.backbones import BACKBONES
from tpuens.models.cifar_cnn import build_cifar_cnn
from tpuens.models.classifier import build_classifier, preprocess

FAST = ("cifar_cnn", "efficientnet_lite0", "mobilenetv2")
OF_KERAS = {name: row for name, row in BACKBONES.items() if row.factory.startswith("keras.applications:")}


def images(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def logits_of(model, batch):
    return np.asarray(model(batch, training=False))


def small_classifier(**changes):
    return build_classifier(
        **{"backbone": "cifar_cnn", "num_classes": 3, "image_shape": (8, 8, 3), **changes}
    )


# The table


def test_every_network_of_keras_applications_has_a_row():
    classes = {name for name in dir(keras.applications) if name[0].isupper()}
    assert {row.load().__name__ for row in OF_KERAS.values()} == classes


@pytest.mark.parametrize("row", OF_KERAS.values(), ids=OF_KERAS)
def test_keras_refuses_images_below_the_least_size(row):
    size = row.min_image_size - 1
    with pytest.raises(ValueError, match=f"at least {row.min_image_size}x{row.min_image_size}"):
        row.load()(include_top=False, weights=None, input_shape=(size, size, 3))


@pytest.mark.parametrize("name", [name for name in OF_KERAS if not name.startswith("mobilenetv3")])
def test_the_image_size_is_the_one_that_keras_was_trained_at(name):
    size = BACKBONES[name].image_size
    with pytest.raises(ValueError, match=re.escape(f"should be ({size}, {size}, 3)")):
        BACKBONES[name].load()(include_top=True, weights="imagenet", input_shape=(1, 1, 3))


@pytest.mark.parametrize("row", OF_KERAS.values(), ids=OF_KERAS)
def test_preprocessing_is_that_of_keras_applications(row):
    module = importlib.import_module("keras.applications." + row.load().__module__.rpartition(".")[2])
    batch = images(2, 4, 5, 3)
    inputs = keras.Input((4, 5, 3), dtype="uint8")
    ours = keras.Model(inputs, preprocess(inputs, row.preprocessing))(batch)
    assert keras.backend.standardize_dtype(ours.dtype) == "float32"
    np.testing.assert_allclose(ours, module.preprocess_input(batch.astype("float32")), rtol=1e-5, atol=1e-5)


# What every backbone must do


@pytest.mark.parametrize(
    "name", [name if name in FAST else pytest.param(name, marks=pytest.mark.slow) for name in BACKBONES]
)
def test_every_backbone_makes_a_classifier_that_can_be_trained_and_saved(name, tmp_path):
    size = BACKBONES[name].min_image_size
    model = build_classifier(backbone=name, num_classes=3, image_shape=(size, size, 3))
    batch = images(2, size, size, 3)
    logits = logits_of(model, batch)
    assert (logits.shape, logits.dtype) == ((2, 3), np.float32)
    assert np.isfinite(logits).all()
    assert model.get_layer("backbone").trainable_weights
    assert model.get_layer("head").kernel.shape[-1] == 3
    model.save(tmp_path / "model.keras")
    with zipfile.ZipFile(tmp_path / "model.keras") as archive:
        assert b"tpuens" not in archive.read("config.json")  # it loads without us
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(logits_of(loaded, batch), logits, rtol=1e-5, atol=1e-6)


def test_a_saved_model_keeps_the_channel_order(tmp_path):
    inputs = keras.Input((4, 5, 3), dtype="uint8")
    model = keras.Model(inputs, preprocess(inputs, "caffe"))
    model.save(tmp_path / "model.keras")
    batch = images(2, 4, 5, 3)
    np.testing.assert_array_equal(keras.saving.load_model(tmp_path / "model.keras")(batch), model(batch))


def test_the_default_is_rgb_at_the_size_of_the_backbone():
    assert build_classifier(backbone="cifar_cnn", num_classes=10).input_shape == (None, 32, 32, 3)


def test_the_backbone_can_be_frozen_by_itself():
    model = small_classifier()
    model.get_layer("backbone").trainable = False
    assert [weight.path for weight in model.trainable_weights] == ["head/kernel", "head/bias"]


def test_grey_images_enter_the_cifar_network_as_they_are():
    model = small_classifier(image_shape=(9, 8, 1))
    assert model.get_layer("backbone").input_shape == (None, 9, 8, 1)
    assert logits_of(model, images(2, 9, 8, 1)).shape == (2, 3)


def test_grey_images_enter_other_networks_as_rgb():
    grey = build_classifier(backbone="efficientnet_lite0", num_classes=3, image_shape=(32, 32, 1))
    rgb = build_classifier(backbone="efficientnet_lite0", num_classes=3, image_shape=(32, 32, 3))
    rgb.set_weights(grey.get_weights())
    batch = images(2, 32, 32, 1)
    np.testing.assert_allclose(logits_of(grey, batch), logits_of(rgb, batch.repeat(3, axis=-1)), rtol=1e-6)


# Dtype policies


def test_mixed_precision_computes_in_bfloat16_between_float32_pixels_and_float32_logits():
    model = small_classifier(dtype_policy="mixed_bfloat16")
    assert model.get_layer("preprocessing").compute_dtype == "float32"
    assert {layer.compute_dtype for layer in model.get_layer("backbone").layers[1:]} == {"bfloat16"}
    assert {weight.dtype for weight in model.weights} == {"float32"}
    assert logits_of(model, images(2, 8, 8, 3)).dtype == np.float32


def test_the_global_dtype_policy_is_as_before_after_building_and_after_failing():
    before = keras.config.dtype_policy()
    small_classifier(dtype_policy="mixed_bfloat16")
    assert keras.config.dtype_policy() == before
    with pytest.raises(WeightsError):
        small_classifier(dtype_policy="mixed_bfloat16", weights="gone.keras")
    assert keras.config.dtype_policy() == before


# What is refused


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"backbone": "resnet153"}, "Did you mean 'resnet152'"),
        ({"image_shape": (8, 7, 3)}, r"8×8 pixels or more; .* Received: image_shape=\(8, 7, 3\)"),
        (
            {"backbone": "inceptionv3", "image_shape": (74, 75, 3)},
            "75×75 pixels or more; .* made for 299×299",
        ),
        ({"image_shape": (8, 8, 4)}, r"1 \(grey\) or 3 \(RGB\) channels"),
        ({"image_shape": (8, 8)}, r"1 \(grey\) or 3 \(RGB\) channels"),
        ({"num_classes": 0}, "one class or more. Received: num_classes=0"),
        ({"dropout": 1.0}, "less than 1. Received: dropout=1.0"),
        ({"dtype_policy": "mixed_float8"}, "Did you mean 'mixed_float16'"),
    ],
)
def test_a_wrong_argument_is_refused_with_what_would_do(changes, message):
    with pytest.raises(ConfigurationError, match=message):
        small_classifier(**changes)


# Weights from files


@pytest.mark.parametrize("suffix", [".weights.h5", ".keras"])
def test_weights_of_a_trained_classifier_are_loaded_from_its_file(suffix, tmp_path):
    trained = small_classifier()
    trained.compile("adam")
    trained.optimizer.build(trained.trainable_variables)  # so that the file holds an optimizer too
    path = tmp_path / f"trained{suffix}"
    trained.save_weights(path) if suffix == ".weights.h5" else trained.save(path)
    loaded = small_classifier(weights=str(path), dropout=0.0)
    batch = images(2, 8, 8, 3, seed=1)
    np.testing.assert_array_equal(logits_of(loaded, batch), logits_of(trained, batch))


@pytest.mark.parametrize("suffix", [".weights.h5", ".keras"])
def test_weights_for_other_classes_are_refused_with_the_shapes_that_differ(suffix, tmp_path):
    model = small_classifier(num_classes=5)
    path = tmp_path / f"five{suffix}"
    model.save_weights(path) if suffix == ".weights.h5" else model.save(path)
    shapes = r"only in the file: \(128, 5\), \(5,\)\. Only in the model: \(128, 3\), \(3,\)"
    with pytest.raises(WeightsError, match=rf"five{suffix} does not fit .*cifar_cnn.*{shapes}"):
        small_classifier(weights=str(path))


def notop_file(network, path):
    """Writes a backbone's weights as keras.applications publishes them: HDF5, layer by layer."""
    network.save(path.with_name("whole.h5"))
    with h5py.File(path.with_name("whole.h5")) as whole, h5py.File(path, "w") as notop:
        for name, group in whole["model_weights"].items():
            whole.copy(group, notop, name)
        notop.attrs.update(whole["model_weights"].attrs)
    return path


def test_a_file_of_keras_without_top_goes_into_the_backbone(tmp_path):
    network = build_cifar_cnn(input_shape=(8, 8, 3))
    network.set_weights([np.full(weight.shape, 0.5) for weight in network.weights])
    model = small_classifier(weights=str(notop_file(network, tmp_path / "cifar_notop.h5")))
    for expected, loaded in zip(network.weights, model.get_layer("backbone").weights, strict=True):
        np.testing.assert_array_equal(loaded, expected)


def test_a_file_of_keras_with_its_top_is_refused(tmp_path):
    path = notop_file(small_classifier(num_classes=5), tmp_path / "cifar.h5")
    with pytest.raises(WeightsError, match=r"does not fit cifar_cnn without top.*file: \(128, 5\), \(5,\)\."):
        small_classifier(weights=str(path))


def test_efficientnet_from_a_published_file_standardises_pixels_as_published(tmp_path):
    # The file holds the standard deviation as the variance; only with weights="imagenet" does Keras add the
    # layer that makes up for it.
    network = keras.applications.EfficientNetB0(include_top=False, weights=None, input_shape=(32, 32, 3))
    mean, deviation = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])
    network.get_layer(index=2).set_weights([mean, deviation, np.int32(0)])
    model = build_classifier(
        backbone="efficientnetb0",
        num_classes=3,
        image_shape=(32, 32, 3),
        weights=str(notop_file(network, tmp_path / "efficientnetb0_notop.h5")),
    )
    backbone = model.get_layer("backbone")
    standardised = keras.Model(backbone.input, backbone.layers[2].output)
    batch = images(2, 32, 32, 3).astype("float32")
    np.testing.assert_allclose(standardised(batch), (batch / 255 - mean) / deviation, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("suffix", [".weights.h5", ".keras", ".h5"])
def test_a_missing_or_broken_file_of_weights_is_named(suffix, tmp_path):
    path = tmp_path / f"some{suffix}"
    with pytest.raises(WeightsError, match=rf"some{suffix} does not exist"):
        small_classifier(weights=str(path))
    path.write_bytes(b"no weights")
    with pytest.raises(WeightsError, match=rf"some{suffix} cannot be read"):
        small_classifier(weights=str(path))


def test_a_zip_archive_without_a_model_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "other.keras", "w") as archive:
        archive.writestr("readme.txt", "no model")
    with pytest.raises(WeightsError, match=r"other\.keras cannot be read: .*model\.weights\.h5"):
        small_classifier(weights=str(tmp_path / "other.keras"))


def test_an_unknown_kind_of_file_is_refused_with_the_kinds_that_would_do():
    with pytest.raises(WeightsError, match=r"\.weights\.h5 or \.keras.* Received: weights='model\.pth'"):
        small_classifier(weights="model.pth")


# ImageNet weights


def test_a_network_without_imagenet_weights_says_so():
    with pytest.raises(WeightsError, match="No ImageNet weights are published for cifar_cnn"):
        small_classifier(weights="imagenet")


def test_a_failed_download_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setattr("keras.src.backend.config.keras_home", lambda: str(tmp_path))  # no cached file
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # nothing listens there
    with pytest.raises(WeightsError, match=r"mobilenetv2 could not be fetched: .*--weights FILE.*lite0"):
        build_classifier(backbone="mobilenetv2", num_classes=3, image_shape=(32, 32, 3), weights="imagenet")
