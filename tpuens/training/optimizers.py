"""Optimizers by name."""

import keras

from ..errors import ConfigurationError, unknown_name_error

OPTIMIZERS = {"adam": "Adam", "adamw": "AdamW", "sgd": "SGD"}


def check_optimizer(name: str, learning_rate: float) -> None:
    """Refuses what `make_optimizer` would, without making one: that would start TensorFlow.

    Raises:
        ConfigurationError: The name is unknown, or the learning rate is not above 0.
    """
    if name not in OPTIMIZERS:
        raise unknown_name_error("optimizer", "optimizer", name, OPTIMIZERS)
    if not learning_rate > 0:
        raise ConfigurationError(f"The learning rate must be above 0. Received: {learning_rate}")


def make_optimizer(
    name: str, *, learning_rate: float, dtype_policy: str = "float32"
) -> keras.optimizers.Optimizer:
    """Returns Keras's own optimizer of that name (SGD with momentum 0.9), scaling the loss under float16.

    Make it under the strategy's scope.

    Raises:
        ConfigurationError: As `check_optimizer` says.
    """
    check_optimizer(name, learning_rate)
    options = {"momentum": 0.9} if name == "sgd" else {}
    optimizer = getattr(keras.optimizers, OPTIMIZERS[name])(learning_rate=learning_rate, **options)
    # float16 gradients underflow without it [Micikevicius et al. 2018]; bfloat16 has float32's range.
    return keras.optimizers.LossScaleOptimizer(optimizer) if dtype_policy == "mixed_float16" else optimizer
