"""What the losses compute: each from logits (batch, classes), without reduction, in float32.

Names for them are in `tpuens.training.losses`.
"""

from typing import Any

import keras
from keras import ops

from ..errors import ConfigurationError
from .losses import LossConfig

# float32 cannot tell a probability from 1 any closer; a root of what is left would have no slope at 0.
_LEAST_REST = 1e-7


def sparse_categorical_crossentropy(targets: Any, logits: Any, config: LossConfig) -> Any:
    """Returns -log softmax(logits)[target], (batch,), for int targets (batch,)."""
    logits = ops.cast(logits, "float32")
    losses = keras.losses.sparse_categorical_crossentropy(targets, logits, from_logits=True)
    if config.class_weights is None:
        return losses
    return losses * ops.take(_class_weights(logits, config), targets)


def categorical_crossentropy(targets: Any, logits: Any, config: LossConfig) -> Any:
    """Returns -Σ target · log softmax(logits), (batch,), for targets (batch, classes) that sum to 1."""
    targets, logits = ops.cast(targets, "float32"), ops.cast(logits, "float32")
    losses = keras.losses.categorical_crossentropy(
        targets, logits, from_logits=True, label_smoothing=config.label_smoothing
    )
    return _weigh_examples(losses, targets, logits, config)


def categorical_focal(targets: Any, logits: Any, config: LossConfig) -> Any:
    """Returns -α Σ target · (1 - p)^γ · log p with p = softmax(logits), (batch,).

    Lin et al. 2017, "Focal Loss for Dense Object Detection", eq. 5, for one-hot targets; smoothed or mixed
    ones take each class's term by its share, as Keras does. Unlike Keras's, p is never clipped.
    """
    targets, logits = ops.cast(targets, "float32"), ops.cast(logits, "float32")
    smoothing = config.label_smoothing
    shares = targets * (1 - smoothing) + smoothing / logits.shape[-1]
    log_p = ops.log_softmax(logits)
    rest = ops.maximum(-ops.expm1(log_p), _LEAST_REST)
    losses = -ops.sum(shares * ops.power(rest, config.focal_gamma) * log_p, axis=-1)
    if config.focal_alpha is not None:
        losses *= config.focal_alpha
    return _weigh_examples(losses, targets, logits, config)


def binary_crossentropy(targets: Any, logits: Any, config: LossConfig) -> Any:
    """Returns the mean over classes of sigmoid cross-entropy, (batch,), for 0..1 targets (batch, classes)."""
    targets, logits = ops.cast(targets, "float32"), ops.cast(logits, "float32")
    shares = targets * (1 - config.label_smoothing) + config.label_smoothing / 2
    terms = ops.binary_crossentropy(shares, logits, from_logits=True)
    if config.class_weights is not None:
        terms *= _class_weights(logits, config)
    return ops.mean(terms, axis=-1)


def _weigh_examples(losses: Any, targets: Any, logits: Any, config: LossConfig) -> Any:
    if config.class_weights is None:
        return losses
    return losses * ops.sum(targets * _class_weights(logits, config), axis=-1)


def _class_weights(logits: Any, config: LossConfig) -> Any:
    weights = config.class_weights or ()
    if len(weights) != logits.shape[-1]:
        raise ConfigurationError(
            f"Class weights are one number for each of the {logits.shape[-1]} classes. "
            f"Received: {len(weights)} of them"
        )
    return ops.convert_to_tensor(weights, dtype="float32")
