"""One step under a strategy: what training repeats, and what benchmarks time.

The interface is small so that other Keras backends can stand beside this one: make a step from model,
optimizer and strategy, call it on a batch, read one scalar.

Keras's `fit` is not used: in Keras 3 it fails under MultiWorkerMirroredStrategy, it mixes compilation,
input and callbacks into its times, and it traces with autograph, which is slow.
"""

import contextlib
from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import keras
import numpy as np
import tensorflow as tf

from ..errors import ConfigurationError
from ..hardware.strategies import sum_over_replicas
from ..models.freezing import leaf_layers
from .kernels import cpu_kernels, graph_as_traced
from .losses import Activation
from .optimizers import share_overflow

# A network with so many weights to train is large: VGG16 has 34, MobileNetV2 158.
_MANY_WEIGHTS = 100


class TrainStep:
    """Computes gradients on every replica, sums them, and updates the weights.

    Calling it runs one step on a distributed batch of (images, targets) and returns nothing: losses add up
    on the device, so that no step waits for the host. `read_totals` brings them over. Targets are class
    numbers, int32 (batch,), or shares of the classes, float32 (batch, classes).

    Args:
        model: Takes uint8 images (batch, height, width, channels), gives float32 logits (batch, classes).
            What of it is trainable now is trained; freeze it before, see `tpuens.models.freezing`.
        loss: From `make_loss`: (targets, logits) -> (batch,).
        activation: What makes probabilities of the logits, for `read_totals`' accuracy.
        optimizer: A Keras optimizer, made under the strategy's scope, that has not trained anything else.
        strategy: What `tpuens.hardware.strategies.open_strategy` returned.
        global_batch_size: Examples in a step over all replicas. The loss is the sum over a replica's
            examples divided by this, so that gradients summed over replicas are those of the mean.
        jit_compile: Compile with XLA. With several replicas only the gradients are compiled, since the
            update talks across replicas; on a TPU everything always is.

    Raises:
        ConfigurationError: Nothing of the model is trainable.
    """

    def __init__(
        self,
        *,
        model: keras.Model,
        loss: Callable[[Any, Any], Any],
        optimizer: keras.optimizers.Optimizer,
        strategy: Any,
        global_batch_size: int,
        activation: Activation = "softmax",
        jit_compile: bool = False,
    ) -> None:
        if not model.trainable_variables:
            raise ConfigurationError(f"All of the model is frozen: free its head. Received: {model.name!r}")
        self.model = model
        self.optimizer = optimizer
        self.strategy = strategy
        self._loss = loss
        self._activation = activation
        self._global_batch_size = global_batch_size
        self._trained = list(model.trainable_variables)
        # Those of frozen layers do not move, and a mean over three replicas may round.
        self._statistics = [
            variable
            for layer in leaf_layers(model)
            if layer.trainable
            for variable in layer.non_trainable_variables
            if keras.backend.is_float_dtype(variable.dtype)  # not the states of random generators
        ]
        jit_compile = jit_compile and not _on_tpu(strategy)  # there everything is compiled anyhow
        with strategy.scope():
            optimizer.build(self._trained)
            # Sums over this replica's examples: loss, what was right of them, examples.
            self.totals = tf.Variable(
                tf.zeros(3),
                trainable=False,
                synchronization=tf.VariableSynchronization.ON_READ,
                aggregation=tf.VariableAggregation.SUM,
            )
        on_cpu = all("CPU" in device for device in strategy.extended.worker_devices)
        # Measured on CPUs, and without XLA, which fuses by itself.
        self._kernels = partial(cpu_kernels, model) if on_cpu and not jit_compile else contextlib.nullcontext
        one_replica = strategy.num_replicas_in_sync == 1
        scales_loss = isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
        self._may_overflow = scales_loss and not one_replica
        as_traced = on_cpu and one_replica and not jit_compile and len(self._trained) >= _MANY_WEIGHTS
        # GPUs compare int32 in the host's memory, and the step would wait for that; TPUs have no int64.
        self._index = tf.int64 if "GPU" in strategy.extended.worker_devices[0] else tf.int32
        self._running = graph_as_traced if as_traced else contextlib.nullcontext
        self._gradients = _compile(self.compute_gradients, jit_compile and not one_replica)
        replica_step = _compile(self._replica_step, jit_compile and one_replica)
        self._step = tf.function(lambda batch: strategy.run(replica_step, args=(batch,)), autograph=False)

        def run_steps(batches: Any, steps: Any) -> None:
            def run_one(done: Any) -> Any:
                batch = next(batches) if hasattr(batches, "__next__") else batches
                strategy.run(replica_step, args=(batch,))
                return done + 1

            tf.while_loop(lambda done: done < steps, run_one, [tf.constant(0)], parallel_iterations=1)

        self._steps = tf.function(run_steps, autograph=False)
        self._fence = tf.function(lambda: strategy.run(self._touch_weights), autograph=False)
        self._average = tf.function(self._average_statistics, autograph=False)
        self._exchange = tf.function(lambda: strategy.run(self._sum_like_gradients), autograph=False)

    def __call__(self, batch: Any) -> None:
        """Runs one step; on an accelerator it may return before the device has finished."""
        with self._running():
            self._step(batch)

    def run(self, batches: Any, steps: int) -> None:
        """Runs several steps in one call, for which the device waits for the host but once.

        Args:
            batches: A distributed iterator, of which each step takes the next batch inside the call; or one
                batch for all steps.
            steps: How many; another number needs no other trace.
        """
        with self._running():
            self._steps(batches, tf.constant(steps))

    def trace(self, batch: Any, steps: int = 1) -> None:
        """Traces the step, or a call of several, for batches like this one without running it."""
        if steps == 1:
            self._step.get_concrete_function(batch)
        else:
            self._steps.get_concrete_function(batch, tf.constant(steps))

    def fence(self) -> float:
        """Returns one scalar that depends on every weight that is trained, on every local replica.

        Once it is here the device has finished every step called so far, updates included: a loss alone
        would not wait for the optimizer.
        """
        values = self.strategy.experimental_local_results(self._fence())
        return float(sum(float(value) for value in values))

    def exchange(self) -> Callable[[], object]:
        """Sums what has the shapes of the gradients over all replicas, and returns what waits for that.

        This is what synchronising takes of a step, by itself: nothing is computed meanwhile and nothing
        changes.
        """
        sums = self._exchange()
        return lambda: [float(value) for value in self.strategy.experimental_local_results(sums)]

    def synchronise(self) -> None:
        """Makes every replica's moving statistics the mean of them all.

        Keras 3 lets each replica's batch norm keep statistics of its own, so that replicas, and workers,
        would predict differently and a checkpoint would hold those of one alone. Call it before evaluating
        or saving; every worker of a cluster has to.
        """
        if self.strategy.num_replicas_in_sync > 1:
            self._average()

    def read_totals(self) -> tuple[float, float, int]:
        """Returns (mean loss, accuracy, examples) since `reset_totals`, over all replicas.

        Accuracy is the share of examples whose most probable class is the right one, or the one with the
        largest share of a mixed target; under sigmoid the share of right yeses and noes over all examples
        and classes, a yes being a probability, or a share, above 0.5.
        """
        loss, right, examples = (float(value) for value in self.totals.numpy())
        return loss / max(examples, 1), right / max(examples, 1), round(examples)

    def reset_totals(self) -> None:
        """Sets the running sums back to nothing."""
        with self.strategy.scope():
            self.totals.assign(tf.zeros(3))

    def compute_gradients(self, batch: tuple[Any, Any]) -> tuple[list[Any], Any]:
        """Returns the gradients of a replica, scaled as the optimizer wants them, and what the totals gain.

        Called within `strategy.run`, or on a single device.
        """
        images, targets = batch
        variables = [variable.value for variable in self._trained]
        # Watching those alone keeps the tape off whatever lies below them, such as a frozen backbone.
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(variables)
            logits = self.model(images, training=True)
            loss_sum = tf.reduce_sum(tf.cast(self._loss(targets, logits), tf.float32))
            loss = loss_sum / self._global_batch_size
            if self.model.losses:  # regularisation counts once, not once a replica
                loss += tf.add_n(self.model.losses) / self.strategy.num_replicas_in_sync
            scaled = self.optimizer.scale_loss(loss)
        # A list in the order of the variables; scaling back is the optimizer's own business.
        gradients = tape.gradient(scaled, variables)
        right = tf.reduce_sum(_right_share(targets, logits, self._activation, self._index))
        return gradients, tf.stack([loss_sum, right, tf.cast(tf.shape(targets)[0], tf.float32)])

    def _replica_step(self, batch: tuple[Any, Any]) -> None:
        with self._kernels():
            gradients, totals = self._gradients(batch)
        if self._may_overflow:
            gradients = share_overflow(gradients)
        self.optimizer.apply(gradients, self._trained)
        self.totals.assign_add(totals)

    def _average_statistics(self) -> None:
        values = self.strategy.run(lambda: [tf.identity(variable.value) for variable in self._statistics])
        for variable, value in zip(self._statistics, values, strict=True):
            variable.assign(self.strategy.reduce("MEAN", value, axis=None))

    def _sum_like_gradients(self) -> Any:
        return _touch(sum_over_replicas([tf.identity(variable.value) for variable in self._trained]))

    def _touch_weights(self) -> Any:
        return _touch([variable.value for variable in self._trained])


