"""EfficientNet-Lite 0, 1 and 2: EfficientNet B0, B1 and B2 made for devices that lack its dearest parts.

What differs from EfficientNet (Tan & Le, arXiv:1905.11946), after the authors' README "EfficientNet-Lite" in
the repository tensorflow/tpu: no squeeze-and-excite, ReLU6 in place of swish, and neither the stem, the
head, nor the repeats of the first and last stage grow with the network. The input is (pixel - 127) / 128,
which the network computes itself. Layers carry the names of the published weights, so that the one maps to
the other by a rule (`_load_published`).
"""

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import keras

from ..errors import WeightsError
from .lite_weights import find_packaged_weights, read_pth

Shape = tuple[int, int, int]
Weights = Literal["imagenet"] | None

_CONVOLUTION_INITIALIZER = {
    "class_name": "VarianceScaling",
    "config": {"scale": 2.0, "mode": "fan_out", "distribution": "truncated_normal"},
}
_BATCH_NORM_EPSILON = 1e-3
# The share of examples whose residual branch is left out in training: 0 at the first block, growing
# linearly towards this past the last.
_DROP_CONNECT = 0.2


@dataclass(frozen=True, kw_only=True)
class _Stage:
    """A row of like blocks; only the first of them strides."""

    kernel_size: int
    repeats: int
    filters: int
    expansion: int
    strides: int


_STAGES = (
    _Stage(kernel_size=3, repeats=1, filters=16, expansion=1, strides=1),
    _Stage(kernel_size=3, repeats=2, filters=24, expansion=6, strides=2),
    _Stage(kernel_size=5, repeats=2, filters=40, expansion=6, strides=2),
    _Stage(kernel_size=3, repeats=3, filters=80, expansion=6, strides=2),
    _Stage(kernel_size=5, repeats=3, filters=112, expansion=6, strides=1),
    _Stage(kernel_size=5, repeats=4, filters=192, expansion=6, strides=2),
    _Stage(kernel_size=3, repeats=1, filters=320, expansion=6, strides=1),
)


@dataclass(frozen=True, kw_only=True)
class _Variant:
    """One network of the family: factors on the filters and the repeats of its stages, and its dropout."""

    name: str
    width: float
    depth: float
    dropout: float


_LITE0 = _Variant(name="efficientnet_lite0", width=1.0, depth=1.0, dropout=0.2)
_LITE1 = _Variant(name="efficientnet_lite1", width=1.0, depth=1.1, dropout=0.2)
_LITE2 = _Variant(name="efficientnet_lite2", width=1.1, depth=1.2, dropout=0.3)


def build_efficientnet_lite0(
    *, input_shape: Shape, include_top: bool = False, weights: Weights = None
) -> keras.Model:
    """Returns EfficientNet-Lite0, made for 224×224; the arguments and errors are those of `_build`."""
    return _build(_LITE0, input_shape, include_top, weights)


def build_efficientnet_lite1(
    *, input_shape: Shape, include_top: bool = False, weights: Weights = None
) -> keras.Model:
    """Returns EfficientNet-Lite1, made for 240×240; the arguments and errors are those of `_build`."""
    return _build(_LITE1, input_shape, include_top, weights)


def build_efficientnet_lite2(
    *, input_shape: Shape, include_top: bool = False, weights: Weights = None
) -> keras.Model:
    """Returns EfficientNet-Lite2, made for 260×260; the arguments and errors are those of `_build`."""
    return _build(_LITE2, input_shape, include_top, weights)


def _build(variant: _Variant, input_shape: Shape, include_top: bool, weights: Weights) -> keras.Model:
    """Returns a network of the family.

    Args:
        variant: Which one.
        input_shape: Height, width, 3. Pixels are 0 to 255.
        include_top: True for logits over ImageNet's 1000 classes, False for the feature map below them:
            1280 channels, height and width divided by 32.
        weights: None for random weights, ``"imagenet"`` for those in the package of the network's name.

    Raises:
        WeightsError: The packaged weights are missing or unreadable.
    """
    images = keras.Input(input_shape)
    x = keras.layers.Rescaling(1 / 128, offset=-127 / 128, dtype="float32", name="rescaling")(images)
    x = _convolution(x, 32, 3, strides=2, name="conv_stem")
    x = _activation(_batch_norm(x, "bn0"), "stem_activation")
    blocks = [
        (stage, stage.strides if repeat == 0 else 1)
        for stage in _scaled_stages(variant)
        for repeat in range(stage.repeats)
    ]
    for index, (stage, strides) in enumerate(blocks):
        x = _block(x, stage, strides, _DROP_CONNECT * index / len(blocks), f"block{index}")
    x = _convolution(x, 1280, 1, strides=1, name="conv_head")
    features = _activation(_batch_norm(x, "bn1"), "head_activation")
    x = keras.layers.GlobalAveragePooling2D(name="pooling")(features)
    x = keras.layers.Dropout(variant.dropout, name="dropout")(x)
    logits = keras.layers.Dense(1000, dtype="float32", name="fc")(x)
    model = keras.Model(images, logits, name=variant.name)
    if weights == "imagenet":
        _load_published(model, find_packaged_weights(variant.name))
    return model if include_top else keras.Model(images, features, name=variant.name)


