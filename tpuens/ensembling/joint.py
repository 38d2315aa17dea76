"""Several classifiers as one network, with a weight for each that can be learnt.

It is made of Keras's own layers, so a saved ensemble needs nothing of tpuens to be loaded.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np

from ..errors import ConfigurationError, DataError
from .combine import check_weights

Trainable = Literal["weights", "all", "nothing"]
_WEIGHTS_LAYER = "weights"
# A weight of 0 has no logarithm: the smallest positive normal float32 stands for it.
_LEAST_WEIGHT = float(np.finfo(np.float32).tiny)


def fuse_classifiers(
    members: Sequence[keras.Model],
    *,
    weights: Sequence[float] | None = None,
    trainable: Trainable = "weights",
    activation: Literal["softmax", "sigmoid"] = "softmax",
) -> keras.Model:
    """Returns one model whose probabilities are the weighted mean of its members'.

    It takes uint8 images of the largest of the members' sizes, which it shrinks for the others, and gives
    float32 (batch, classes) that stands wherever a classifier's logits do: log probabilities under softmax,
    the logits of the mean under sigmoid. It computes with logarithms throughout, in float32 under every dtype
    policy, so no probability vanishes. The weights are the softmax of free parameters: they stay on the
    simplex whatever an optimizer does.

    Call it under the strategy's scope that the members were built under; it shares their weights, and what
    it freezes is frozen in them too.

    Args:
        members: Classifiers with logits, of the same number of channels and classes.
        weights: To begin with, one a member, not below 0; they are scaled to sum to 1. None for equal ones.
        trainable: ``"weights"``: the weights, with the members frozen; ``"all"``: both; or ``"nothing"``.
        activation: What makes probabilities of the members' logits.

    Raises:
        ConfigurationError: There are fewer than two members, their channels or classes differ, or the weights
            do not fit.
    """
    shares = check_weights(weights, len(members))
    networks = match_inputs(members)
    images = keras.Input(networks[0].input_shape[1:], dtype="uint8", name="images")
    for network in networks:
        network.trainable = trainable == "all"
    logits = [network(images) for network in networks]
    outputs = _mix(logits, activation, is_trainable=trainable != "nothing")
    model = keras.Model(images, outputs, name="ensemble")
    logarithms = np.log(np.maximum(shares, _LEAST_WEIGHT))
    model.get_layer(_WEIGHTS_LAYER).kernel.assign(logarithms[np.newaxis].astype(np.float32))
    return model


def match_inputs(members: Sequence[keras.Model]) -> list[keras.Model]:
    """Returns the members as they are in a fused model: each takes uint8 images of the largest one's size.

    They share the members' weights, and are named member_0, member_1, …

    Raises:
        ConfigurationError: As `fuse_classifiers` says of members.
    """
    _check(members)
    shapes = [member.input_shape[1:] for member in members]
    largest = (max(shape[0] for shape in shapes), max(shape[1] for shape in shapes), shapes[0][2])
    networks = []
    for index, (member, shape) in enumerate(zip(members, shapes, strict=True)):
        images = keras.Input(largest, dtype="uint8", name="images")
        # Under a name of its own: members of one backbone share theirs.
        networks.append(keras.Model(images, member(_shrink(images, shape)), name=f"member_{index}"))
    return networks


def read_weights(model: keras.Model) -> np.ndarray:
    """Returns the weights of a fused model's members, float64 (members,), summing to 1."""
    logarithms = np.asarray(model.get_layer(_WEIGHTS_LAYER).kernel.numpy()[0], np.float64)
    shares = np.exp(logarithms - logarithms.max())
    return np.asarray(shares / shares.sum())


def export_classifier(
    model: keras.Model, activation: Literal["softmax", "sigmoid"], keras_file: Path, saved_model: Path
) -> None:
    """Writes a model in Keras's format, and as a TensorFlow SavedModel whose signature gives probabilities.

    Each is written whole or not at all. Keras alone, and TensorFlow alone, load them.

    Args:
        model: From uint8 images to logits, built under any strategy.
        activation: What makes probabilities of the logits.
        keras_file: A file that ends in ``.keras``.
        saved_model: A folder that does not exist yet.

    Raises:
        DataError: One of them cannot be written.
    """
    part = keras_file.with_name(f"part-{keras_file.name}")  # Keras goes by the ending
    folder = saved_model.with_name(f"part-{saved_model.name}")
    try:
        model.save(part)
        part.replace(keras_file)
        # As it was written: without the strategy that it was trained under.
        plain = keras.saving.load_model(keras_file, compile=False)
        probabilities = keras.layers.Activation(activation, dtype="float32", name="probabilities")(
            plain.output
        )
        keras.Model(plain.input, probabilities, name=plain.name).export(folder, verbose=False)
        folder.replace(saved_model)
    except OSError as error:
        raise DataError(
            "The model cannot be written: make room or choose another folder. "
            f"Received: {keras_file.parent} ({error.strerror or error})"
        ) from error


def _mix(logits: Sequence[Any], activation: str, *, is_trainable: bool) -> Any:
    stacked = keras.ops.stack([keras.ops.cast(one, "float32") for one in logits], axis=-1)
    # A dense layer fed with ones holds one free parameter a member.
    ones = keras.ops.ones_like(stacked[:, :1, 0])
    shares = keras.layers.Dense(
        len(logits),
        activation="log_softmax",
        use_bias=False,
        kernel_initializer="zeros",
        dtype="float32",
        trainable=is_trainable,
        name=_WEIGHTS_LAYER,
    )(ones)[:, None, :]
    if activation == "softmax":
        return keras.ops.logsumexp(keras.ops.log_softmax(stacked, axis=1) + shares, axis=-1)
    yes = keras.ops.logsumexp(keras.ops.log_sigmoid(stacked) + shares, axis=-1)
    no = keras.ops.logsumexp(keras.ops.log_sigmoid(-stacked) + shares, axis=-1)
    return yes - no


def _shrink(images: Any, shape: tuple[int, int, int]) -> Any:
    """Returns uint8 images at a member's size, by bilinear interpolation and, from a factor of 2, means.

    It takes operations that XLA has, for TPUs: the filter that widens with the shrinking is none of them. And
    no layer: Keras's own for resizing puts whatever follows it into training mode.
    """
    height, width = images.shape[1:3]
    if (height, width) == shape[:2]:
        return images
    factor = max(1, min(height // shape[0], width // shape[1]))
    pixels = keras.ops.cast(images, "float32")
    pixels = keras.ops.image.resize(pixels, (shape[0] * factor, shape[1] * factor))
    pixels = keras.ops.average_pool(pixels, factor)
    return keras.ops.cast(keras.ops.round(pixels), "uint8")


def _check(members: Sequence[keras.Model]) -> None:
    kinds = sorted({f"{member.input_shape[-1]} -> {member.output_shape[-1]}" for member in members})
    if len(members) < 2 or len(kinds) > 1:
        raise ConfigurationError(
            "An ensemble in one network has at least two members, of one number of channels and of classes. "
            f"Received: {len(members)} members with channels -> classes of {'; '.join(kinds)}"
        )