class PredictStep:
    """Computes probabilities, or other outputs, on every replica; every example comes back once, in order.

    Args:
        model: Takes uint8 images, gives logits (batch, classes).
        strategy: The strategy under whose scope the model was built.
        activation: What makes probabilities of the logits: ``"softmax"``, each row sums to 1; ``"sigmoid"``,
            each class has one of its own; ``"none"``: the outputs stay as they are.
        jit_compile: Compile with XLA.
    """

    def __init__(
        self,
        *,
        model: keras.Model,
        strategy: Any,
        activation: Activation | Literal["none"] = "softmax",
        jit_compile: bool = False,
    ) -> None:
        self._strategy = strategy
        activate = {"softmax": tf.nn.softmax, "sigmoid": tf.nn.sigmoid, "none": tf.identity}[activation]
        self.local_replicas = len(strategy.extended.worker_devices)

        def predict(images: Any) -> Any:
            return activate(tf.cast(model(images, training=False), tf.float32))

        replica_predict = _compile(predict, jit_compile and not _on_tpu(strategy))
        self._predict = tf.function(
            lambda images: strategy.run(replica_predict, args=(images,)), autograph=False
        )

    def __call__(self, images: Any) -> np.ndarray:
        """Returns probabilities, float32 (batch, classes), for uint8 images (batch, height, width, channels).

        The local replicas share the batch: it must be a multiple of their number. Under several workers
        each predicts all that it is given, so nothing is exchanged.
        """
        return self.collect(self.dispatch(images))

    def dispatch(self, images: Any) -> Any:
        """Starts a prediction and returns what `collect` waits for: input can overlap with compute."""
        return self.run(share_among_replicas(self._strategy, images))

    def run(self, images: Any) -> Any:
        """Starts a prediction of images that lie on the devices, as `share_among_replicas` puts them."""
        return self._predict(images)

    def collect(self, pending: Any) -> np.ndarray:
        """Returns the probabilities that a `dispatch` promised."""
        parts = self._strategy.experimental_local_results(pending)
        return np.concatenate([part.numpy() for part in parts])


