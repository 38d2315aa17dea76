"""Optimizers by name, and a learning rate that changes from step to step."""

from collections.abc import Sequence
from typing import Any, Literal

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from ..errors import ConfigurationError, unknown_name_error
from ..hardware.strategies import sum_over_replicas
from .fused import FusedAdam, FusedAdamW, FusedSGD

Implementation = Literal["keras", "fused"]

# Each as Keras has it, and with one kernel a weight.
OPTIMIZERS: dict[str, tuple[type[keras.optimizers.Optimizer], type[keras.optimizers.Optimizer]]] = {
    "adam": (keras.optimizers.Adam, FusedAdam),
    "adamw": (keras.optimizers.AdamW, FusedAdamW),
    "sgd": (keras.optimizers.SGD, FusedSGD),
}


@keras.saving.register_keras_serializable("tpuens")
class TabulatedSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """A learning rate that is looked up by the step's number; the last one holds beyond the end.

    Args:
        rates: One for each step, from step 0 on, as `tpuens.training.schedules.learning_rates` gives them.
    """

    def __init__(self, rates: Sequence[float] | npt.NDArray[np.floating[Any]]) -> None:
        self._rates = np.asarray(rates, np.float32)

    def __call__(self, step: Any) -> Any:
        """Returns the rate of a step, a float32 scalar."""
        # In int64: GPUs have the kernels for int32 in the host's memory, and the step would wait for that.
        last = tf.constant(len(self._rates) - 1, tf.int64)
        return tf.gather(tf.constant(self._rates), tf.minimum(keras.ops.cast(step, "int64"), last))

    def get_config(self) -> dict[str, list[float]]:
        """Returns what Keras saves of it."""
        return {"rates": self._rates.tolist()}


def check_optimizer(name: str, learning_rate: float, weight_decay: float | None = None) -> None:
    """Refuses what `make_optimizer` would, without making one: that would start TensorFlow.

    Raises:
        ConfigurationError: The name is unknown, the learning rate is not above 0, or the weight decay is
            below 0 or not for this optimizer.
    """
    if name not in OPTIMIZERS:
        raise unknown_name_error("optimizer", "optimizer", name, OPTIMIZERS)
    if not learning_rate > 0:
        raise ConfigurationError(f"The learning rate must be above 0. Received: {learning_rate}")
    if weight_decay is not None and name != "adamw":
        raise ConfigurationError(
            "Weight decay is adamw's: choose that optimizer, or leave weight decay out. "
            f"Received: optimizer={name!r} with weight_decay={weight_decay}"
        )
    if weight_decay is not None and not weight_decay >= 0:
        raise ConfigurationError(f"Weight decay must be 0 or more. Received: {weight_decay}")


def make_optimizer(
    name: str,
    *,
    learning_rate: float | keras.optimizers.schedules.LearningRateSchedule,
    weight_decay: float | None = None,
    dtype_policy: str = "float32",
    implementation: Implementation = "keras",
) -> keras.optimizers.Optimizer:
    """Returns the optimizer of that name (SGD with momentum 0.9), scaling the loss under float16.

    Make it under the strategy's scope.

    Args:
        name: A name in `OPTIMIZERS`.
        learning_rate: One rate for all steps, or a schedule.
        weight_decay: Of AdamW, decoupled from the gradient [Loshchilov & Hutter 2019]; None for Keras's own.
        dtype_policy: The model's.
        implementation: ``"keras"``, or ``"fused"``, see `tpuens.training.fused`; checkpoints of one are good
            for the other. `choose_implementation` says which is the faster.

    Raises:
        ConfigurationError: As `check_optimizer` says.
    """
    is_schedule = isinstance(learning_rate, keras.optimizers.schedules.LearningRateSchedule)
    check_optimizer(name, 1.0 if is_schedule else learning_rate, weight_decay)
    options: dict[str, float] = {"momentum": 0.9} if name == "sgd" else {}
    if weight_decay is not None:
        options["weight_decay"] = weight_decay
    of_keras, fused = OPTIMIZERS[name]
    kind = fused if implementation == "fused" else of_keras
    optimizer = kind(learning_rate=learning_rate, **options)
    # float16 gradients underflow without it [Micikevicius et al. 2018]; bfloat16 has float32's range.
    return keras.optimizers.LossScaleOptimizer(optimizer) if dtype_policy == "mixed_float16" else optimizer


def share_overflow(gradients: Sequence[Any]) -> list[Any]:
    """Returns a replica's gradients, none of them finite where those of any replica are not.

    Keras 3.15's LossScaleOptimizer looks at each replica's own gradients, before they are summed, and goes by
    what the first replica found: an overflow on another one would go into all weights, and workers that
    decide otherwise than others would wait for them for ever. Call it in `strategy.run`.
    """
    is_finite = tf.reduce_all([tf.reduce_all(tf.math.is_finite(one)) for one in gradients])
    (overflows,) = sum_over_replicas([1.0 - tf.cast(is_finite, tf.float32)])
    return [tf.where(overflows > 0, tf.constant(float("nan"), one.dtype), one) for one in gradients]


def choose_implementation(strategy: Any) -> Implementation:
    """Returns the optimizers' implementation that was measured to be the faster one under a strategy.

    That is the fused one on CPUs; on GPUs and TPUs, where nobody has measured it yet, it is Keras's.
    """
    on_cpu = all("CPU" in device for device in strategy.extended.worker_devices)
    return "fused" if on_cpu else "keras"
