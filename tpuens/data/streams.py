"""How tf.data runs what is fed to a model: epochs in one stream, and nothing left to its tuner."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy.typing as npt
import tensorflow as tf
from tensorflow.python.data.ops import multi_device_iterator_ops  # private, see `untuned_buffers`

from ..hardware.host import collect_host

# Batches made ahead unless told otherwise.
PREFETCH_BATCHES = 2


def count_parallel_calls() -> int:
    """Returns the cores that this process may use: one call of a pipeline's map on each."""
    return max(1, int(collect_host().cpu.usable_cores))


def untuned(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Returns the data set with tf.data's tuner off: its parallelism and buffers must be fixed.

    Dropping an iterator waits for the tuner, which sleeps ever longer, up to a minute, and is woken before
    it can see that it is to end (TensorFlow's core/framework/model.cc, `Model::OptimizeLoop`). Seen with
    TensorFlow 2.21: about every other iterator, whatever it held, was dropped only 1.3, 2.6, 5.1 … s after
    it was opened, when that sleep was over; none was without the tuner.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)


@contextlib.contextmanager
def untuned_buffers() -> Iterator[None]:
    """Opens iterators under a strategy without a tuner of their own.

    A strategy puts a buffer on each device behind what it is given: a data set of its own, without the
    options of the one before it, whose tuner made dropping an iterator take up to 20 s (`untuned` says why).
    TensorFlow has no public way to give it options.
    """
    make = multi_device_iterator_ops._create_device_dataset

    def make_untuned(*args: Any) -> tf.data.Dataset:
        return untuned(make(*args))

    multi_device_iterator_ops._create_device_dataset = make_untuned
    try:
        yield
    finally:
        multi_device_iterator_ops._create_device_dataset = make


def stream_epochs(draw: Callable[[int], tuple[npt.NDArray[Any], ...]], epoch: int) -> tf.data.Dataset:
    """Returns the rows of what `draw` gives for an epoch, and for all that follow, without end.

    Not `from_generator`: it has the C library give freed memory back to the system at once (it sets
    M_TRIM_THRESHOLD to 128 KiB), against what `tpuens.hardware.allocator` asks for.
    """
    first = draw(epoch)  # so that what is wrong is said here, and not by TensorFlow

    def open_epoch(number: Any) -> tf.data.Dataset:
        parts = tf.numpy_function(lambda one: draw(int(one)), [number], [part.dtype for part in first])
        for part, known in zip(parts, first, strict=True):
            part.set_shape((None, *known.shape[1:]))
        return tf.data.Dataset.from_tensor_slices(tuple(parts))

    return tf.data.Dataset.counter(epoch).flat_map(tf.autograph.experimental.do_not_convert(open_epoch))
