"""What does each of the kernels of `tpuens.training.kernels` gain on this machine?

Run by hand; pytest does not collect it::

    python tests/benchmarks/cpu_kernels.py efficientnetb0 vgg16 [--image-size 128] [--batch-size 8]

Training steps with all of them, and with all but one, take turns in one process; printed is how many times as
long the step takes without it, as the median of the rounds and their range. TF_ENABLE_ONEDNN_OPTS=0 before
the command shows it without oneDNN.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

from tpuens.hardware.onednn import prefer_onednn

prefer_onednn()

import keras  # noqa: E402
import tensorflow as tf  # noqa: E402

from tpuens.hardware.allocator import keep_freed_memory  # noqa: E402
from tpuens.models.classifier import build_classifier  # noqa: E402
from tpuens.training import kernels  # noqa: E402
from tpuens.training.losses import LossConfig, make_loss  # noqa: E402
from tpuens.training.optimizers import make_optimizer  # noqa: E402
from tpuens.training.step import TrainStep  # noqa: E402

CLASSES = 10
_OURS = {name: getattr(kernels, name) for name in ("_CALLS", "_swish", "_multiply", "_MANY_CHANNELS")}


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("backbones", nargs="+")
    parser.add_argument("--image-size", type=int, default=128)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=12)
    given = parser.parse_args()
    keep_freed_memory()
    for backbone in given.backbones:
        measure(backbone, given.image_size, given.batch_size, given.rounds)


def measure(backbone: str, size: int, count: int, rounds: int) -> None:
    """Prints what a network's step takes without each kernel, over what it takes with all."""
    images = tf.cast(tf.random.uniform((count, size, size, 3), 0, 256, tf.int32), tf.uint8)
    batch = images, tf.random.uniform((count,), 0, CLASSES, tf.int32)
    steps = {name: make_step(backbone, size, batch, change) for name, change in CHANGES.items()}
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for number in range(rounds):
        for name in list(steps)[:: 1 if number % 2 else -1]:
            start = time.perf_counter()
            steps[name](batch)
            steps[name].fence()
            seconds[name].append(time.perf_counter() - start)
    whole = seconds.pop("all")
    print(f"{backbone}, {size}×{size}, batch {count}: {statistics.median(whole) * 1e3:.1f} ms")
    for name, without in seconds.items():
        ratios = [one / other for one, other in zip(without, whole, strict=True)]
        spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
        print(f"  without {name}: {statistics.median(ratios):.3f} × ({spread})", flush=True)


def make_step(backbone: str, size: int, batch: Any, change: Callable[[], None]) -> TrainStep:
    """Returns a step that has been traced while the change held."""
    strategy = tf.distribute.OneDeviceStrategy("/cpu:0")
    change()
    with strategy.scope():
        keras.utils.set_random_seed(0)
        step = TrainStep(
            model=build_classifier(backbone=backbone, num_classes=CLASSES, image_shape=(size, size, 3)),
            loss=make_loss(LossConfig()),
            optimizer=make_optimizer("adam", learning_rate=1e-3, implementation="fused"),
            strategy=strategy,
            global_batch_size=len(batch[0]),
        )
    for _ in range(2):
        step(batch)
    step.fence()
    for name, own in _OURS.items():
        setattr(kernels, name, own)
    return step


def _leave_to_keras(kind: type) -> None:
    kernels._CALLS = {key: call for key, call in kernels._CALLS.items() if key is not kind}


def _set(name: str, value: Any) -> None:
    setattr(kernels, name, value)


CHANGES: dict[str, Callable[[], None]] = {
    "all": lambda: None,
    "batch normalisation": lambda: _leave_to_keras(keras.layers.BatchNormalization),
    "swish": lambda: _set("_swish", keras.activations.silu),
    "large depthwise filters": lambda: _leave_to_keras(keras.layers.DepthwiseConv2D),
    "1×1 as products": lambda: _set(
        "_multiply", lambda inputs, kernel, strides: tf.nn.conv2d(inputs, kernel, strides, "VALID")
    ),
    "filters of many channels": lambda: _set("_MANY_CHANNELS", float("inf")),
}


if __name__ == "__main__":
    main()
