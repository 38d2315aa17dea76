"""What trains and what is frozen, in the networks of the recipes and in one of several classifiers."""

import keras
import numpy as np
import pytest

from tpuens.errors import ConfigurationError
from tpuens.models.classifier import build_classifier
from tpuens.models.freezing import freeze, leaf_layers

# Per network: the names (of layers with weights) that its last two blocks begin with, and the last that is
# frozen under top:2.
TOPS = {
    "efficientnetb0": (("block6d", "block7a", "top"), "block6c_project_bn"),
    "resnet50v2": (("conv5_block2", "conv5_block3", "post"), "conv5_block1_3_conv"),
    "densenet121": (("conv5_block15", "conv5_block16", "bn"), "conv5_block14_2_conv"),
    "efficientnet_lite0": (("block14", "block15", "conv_head", "bn1"), "block13_bn2"),
}


def build(backbone: str, size: int = 32) -> keras.Model:
    return build_classifier(backbone=backbone, num_classes=3, image_shape=(size, size, 3))


def split_by_training(model: keras.Model) -> tuple[list[str], list[str]]:
    """Returns the names of the backbone's layers with weights: those that train, and those that do not."""
    layers = [layer for layer in leaf_layers(model.get_layer("backbone")) if layer.weights]
    names: tuple[list[str], list[str]] = ([], [])
    for layer in layers:
        names[0 if layer.trainable else 1].append(layer.name)
    return names


def is_batch_norm(layer: keras.layers.Layer) -> bool:
    return isinstance(layer, keras.layers.BatchNormalization)


@pytest.mark.parametrize(
    "backbone",
    [pytest.param(name, marks=pytest.mark.slow) if name == "densenet121" else name for name in TOPS],
)
def test_the_top_is_the_last_blocks_as_the_network_names_them(backbone: str) -> None:
    model = build(backbone)
    freeze(model, "top:2", freeze_batch_norm=False)
    trained, frozen = split_by_training(model)
    begins, last_frozen = TOPS[backbone]
    assert all(name.startswith(begins) for name in trained)
    assert not [name for name in frozen if name.startswith(begins[:2])]
    assert all(any(name.startswith(begin) for name in trained) for begin in begins)
    assert frozen[-1] == last_frozen
    assert [variable.path for variable in model.trainable_variables[-2:]] == ["head/kernel", "head/bias"]


def test_inceptions_unnamed_layers_belong_to_the_block_that_they_lead_into() -> None:
    model = build("inceptionresnetv2", 75)
    freeze(model, "top:1", freeze_batch_norm=False)
    trained, frozen = split_by_training(model)
    # One block of the last stage: two branches of one and three convolutions, named by number alone, and
    # the one that joins them; then what ends the network.
    kinds = [name.rstrip("0123456789").rstrip("_") for name in trained]
    assert kinds.count("conv2d") == kinds.count("batch_normalization") == 4
    assert [name for name in trained if "conv2d" not in name and "batch" not in name] == [
        "block8_10_conv",
        "conv_7b",
        "conv_7b_bn",
    ]
    assert frozen[-1] == "block8_9_conv"


def test_without_block_names_a_block_is_a_layer_with_what_follows_it() -> None:
    model = build("cifar_cnn")
    freeze(model, "top:2", freeze_batch_norm=False)
    trained, frozen = split_by_training(model)
    kinds = [name.rstrip("0123456789").rstrip("_") for name in trained]
    assert kinds == ["conv2d", "batch_normalization", "dense", "batch_normalization"]
    assert len(frozen) == 10


def test_the_head_alone_leaves_the_backbone_as_it_is_in_inference() -> None:
    model = build("cifar_cnn")
    freeze(model, "head", freeze_batch_norm=False)
    assert [variable.path for variable in model.trainable_variables] == ["head/kernel", "head/bias"]
    moving = {variable.path: variable.numpy() for variable in model.get_layer("backbone").weights}
    model(np.zeros((2, 32, 32, 3), np.uint8), training=True)
    for variable in model.get_layer("backbone").weights:
        np.testing.assert_array_equal(variable.numpy(), moving[variable.path])


@pytest.mark.parametrize("trainable", ["all", "top:3"])
def test_frozen_batch_norm_stays_in_inference_where_other_layers_train(trainable: str) -> None:
    model = build("cifar_cnn")
    freeze(model, trainable, freeze_batch_norm=True)
    trained, _ = split_by_training(model)
    assert trained
    assert not any("batch_normalization" in name for name in trained)
    assert not [path for path in (v.path for v in model.trainable_variables) if "gamma" in path]
    layers = [layer for layer in leaf_layers(model) if is_batch_norm(layer)]
    before = [value for layer in layers for value in layer.get_weights()]
    model(np.full((2, 32, 32, 3), 200, np.uint8), training=True)
    after = [value for layer in layers for value in layer.get_weights()]
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one, other)


def test_all_frees_whatever_was_frozen() -> None:
    model = build("cifar_cnn")
    before = [variable.path for variable in model.trainable_variables]
    for trainable in ("head", "top:1", "all"):
        freeze(model, trainable, freeze_batch_norm=True)
    freeze(model, "all", freeze_batch_norm=False)
    assert [variable.path for variable in model.trainable_variables] == before


def test_every_backbone_in_a_model_of_several_is_frozen() -> None:
    members = [build("cifar_cnn"), build("cifar_cnn")]
    images = keras.Input((32, 32, 3), dtype="uint8")
    wrapped = [keras.Sequential([member], name=f"member_{i}") for i, member in enumerate(members)]
    ensemble = keras.Model(images, keras.layers.Average()([member(images) for member in wrapped]))
    freeze(ensemble, "head", freeze_batch_norm=True)
    assert len(ensemble.trainable_variables) == 4
    freeze(ensemble, "top:1", freeze_batch_norm=True)
    assert len(ensemble.trainable_variables) == 8
    assert not [layer for layer in leaf_layers(ensemble) if is_batch_norm(layer) and layer.trainable]


@pytest.mark.parametrize("trainable", ["", "tail", "top", "top:", "top:0", "top:-1", "top:two", "top:1.5"])
def test_what_names_no_part_of_a_model_is_refused(trainable: str) -> None:
    with pytest.raises(ConfigurationError, match="'head', 'all', or 'top:N'"):
        freeze(build("cifar_cnn"), trainable, freeze_batch_norm=False)


def test_more_blocks_than_there_are_are_refused_and_nothing_is_frozen() -> None:
    model = build("cifar_cnn")
    count = len(model.trainable_variables)
    with pytest.raises(ConfigurationError, match=r"has 7 blocks.*top:8"):
        freeze(model, "top:8", freeze_batch_norm=True)
    assert len(model.trainable_variables) == count


def test_a_model_without_a_backbone_is_refused() -> None:
    images = keras.Input((4,))
    with pytest.raises(ConfigurationError, match="layer 'backbone'"):
        freeze(keras.Model(images, keras.layers.Dense(2)(images)), "head", freeze_batch_norm=False)


def test_a_branch_of_inceptions_last_block_is_not_a_block_of_its_own() -> None:
    pixels = x = keras.Input((4,))
    for name in ("before", "mixed9", "branch", "mixed9_1", "mixed10"):
        x = keras.layers.Dense(4, name=name)(x)
    backbone = keras.Model(pixels, x, name="backbone")
    images = keras.Input((4,))
    model = keras.Model(images, keras.layers.Dense(2, name="head")(backbone(images)))
    freeze(model, "top:1", freeze_batch_norm=False)
    assert split_by_training(model) == (["branch", "mixed9_1", "mixed10"], ["before", "mixed9"])
