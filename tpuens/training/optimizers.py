"""Optimizers by name, and a learning rate that changes from step to step."""

from collections.abc import Sequence
from typing import Any, Literal

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from ..errors import ConfigurationError, unknown_name_error
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
        last = len(self._rates) - 1
        return keras.ops.take(self._rates, keras.ops.minimum(keras.ops.cast(step, "int32"), last))

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
    implementation: Implementation | None = None,
) -> keras.optimizers.Optimizer:
    """Returns the optimizer of that name (SGD with momentum 0.9), scaling the loss under float16.

    Make it under the strategy's scope.

    Args:
        name: A name in `OPTIMIZERS`.
        learning_rate: One rate for all steps, or a schedule.
        weight_decay: Of AdamW, decoupled from the gradient [Loshchilov & Hutter 2019]; None for Keras's own.
        dtype_policy: The model's.
        implementation: ``"keras"``, or ``"fused"``, see `tpuens.training.fused`; checkpoints of one are good
            for the other. None leaves that to `choose_implementation`.

    Raises:
        ConfigurationError: As `check_optimizer` says.
    """
    is_schedule = isinstance(learning_rate, keras.optimizers.schedules.LearningRateSchedule)
    check_optimizer(name, 1.0 if is_schedule else learning_rate, weight_decay)
    options: dict[str, float] = {"momentum": 0.9} if name == "sgd" else {}
    if weight_decay is not None:
        options["weight_decay"] = weight_decay
    of_keras, fused = OPTIMIZERS[name]
    kind = fused if (implementation or choose_implementation()) == "fused" else of_keras
    optimizer = kind(learning_rate=learning_rate, **options)
    # float16 gradients underflow without it [Micikevicius et al. 2018]; bfloat16 has float32's range.
    return keras.optimizers.LossScaleOptimizer(optimizer) if dtype_policy == "mixed_float16" else optimizer


def choose_implementation() -> Implementation:
    """Returns the optimizers' implementation that was measured to be the faster one on what is here.

    That is the fused one on CPUs; on GPUs and TPUs, where nobody has measured it yet, it is Keras's.
    """
    devices = tf.config.list_logical_devices()
    return "keras" if any(device.device_type in ("GPU", "TPU") for device in devices) else "fused"
