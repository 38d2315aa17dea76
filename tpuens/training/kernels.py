"""What a CPU does better with other kernels than those Keras ends up with, while a training step is traced.

* Keras writes batch normalisation as some twenty operations, gradients included, each of which passes over
  the feature map. FusedBatchNormV3 takes one pass for the statistics and one for the rest, as many back, and
  moves the running statistics along.
* TensorFlow's swish computes its sigmoid again on the way back, and the gradient of a factor that nobody
  trains.
* oneDNN, to which TensorFlow gives it, takes up to three times as long as TensorFlow's own kernel for the
  gradient of depthwise filters above 3×3; and, without AVX-512, 1.1 to 1.5 times as long for that of filters
  from and to 64 channels or more, which makes VGG16's step 1.26 times as long. With AVX-512 (an AMD EPYC)
  oneDNN is the faster there: VGG16 takes 1.08 times as long without it, ResNet50V2 and MobileNetV2 as long.
* A convolution of 1×1 is a product of matrices, and 1.0 to 2.1 times as fast when written so, gradients
  included (21 of EfficientNetB0 and ResNet, batches of 8). That makes the step of EfficientNetB0 1.2 times as
  fast; with AVX-512 MobileNetV2's 1.1 times, ResNet50V2's and VGG16's not.

Filters of many channels and 1×1 were measured on two cores of an AMD EPYC (AVX2, TensorFlow 2.21);
tests/benchmarks/cpu_kernels.py shows what each gains elsewhere. The numbers are Keras's but for rounding. The
models stay Keras's, so that Keras alone can load them: only while a step is traced do their layers do this.
"""

import contextlib
import functools
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import keras
import tensorflow as tf

from ..hardware.host import collect_host
from ..models.freezing import leaf_layers

_MANY_CHANNELS = 64
_AS_TRACED = "disable_meta_optimizer"
_CONVOLUTION = tf.raw_ops.Conv2D, tf.raw_ops.Conv2DBackpropInput, tf.raw_ops.Conv2DBackpropFilter
_DEPTHWISE = (
    tf.raw_ops.DepthwiseConv2dNative,
    tf.raw_ops.DepthwiseConv2dNativeBackpropInput,
    tf.raw_ops.DepthwiseConv2dNativeBackpropFilter,
)


@contextlib.contextmanager
def cpu_kernels(model: keras.Model) -> Iterator[None]:
    """Has the layers of a model use these within."""
    layers = list(leaf_layers(model))
    swishes = [layer for layer in layers if getattr(layer, "activation", None) is keras.activations.silu]
    # A class derived from these may do otherwise, and keeps its own.
    called = {layer: _CALLS[type(layer)] for layer in layers if type(layer) in _CALLS}
    convolved = [layer for layer in layers if type(layer) is keras.layers.Conv2D]
    for layer, call in called.items():
        layer.call = partial(call, layer)
    for layer in convolved:
        layer.convolution_op = partial(_convolve, layer)
    for layer in swishes:
        layer.activation = _swish
    try:
        yield
    finally:
        for layer in called:
            del layer.call  # the class's own is behind it
        for layer in convolved:
            del layer.convolution_op
        for layer in swishes:
            layer.activation = keras.activations.silu


@contextlib.contextmanager
def graph_as_traced() -> Iterator[None]:
    """Has TensorFlow run functions within as they were traced, without optimising their graphs first.

    With these kernels optimising gains a large network's step nothing: without, that of EfficientNetB0 took
    1.01 times as long, MobileNetV2 0.97 and DenseNet201 0.97 (8 images of 128×128, two cores with AVX-512,
    steps in turns, quartiles 4 % either way), while EfficientNetB0's first call took 2.2 instead of 3.8 s.
    Setting it costs each call 0.1 ms. Small graphs are soon optimised, and the CIFAR CNN's step took 1.03
    times as long without.
    """
    before = tf.config.optimizer.get_experimental_options().get(_AS_TRACED, False)
    tf.config.optimizer.set_experimental_options({_AS_TRACED: True})
    try:
        yield
    finally:
        tf.config.optimizer.set_experimental_options({_AS_TRACED: before})


