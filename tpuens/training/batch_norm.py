"""Batch normalisation by TensorFlow's own kernel, while a training step is traced.

Keras writes it as some twenty operations, gradients included, each of which passes over the feature map.
FusedBatchNormV3 takes one pass for the statistics and one for the rest, and as many back. The numbers are
the same but for rounding: the kernel's variance has n - 1 below, Keras's has n, so it is scaled back.

The models stay Keras's, so that Keras alone can load them: only while a step is traced does
`keras.layers.BatchNormalization` call this instead.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import keras
import tensorflow as tf

_call_of_keras = keras.layers.BatchNormalization.call


@contextlib.contextmanager
def fused_batch_norm() -> Iterator[None]:
    """Has Keras's batch normalisation use the kernel within: where it trains, on (b, h, w, channels)."""
    keras.layers.BatchNormalization.call = _call
    try:
        yield
    finally:
        # Not what was there before: replicas are traced in threads of their own, which may overlap.
        keras.layers.BatchNormalization.call = _call_of_keras


def _call(self: Any, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
    if not (training and self.trainable) or mask is not None or not _fits(self, inputs):
        return _call_of_keras(self, inputs, training=training, mask=mask)
    channels = inputs.shape[-1]
    outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
        x=tf.cast(inputs, tf.float32),
        scale=tf.convert_to_tensor(self.gamma) if self.scale else tf.ones(channels),
        offset=tf.convert_to_tensor(self.beta) if self.center else tf.zeros(channels),
        mean=tf.zeros(0),
        variance=tf.zeros(0),
        epsilon=self.epsilon,
    )
    count = tf.cast(tf.size(inputs) // channels, tf.float32)
    variance *= tf.maximum(count - 1, 1) / count
    for moving, value in ((self.moving_mean, mean), (self.moving_variance, variance)):
        moving.value.assign(moving.value * self.momentum + value * (1 - self.momentum))
    return tf.cast(outputs, self.compute_dtype)


def _fits(layer: Any, inputs: Any) -> bool:
    plain = not layer.synchronized and not getattr(layer, "renorm", False)  # the latter since Keras 3.13
    return plain and len(inputs.shape) == 4 and layer.axis in (-1, 3)