def share_among_replicas(strategy: Any, batch: Any) -> Any:
    """Returns a host batch (a tensor, or a tuple of them) as one distributed value, split evenly in order.

    The batch already lies on the devices when this returns, as a synthetic batch should.
    """
    devices = strategy.extended.worker_devices
    if strategy.num_replicas_in_sync == 1:
        with tf.device(devices[0]):
            return tf.nest.map_structure(tf.identity, batch)
    with tf.device("CPU:0"):  # on a device, all of the batch would have to go there first
        pieces = [tf.split(tensor, len(devices)) for tensor in tf.nest.flatten(batch)]

    def piece(context: Any) -> Any:
        index = context.replica_id_in_sync_group % len(devices)
        with tf.device(devices[index]):
            return tf.nest.pack_sequence_as(batch, [tf.identity(of_all[index]) for of_all in pieces])

    return strategy.experimental_distribute_values_from_function(piece)


def _touch(tensors: list[Any]) -> Any:
    """Returns a scalar that depends on every tensor."""
    return tf.add_n([tf.cast(tf.reshape(tensor, [-1])[0], tf.float32) for tensor in tensors])


def _right_share(targets: Any, logits: Any, activation: Activation, index: Any) -> Any:
    """Returns how much of each example is right, float32 (batch,); see `TrainStep.read_totals`."""
    if activation == "sigmoid":
        return tf.reduce_mean(tf.cast((logits > 0) == (targets > 0.5), tf.float32), axis=-1)
    classes = tf.cast(targets, index) if targets.shape.rank == 1 else tf.argmax(targets, -1, index)
    return tf.cast(tf.argmax(logits, -1, index) == classes, tf.float32)


def _on_tpu(strategy: Any) -> bool:
    return any("TPU" in device for device in strategy.extended.worker_devices)


def _compile(function: Any, jit_compile: bool) -> Any:
    return tf.function(function, jit_compile=True, autograph=False) if jit_compile else function