def _scaled_stages(variant: _Variant) -> list[_Stage]:
    """Returns the stages as one network of the family has them."""
    fixed = (_STAGES[0], _STAGES[-1])
    return [
        _Stage(
            kernel_size=stage.kernel_size,
            repeats=stage.repeats if stage in fixed else math.ceil(variant.depth * stage.repeats),
            filters=_rounded_filters(variant.width * stage.filters),
            expansion=stage.expansion,
            strides=stage.strides,
        )
        for stage in _STAGES
    ]


def _rounded_filters(filters: float) -> int:
    """Returns the nearest multiple of 8, or the next one where that would take away more than a tenth."""
    nearest = max(8, int(filters + 4) // 8 * 8)
    return nearest + 8 if nearest < 0.9 * filters else nearest


def _block(x: Any, stage: _Stage, strides: int, drop_connect: float, name: str) -> Any:
    """Returns the output of one inverted residual block: expand, filter each channel, project."""
    inputs, filters_in = x, x.shape[-1]
    if stage.expansion != 1:
        x = _convolution(x, filters_in * stage.expansion, 1, strides=1, name=f"{name}_expand_conv")
        x = _activation(_batch_norm(x, f"{name}_bn0"), f"{name}_expand_activation")
    x = keras.layers.DepthwiseConv2D(
        stage.kernel_size,
        strides=strides,
        padding="same",
        use_bias=False,
        depthwise_initializer=_CONVOLUTION_INITIALIZER,
        name=f"{name}_depthwise_conv",
    )(x)
    x = _activation(_batch_norm(x, f"{name}_bn1"), f"{name}_activation")
    x = _convolution(x, stage.filters, 1, strides=1, name=f"{name}_project_conv")
    x = _batch_norm(x, f"{name}_bn2")
    if strides != 1 or filters_in != stage.filters:
        return x
    # One decision an example: the branch is dropped as a whole.
    x = keras.layers.Dropout(drop_connect, noise_shape=(None, 1, 1, 1), name=f"{name}_drop")(x)
    return keras.layers.Add(name=f"{name}_add")([x, inputs])


def _convolution(x: Any, filters: int, kernel_size: int, *, strides: int, name: str) -> Any:
    return keras.layers.Conv2D(
        filters,
        kernel_size,
        strides=strides,
        padding="same",
        use_bias=False,
        kernel_initializer=_CONVOLUTION_INITIALIZER,
        name=name,
    )(x)


def _batch_norm(x: Any, name: str) -> Any:
    return keras.layers.BatchNormalization(epsilon=_BATCH_NORM_EPSILON, name=name)(x)


def _activation(x: Any, name: str) -> Any:
    return keras.layers.ReLU(6.0, name=name)(x)


# Keras's name of a variable, to PyTorch's; and how the axes of a kernel go from PyTorch's order to Keras's.
_PUBLISHED_NAMES = {
    "kernel": "weight",
    "bias": "bias",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}


def _load_published(model: keras.Model, path: Path) -> None:
    """Puts the tensors of a published file into a whole network, each of them once.

    Raises:
        WeightsError: The file lacks a tensor, holds one of another shape, or one too many.
    """
    tensors = {
        name: values for name, values in read_pth(path).items() if not name.endswith("num_batches_tracked")
    }
    for layer in model.layers:
        prefix = "_" + re.sub(r"^block(\d+)_", r"blocks.\1._", layer.name)
        for variable in layer.weights:
            name = f"{prefix}.{_PUBLISHED_NAMES[variable.name]}"
            values = tensors.pop(name, None)
            if values is None:
                raise WeightsError(f"The weights file {path} lacks the tensor {name!r} of {model.name}.")
            if values.ndim > 1:
                values = values.transpose(_kernel_axes(layer))
            if values.shape != variable.shape:
                raise WeightsError(
                    f"The weights file {path} does not fit {model.name}: {name!r} should have the shape "
                    f"{tuple(variable.shape)} in Keras's order. Received: {values.shape}"
                )
            variable.assign(values)
    if tensors:
        raise WeightsError(f"{model.name} has no place for these tensors of {path}: {', '.join(tensors)}.")


def _kernel_axes(layer: keras.layers.Layer) -> tuple[int, ...]:
    """Returns PyTorch's axes in the order in which Keras keeps them in the kernel of a layer."""
    if isinstance(layer, keras.layers.Dense):
        return (1, 0)  # out, in -> in, out
    if isinstance(layer, keras.layers.DepthwiseConv2D):
        return (2, 3, 0, 1)  # channel, 1, height, width -> height, width, channel, 1
    return (2, 3, 1, 0)  # out, in, height, width -> height, width, in, out
