"""The reference workload: what the machine itself did in a run's process, whatever the scenario was.

Runs that could not take turns (another day, another machine, a stored baseline) are compared through it, and
a CPU's peaks in `bench.analysis.roofline` come from it. Small and always the same: a matrix product, a memory
stream, a training step of a tiny convolutional network.

It is measured right after the scenario's own timing, not before: before, it would take cuBLAS's and cuDNN's
start out of the scenario's first step, and its arrays would count in the scenario's peak memory.
"""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from ..measuring.timing import Probe, measure_probe
from ..records.record import Series

WARMUP_STEPS, BLOCKS, BLOCK_SECONDS = 2, 4, 0.05
# Large enough for all cores of a workstation, small enough for a block of single products on two cores.
CPU_SIZE, ACCELERATOR_SIZE = 1024, 4096
# Two arrays of 64 MiB: more together than the last-level cache of nearly all sockets.
STREAM_ELEMENTS = 2**24
BATCH, IMAGE_SIZE, FILTERS, CLASSES = 32, 32, 16, 10


def measure_references(strategy: Any) -> tuple[Series, ...]:
    """Returns the samples of the references, on the CPU and on the strategy's first accelerator.

    Those are "matmul" and "stream" for each of the two, and "small-cnn" where the strategy computes. One
    that the device cannot do, such as for want of memory, is absent: what was timed before must not be lost.
    """
    cpu = "/cpu:0"
    first = strategy.extended.worker_devices[0]
    kind = tf.DeviceSpec.from_string(first).device_type.lower()
    makers: list[Callable[[], Probe]] = [
        lambda: make_matmul("cpu", cpu, CPU_SIZE),
        lambda: make_stream("cpu", cpu),
    ]
    if kind != "cpu":
        makers += [lambda: make_matmul(kind, first, ACCELERATOR_SIZE), lambda: make_stream(kind, first)]
    makers.append(lambda: make_small_cnn(kind, first))
    series = []
    for make in makers:
        try:
            series.append(
                measure_probe(
                    make(),
                    warmup_steps=WARMUP_STEPS,
                    blocks=BLOCKS,
                    block_seconds=BLOCK_SECONDS,
                    latency_seconds=0.0,
                )
            )
        except tf.errors.OpError:
            continue
    return tuple(series)


def make_matmul(kind: str, device: str, size: int) -> Probe:
    """Returns a float32 product of two n × n matrices: 2 n³ FLOPs a step."""
    with tf.device(device):
        left, right = (tf.random.stateless_normal((size, size), (size, seed)) for seed in (0, 1))
    last: list[Any] = [None]

    def step() -> None:
        with tf.device(device):
            last[0] = tf.linalg.matmul(left, right)

    def fence() -> float:
        with tf.device(device):  # else a GPU would fetch all of a product of the CPU's, a CPU all of a TPU's
            return float(last[0][0, 0])

    step()
    return Probe(
        name="matmul",
        step=step,
        fence=fence,
        examples_per_step=0,
        parameters={"n": size, "device": kind},
    )


def make_stream(kind: str, device: str) -> Probe:
    """Returns ``a += b`` on float32 arrays: two reads and a write of each element, so 12 bytes.

    STREAM's "add" (McCalpin) with the sum in place of one of the terms: nothing is allocated, and no cache
    line is read only to be written over, so that the bytes counted are those that move.
    """
    with tf.device(device):
        total, term = tf.Variable(tf.zeros(STREAM_ELEMENTS)), tf.ones(STREAM_ELEMENTS)

    def step() -> None:
        total.assign_add(term, read_value=False)

    def fence() -> float:
        with tf.device(device):
            return float(tf.gather(total, 0))

    return Probe(
        name="stream",
        step=step,
        fence=fence,
        examples_per_step=0,
        parameters={"bytes": 3 * 4 * STREAM_ELEMENTS, "device": kind},
    )


def make_small_cnn(kind: str, device: str) -> Probe:
    """Returns a step of gradient descent of two convolutions and a dense layer, in plain operations.

    Not through Keras, whose model and optimizer take longer to build and trace than the rest of it all.
    """
    with tf.device(device):
        images = tf.random.stateless_uniform((BATCH, IMAGE_SIZE, IMAGE_SIZE, 3), (0, 0))
        labels = tf.random.stateless_uniform((BATCH,), (0, 1), 0, CLASSES, tf.int32)
        shapes = ((3, 3, 3, FILTERS), (3, 3, FILTERS, 2 * FILTERS), (2 * FILTERS, CLASSES))
        weights = [
            tf.Variable(0.1 * tf.random.stateless_normal(shape, (1, seed)))
            for seed, shape in enumerate(shapes)
        ]

    def train() -> None:
        with tf.device(device), tf.GradientTape() as tape:
            features = tf.nn.relu(tf.nn.conv2d(images, weights[0], 1, "SAME"))
            features = tf.nn.relu(tf.nn.conv2d(features, weights[1], 2, "SAME"))
            logits = tf.reduce_mean(features, (1, 2)) @ weights[2]
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
            loss = tf.reduce_mean(losses)
        with tf.device(device):
            for weight, gradient in zip(weights, tape.gradient(loss, weights), strict=True):
                weight.assign_sub(0.01 * gradient)

    def fence() -> float:
        with tf.device(device):
            return sum(float(tf.reshape(weight, [-1])[0]) for weight in weights)

    step = tf.function(train, autograph=False)
    step()
    return Probe(
        name="small-cnn",
        step=step,
        fence=fence,
        examples_per_step=BATCH,
        parameters={"device": kind},
    )
