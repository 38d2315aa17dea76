"""What a device computes in."""

import os
from typing import Any

import tensorflow as tf


def is_tpu(strategy: Any) -> bool:
    """Returns whether a strategy computes on TPUs."""
    return any("TPU" in device for device in strategy.extended.worker_devices)


def float32_arithmetic(strategy: Any) -> str:
    """Returns what a float32 product is computed in.

    TPUs multiply float32 in bfloat16 passes; TensorFlow lets GPUs from Ampere (compute capability 8.0) on
    use TF32 unless told otherwise, and NVIDIA's libraries heed NVIDIA_TF32_OVERRIDE=0 above all.
    """
    if is_tpu(strategy):
        return "bfloat16"
    if any("GPU" in device for device in strategy.extended.worker_devices):
        details = tf.config.experimental.get_device_details(tf.config.get_visible_devices("GPU")[0])
        ampere = details.get("compute_capability", (0, 0)) >= (8, 0)
        is_allowed = os.environ.get("NVIDIA_TF32_OVERRIDE") != "0"
        if ampere and is_allowed and tf.config.experimental.tensor_float_32_execution_enabled():
            return "tf32"
    return "float32"
