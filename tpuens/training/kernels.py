"""Batch normalisation and swish in fewer passes over memory, while a training step is traced for a CPU.

Keras writes batch normalisation as some twenty operations, gradients included, each of which passes over the
feature map. FusedBatchNormV3 takes one pass for the statistics and one for the rest, as many back, and moves
the running statistics along. TensorFlow's swish computes its sigmoid again on the way back, and the gradient of
a factor that nobody trains. The numbers are Keras's but for rounding.

The models stay Keras's, so that Keras alone can load them: only while a step is traced do their layers do this.
"""

import contextlib
from collections.abc import Iterator
from functools import partial
from typing import Any

import keras
import tensorflow as tf

from ..models.freezing import leaf_layers


@contextlib.contextmanager
def cpu_kernels(model: keras.Model) -> Iterator[None]:
    """Has the layers of a model use these within."""
    norms = [layer for layer in leaf_layers(model) if isinstance(layer, keras.layers.BatchNormalization)]
    swishes = [
        layer for layer in leaf_layers(model) if getattr(layer, "activation", None) is keras.activations.silu
    ]
    for layer in norms:
        layer.call = partial(_normalise, layer)
    for layer in swishes:
        layer.activation = _swish
    try:
        yield
    finally:
        for layer in norms:
            del layer.call  # the class's own is behind it
        for layer in swishes:
            layer.activation = keras.activations.silu


def _normalise(layer: Any, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
    if not (training and layer.trainable) or mask is not None or not _fits(layer, inputs):
        return type(layer).call(layer, inputs, training=training, mask=mask)
    channels = inputs.shape[-1]
    variance_before = tf.convert_to_tensor(layer.moving_variance.value)
    outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
        x=tf.cast(inputs, tf.float32),
        scale=tf.convert_to_tensor(layer.gamma) if layer.scale else tf.ones(channels),
        offset=tf.convert_to_tensor(layer.beta) if layer.center else tf.zeros(channels),
        mean=tf.convert_to_tensor(layer.moving_mean.value),
        variance=variance_before,
        epsilon=layer.epsilon,
        exponential_avg_factor=1 - layer.momentum,
    )
    layer.moving_mean.value.assign(mean)
    # The kernel's variance of the batch has n - 1 below, Keras's has n.
    count = inputs.shape.num_elements() // channels
    share = max(count - 1, 1) / count
    kept = layer.momentum * (1 - share)
    layer.moving_variance.value.assign(variance * share + variance_before * kept)
    return tf.cast(outputs, layer.compute_dtype)


def _fits(layer: Any, inputs: Any) -> bool:
    plain = not layer.synchronized and not getattr(layer, "renorm", False)  # the latter since Keras 3.13
    return plain and len(inputs.shape) == 4 and layer.axis in (-1, 3) and inputs.shape.is_fully_defined()


@tf.custom_gradient
def _swish(x: Any) -> Any:
    gate = tf.sigmoid(x)
    y = x * gate
    return y, lambda upstream: upstream * (gate + y * (1 - gate))