def _normalise(layer: Any, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
    if not (training and layer.trainable) or mask is not None or not _normalises_plainly(layer, inputs):
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


def _normalises_plainly(layer: Any, inputs: Any) -> bool:
    plain = not layer.synchronized and not getattr(layer, "renorm", False)  # the latter since Keras 3.13
    return plain and len(inputs.shape) == 4 and layer.axis in (-1, 3) and inputs.shape.is_fully_defined()


def _convolve_depthwise(layer: Any, inputs: Any) -> Any:
    bare = not layer.use_bias and layer.activation is keras.activations.linear
    if bare and min(layer.kernel_size) > 3 and _convolves_plainly(layer, inputs):
        return _with_own_gradient(_DEPTHWISE, layer, inputs, tf.convert_to_tensor(layer.kernel))
    return type(layer).call(layer, inputs)


def _with_own_gradient(operations: Sequence[Any], layer: Any, inputs: Any, kernel: Any) -> Any:
    """Returns a convolution whose gradient of the filters is TensorFlow's own kernel, and not oneDNN's."""
    forward, to_inputs, to_kernel = operations
    strides, sizes = (1, *layer.strides, 1), inputs.shape[1:3]
    how = {"strides": strides, "padding": layer.padding.upper()}

    def convolve(x: Any, kernel: Any) -> Any:
        y = forward(input=x, filter=kernel, **how)
        around = [
            _pad(size, out, stride, width) if layer.padding == "same" else (0, 0)
            for size, out, stride, width in zip(
                sizes, y.shape[1:3], layer.strides, layer.kernel_size, strict=True
            )
        ]

        def differentiate(upstream: Any) -> tuple[Any, Any]:
            of_x = to_inputs(input_sizes=x.shape, filter=kernel, out_backprop=upstream, **how)
            of_kernel = to_kernel(
                input=x,
                filter_sizes=kernel.shape,
                out_backprop=upstream,
                strides=strides,
                padding="EXPLICIT",  # the same padding, in words that oneDNN does not take
                explicit_paddings=(0, 0, *around[0], *around[1], 0, 0),
            )
            return of_x, of_kernel

        return y, differentiate

    return tf.custom_gradient(convolve)(inputs, kernel)


def _pad(size: int, out: int, stride: int, width: int) -> tuple[int, int]:
    """Returns how many pixels "same" adds before and behind."""
    total = max((out - 1) * stride + width - size, 0)
    return total // 2, total - total // 2


@functools.cache
def _has_avx512() -> bool:
    return any(name.startswith("avx512") for name in collect_host().cpu.isa)


def _convolve(layer: Any, inputs: Any, kernel: Any) -> Any:
    kernel = tf.convert_to_tensor(kernel)
    if _convolves_plainly(layer, inputs):
        if kernel.shape[:2] == (1, 1):
            return _multiply(inputs, kernel, layer.strides)
        if min(kernel.shape[2:]) >= _MANY_CHANNELS and not _has_avx512():
            return _with_own_gradient(_CONVOLUTION, layer, inputs, kernel)
    return type(layer).convolution_op(layer, inputs, kernel)


def _convolves_plainly(layer: Any, inputs: Any) -> bool:
    return (
        getattr(layer, "groups", 1) == 1
        and tuple(layer.dilation_rate) == (1, 1)
        and layer.data_format == "channels_last"
        and layer.compute_dtype == "float32"
        and inputs.shape.is_fully_defined()
    )


def _multiply(inputs: Any, kernel: Any, strides: tuple[int, int]) -> Any:
    down, right = strides
    pixels = inputs[:, ::down, ::right] if max(strides) > 1 else inputs
    *places, channels = pixels.shape
    outputs = tf.matmul(tf.reshape(pixels, (-1, channels)), tf.reshape(kernel, (channels, -1)))
    return tf.reshape(outputs, (*places, -1))


def _swish(x: Any) -> Any:
    return tf.custom_gradient(_swish_and_gradient)(x)


def _swish_and_gradient(x: Any) -> tuple[Any, Any]:
    gate = tf.sigmoid(x)
    y = x * gate
    return y, lambda upstream: upstream * (gate + y * (1 - gate))


_CALLS = {
    keras.layers.BatchNormalization: _normalise,
    keras.layers.DepthwiseConv2D: _convolve_depthwise,
}
