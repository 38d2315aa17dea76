"""Which layers of a classifier train: its head alone, the top of its backbone, or all."""

import re
from collections.abc import Iterator

import keras

from ..errors import ConfigurationError

# How the networks name the layers of one block: block7a_dwconv, block15_project_conv, block_16_expand,
# conv5_block3_1_conv, block35_10_mixed, mixed10, convnext_tiny_stage_3_block_2_layernorm, conv_pw_13_bn, …
_BLOCK_NAMES = re.compile(
    r"(stage_\d+_block_\d+"  # ConvNeXt
    r"|conv\d+_block\d+"  # ResNet, DenseNet
    r"|block_?\d+(?:[a-z]|_\d+)?(?=_|$)"  # EfficientNet, MobileNetV2, Inception-ResNet, Xception, VGG
    r"|mixed_?\d+[a-z]?$"  # Inception; its mixed9_1 is a part of mixed10
    r"|expanded_conv_\d+)"  # MobileNetV3
    r"|conv_(?:pad|dw|pw)_(\d+)"  # MobileNet
)


def check_trainable(trainable: str) -> None:
    """Refuses what `freeze` would not understand.

    Raises:
        ConfigurationError: It is none of "head", "all" and "top:N" with N of 1 or more.
    """
    if not re.fullmatch(r"head|all|top:0*[1-9]\d*", trainable):
        raise ConfigurationError(
            "What trains is 'head', 'all', or 'top:N': the head and the last N blocks of the backbone. "
            f"Received: trainable={trainable!r}"
        )


def freeze(model: keras.Model, trainable: str, *, freeze_batch_norm: bool) -> None:
    """Sets which layers train; what an earlier call froze, this one may free.

    A frozen batch normalisation computes with its moving statistics and leaves them as they are; dropout
    stays at work in frozen layers. Make the optimizer and the training step afterwards: both take what is
    trainable when they are made.

    Args:
        model: A classifier with a layer ``"backbone"``, from `tpuens.models.classifier.build_classifier`; or
            a model of several of them.
        trainable: ``"head"``, all but the backbone; ``"all"``; or ``"top:N"``, the head and the backbone's
            last N blocks with what follows them, as the networks name their blocks. In networks that name
            none (cifar_cnn, NASNet) a block is one layer with weights, and the batch normalisation after it.
        freeze_batch_norm: Freeze every batch normalisation of the backbone.

    Raises:
        ConfigurationError: There is no backbone, it has fewer blocks, or `trainable` is something else.
    """
    check_trainable(trainable)
    backbones = list(_find_backbones(model))
    if not backbones:
        raise ConfigurationError(
            f"Only classifiers with a layer 'backbone' can be frozen in part. Received: model {model.name!r}"
        )
    frozen: list[keras.Layer] = []
    if trainable == "head":
        frozen += backbones
    elif trainable != "all":
        count = int(trainable.removeprefix("top:"))
        frozen += [layer for backbone in backbones for layer in _layers_below(backbone, count)]
    if freeze_batch_norm:
        normalisations = keras.layers.BatchNormalization
        layers = (layer for backbone in backbones for layer in leaf_layers(backbone))
        frozen += [layer for layer in layers if isinstance(layer, normalisations)]
    _free(model)
    for layer in frozen:
        layer.trainable = False


def leaf_layers(model: keras.Model) -> Iterator[keras.Layer]:
    """Yields the layers of a model, and of the models in it, in their order; not those models themselves."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from leaf_layers(layer)
        else:
            yield layer


def _free(model: keras.Model) -> None:
    # One by one: Keras passes it on to the layers of a model only where the model's own value changes.
    model.trainable = True
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            _free(layer)
        else:
            layer.trainable = True


def _find_backbones(model: keras.Model) -> Iterator[keras.Model]:
    for layer in model.layers:
        if layer.name == "backbone":
            yield layer
        elif isinstance(layer, keras.Model):
            yield from _find_backbones(layer)


def _layers_below(backbone: keras.Model, count: int) -> list[keras.Layer]:
    """Returns the layers ahead of the last `count` blocks."""
    blocks = group_into_blocks(backbone)
    if count > len(blocks):
        raise ConfigurationError(
            f"This backbone has {len(blocks)} blocks: choose fewer, or 'all'. Received: 'top:{count}'"
        )
    return [layer for block in blocks[: len(blocks) - count] for layer in block]


def group_into_blocks(backbone: keras.Model) -> list[list[keras.Layer]]:
    """Returns the layers of a backbone, block by block.

    Layers without a block's name go with the block that they lead into, those at the end with the last:
    Inception names the layer that ends a block, others all of a block but its side branch.
    """
    layers = list(leaf_layers(backbone))
    matches = [_BLOCK_NAMES.search(layer.name) for layer in layers]
    if not any(matches):
        return _group_by_weights(layers)
    blocks: dict[str, list[keras.Layer]] = {}
    waiting: list[keras.Layer] = []
    for layer, match in zip(layers, matches, strict=True):
        waiting.append(layer)
        if match is not None:
            blocks.setdefault(match[1] or match[2], []).extend(waiting)
            waiting = []
    grouped = list(blocks.values())
    grouped[-1].extend(waiting)
    return grouped


def _group_by_weights(layers: list[keras.Layer]) -> list[list[keras.Layer]]:
    """Returns the layers in groups that each begin with weights other than a batch normalisation's."""
    grouped: list[list[keras.Layer]] = [[]]
    begun = False
    for layer in layers:
        if layer.weights and not isinstance(layer, keras.layers.BatchNormalization):
            if begun:
                grouped.append([])
            begun = True
        grouped[-1].append(layer)
    return grouped
