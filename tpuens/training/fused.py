"""Adam, AdamW and SGD that update each weight with one kernel of TensorFlow's.

Keras writes an update as some twenty operations a weight (Adam), which take time to trace and to optimise
before the first step, and pass over memory a dozen times in every step. The kernels read and write each
vector once. What is kept (moments, their names, iterations) is Keras's own, since these are its classes with
another update: a checkpoint of either goes on under the other, and strategies, loss scaling and schedules
work as they do there.

The kernels are ResourceApplyAdam and ResourceApplyKerasMomentum, which TPUs, GPUs and XLA have as well. The
tests hold the weights against Keras's after a hundred steps.
"""

from typing import Any

import keras
import numpy as np
import tensorflow as tf


class FusedAdam(keras.optimizers.Adam):
    """Keras's Adam, of dense gradients and without AMSGrad."""

    def _apply_weight_decay(self, variables: Any) -> None:
        """Leaves the decay to `update_step`: Keras would look the learning rate up for every weight."""

    def _backend_update_step(self, grads: Any, trainable_variables: Any, learning_rate: Any) -> None:
        # What all weights share is computed once, and handed to `update_step` as if it were the rate.
        shared = {
            "beta1": tf.constant(self.beta_1, tf.float32),
            "beta2": tf.constant(self.beta_2, tf.float32),
            "epsilon": tf.constant(self.epsilon, tf.float32),
            "none": tf.constant(0.0),
            "step_size": self._step_size(learning_rate),
        }
        if self.weight_decay is not None:
            shared["decay"] = learning_rate * self.weight_decay
        super()._backend_update_step(grads, trainable_variables, shared)

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Updates one weight and its moments; `learning_rate` is what `_backend_update_step` made of it."""
        shared = learning_rate
        if self.weight_decay is not None and self._use_weight_decay(variable):
            variable.assign_sub(variable * shared["decay"])
        index = self._get_variable_index(variable)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[index].handle,
            v=self._velocities[index].handle,
            beta1_power=shared["none"],  # the step size has seen to the bias
            beta2_power=shared["none"],
            lr=shared["step_size"],
            beta1=shared["beta1"],
            beta2=shared["beta2"],
            epsilon=shared["epsilon"],
            grad=tf.cast(gradient, variable.dtype),
        )

    def _step_size(self, learning_rate: Any) -> Any:
        """Returns the learning rate with the moments' bias taken out of it, a float32 scalar.

        The first part is Keras's, rounding included. The kernel takes 1 - 0.999 in float32, which is less
        than Keras's 0.001 by 1.3e-5 of it, and so are its second moments while they are young: the second
        part makes up for that by what both have taken in of all gradients so far.
        """
        step = keras.ops.cast(self.iterations + 1, "float32")
        gained = [1 - keras.ops.power(np.float32(beta), step) for beta in (self.beta_1, self.beta_2)]
        size = learning_rate * tf.sqrt(gained[1]) / gained[0]
        first, second = (
            _weigh(np.float32(1 - beta), step) / _weigh(np.float32(1) - np.float32(beta), step)
            for beta in (self.beta_1, self.beta_2)
        )
        return size * tf.cast(first / tf.sqrt(second), tf.float32)


class FusedAdamW(FusedAdam, keras.optimizers.AdamW):
    """Keras's AdamW, likewise."""


class FusedSGD(keras.optimizers.SGD):
    """Keras's SGD with momentum, of dense gradients."""

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Updates one weight and its momentum."""
        if not self.momentum:
            super().update_step(gradient, variable, learning_rate)
            return
        tf.raw_ops.ResourceApplyKerasMomentum(
            var=variable.handle,
            accum=self.momentums[self._get_variable_index(variable)].handle,
            lr=tf.cast(learning_rate, variable.dtype),
            grad=tf.cast(gradient, variable.dtype),
            momentum=self.momentum,
            use_nesterov=self.nesterov,
        )


def _weigh(share: np.float32, step: Any) -> Any:
    """Returns what a moving average that takes in a share each step has taken in after so many, float64."""
    return -tf.math.expm1(tf.cast(step, tf.float64) * np.log1p(-float(share)))
