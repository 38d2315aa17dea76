"""An image classifier in one Keras model: preprocessing, a backbone, a head.

The model takes images as data sets hold them (uint8, 0 to 255), so what a backbone wants of its pixels is
known in one place, and a saved model needs nothing of tpuens to be loaded: it is made of Keras's own layers.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras

from ..errors import ConfigurationError, unknown_name_error
from .backbones import BACKBONES, DTYPE_POLICIES, Backbone, Preprocessing
from .freezing import group_into_blocks
from .pretrained import load_weights

STANDARDISE = "standardise"
# Statistics of a few hundred steps at most are to be had, as a head on features takes.
_STANDARDISE_MOMENTUM = 0.9

_IMAGENET_MEAN = (0.485, 0.456, 0.406)  # of RGB from 0 to 1; keras.applications.imagenet_utils
_IMAGENET_DEVIATION = (0.229, 0.224, 0.225)
_IMAGENET_MEAN_BGR = (103.939, 116.779, 123.68)  # of BGR from 0 to 255; likewise


def build_classifier(
    *,
    backbone: str,
    num_classes: int,
    image_shape: tuple[int, int, int] | None = None,
    weights: str | None = None,
    head_blocks: int = 0,
    dropout: float = 0.2,
    dtype_policy: str = "float32",
) -> keras.Model:
    """Returns a model from a batch of uint8 images to float32 logits of shape (batch, num_classes).

    Its layer ``"backbone"`` is the network, to be frozen by itself, and its layer ``"head"`` the dense one.

    A head on a frozen backbone does better where it sees more than the backbone's last features, which
    know ImageNet's classes and little else [Evci et al. 2022, "Head2Toe", arXiv:2201.03529]: `head_blocks`
    adds what blocks further down put out, pooled, and standardises all of it.

    Args:
        backbone: A name in `BACKBONES`.
        num_classes: How many logits.
        image_shape: Height, width and channels (1 for grey, 3 for RGB); None for RGB at the backbone's own
            size.
        weights: None for random weights; ``"imagenet"`` for published ones in the backbone; else a file:
            ``.weights.h5`` or ``.keras`` saved from a model of the same making, or an ``.h5`` of
            keras.applications without top, for the backbone alone.
        head_blocks: How many of the backbone's last blocks the head sees besides its end.
        dropout: Rate ahead of the head.
        dtype_policy: ``"float32"``, ``"mixed_bfloat16"`` or ``"mixed_float16"``. Preprocessing ahead of the
            backbone, and the head, compute in float32 under each of them.

    Raises:
        ConfigurationError: An argument is out of its range, or unknown.
        WeightsError: The weights cannot be found, fetched or read, or they do not fit.
    """
    row = BACKBONES[backbone]
    image_shape = image_shape or (row.image_size, row.image_size, 3)
    _check_image_shape(row, image_shape)
    if num_classes < 1:
        raise ConfigurationError(f"A classifier has one class or more. Received: num_classes={num_classes}")
    if not 0 <= dropout < 1:
        raise ConfigurationError(f"Dropout is 0 or more and less than 1. Received: dropout={dropout}")
    with _global_dtype_policy(dtype_policy):
        images = keras.Input(image_shape, dtype="uint8", name="images")
        pixels = images
        if image_shape[2] == 1 and not row.takes_grey:
            pixels = keras.layers.Concatenate(dtype="uint8", name="grey_to_rgb")([pixels] * 3)
        pixels = preprocess(pixels, row.preprocessing)
        x = _pool(_build_backbone(row, pixels.shape[1:], head_blocks)(pixels))
        if head_blocks:
            # Features of different depths differ in scale by orders of magnitude.
            x = keras.layers.BatchNormalization(
                center=False, scale=False, momentum=_STANDARDISE_MOMENTUM, dtype="float32", name=STANDARDISE
            )(x)
        x = keras.layers.Dropout(dropout, name="dropout")(x)
        logits = keras.layers.Dense(num_classes, dtype="float32", name="head")(x)
        model = keras.Model(images, logits, name=backbone)
        if weights is not None:
            load_weights(model, row, weights)
    return model


def split_at_head(model: keras.Model) -> tuple[keras.Model, keras.Model]:
    """Returns a classifier in two: from images to features, and from features to logits.

    The two share the layers of the classifier, and so its weights. Features are what the backbone puts out,
    pooled: float (batch, features).
    """
    top = [layer for layer in model.layers if layer.name in (STANDARDISE, "dropout", "head")]
    pooled = top[0].input
    features = x = keras.Input(pooled.shape[1:], dtype=pooled.dtype, name="features")
    for layer in top:
        x = layer(x)
    return keras.Model(model.input, pooled), keras.Model(features, x)


def preprocess(images: Any, mode: Preprocessing) -> Any:
    """Returns uint8 images as float32 pixels, preprocessed in one of `Backbone.preprocessing`'s ways.

    Args:
        images: A Keras tensor of shape (batch, height, width, channels); 3 channels for ``"torch"`` and
            ``"caffe"``.
        mode: What keras.applications' ``preprocess_input`` calls the mode, or ``"none"``.
    """
    scale: float | list[float] = 1.0
    offset: float | list[float] = 0.0
    if mode == "tf":
        scale, offset = 1 / 127.5, -1.0
    elif mode == "torch":
        scale = [1 / (255 * deviation) for deviation in _IMAGENET_DEVIATION]
        offset = [
            -mean / deviation for mean, deviation in zip(_IMAGENET_MEAN, _IMAGENET_DEVIATION, strict=True)
        ]
    elif mode == "caffe":
        images = keras.ops.flip(images, axis=-1)  # RGB to BGR
        offset = [-mean for mean in _IMAGENET_MEAN_BGR]
    return keras.layers.Rescaling(scale, offset=offset, dtype="float32", name="preprocessing")(images)


def _check_image_shape(row: Backbone, image_shape: tuple[int, int, int]) -> None:
    """Raises ConfigurationError where a backbone cannot take images of a shape."""
    if len(image_shape) != 3 or image_shape[2] not in (1, 3):
        raise ConfigurationError(
            "Images have a height, a width, and 1 (grey) or 3 (RGB) channels. "
            f"Received: image_shape={image_shape}"
        )
    if min(image_shape[:2]) < row.min_image_size:
        raise ConfigurationError(
            f"{row.name} takes images of {row.min_image_size}×{row.min_image_size} pixels or more; it was "
            f"made for {row.image_size}×{row.image_size}. Received: image_shape={image_shape}"
        )


def _build_backbone(row: Backbone, input_shape: tuple[int, int, int], head_blocks: int) -> keras.Model:
    """Returns the network that a row names, with random weights, under the name ``"backbone"``.

    Its output is the network's, after those of the blocks that the head sees too.
    """
    options = {"include_top": False, "weights": None} if row.imagenet_weights else {}
    network = row.load()(input_shape=input_shape, **options)
    blocks = group_into_blocks(network)
    if not 0 <= head_blocks < len(blocks):
        raise ConfigurationError(
            f"The head sees at most {len(blocks) - 1} blocks of {row.name} besides its end. "
            f"Received: head_blocks={head_blocks}"
        )
    seen = [block[-1].output for block in blocks[len(blocks) - 1 - head_blocks : -1]]
    # Named in a second step: some networks of keras.applications decide by their name what to build.
    return keras.Model(network.input, [*seen, network.output] if seen else network.output, name="backbone")


def _pool(outputs: Any) -> Any:
    """Returns feature maps as one vector: the mean of each channel, map after map."""
    maps = outputs if isinstance(outputs, list) else [outputs]
    pooled = [
        keras.layers.GlobalAveragePooling2D(name=f"pooling_{index}" if index else "pooling")(x)
        if len(x.shape) == 4
        else x
        for index, x in enumerate(maps)
    ]
    return keras.layers.Concatenate(name="features")(pooled) if len(pooled) > 1 else pooled[0]


@contextmanager
def _global_dtype_policy(name: str) -> Iterator[None]:
    """Sets Keras's global dtype policy for as long as layers are built: not all networks take a dtype."""
    if name not in DTYPE_POLICIES:
        raise unknown_name_error("dtype policy", "dtype_policy", name, DTYPE_POLICIES)
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
