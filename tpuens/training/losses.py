"""Losses by name."""

import keras

from ..errors import unknown_name_error

LOSSES = ("sparse_categorical_crossentropy",)


def make_loss(name: str) -> keras.losses.Loss:
    """Returns the loss of that name, from logits and without reduction: (labels, logits) -> (batch,).

    Raises:
        ConfigurationError: The name is unknown.
    """
    if name not in LOSSES:
        raise unknown_name_error("loss", "loss", name, LOSSES)
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction=None)
