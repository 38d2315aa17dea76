"""The training step of Keras's own compile and fit, as an arm beside ours.

Model, optimizer, loss, batches and fence are those of the other arm, and so is whether XLA compiles; the
rest is what Keras's guides do: the loss from logits and ``metrics=["accuracy"]``, which our step counts too.

What is timed is `model.train_function`, the one thing that `fit` calls for every step: on the iterator of
the epoch where input belongs to the reading, on a batch that lies on the device where it does not. On the
host that is an iterator too, which gives the one batch again and again: `fit` has traced its step for such
ones, and tracing a large network once more takes a minute; on an accelerator it would copy the batch there.
Inside the iterator's graph nothing shows how long it waits for input, so such a series has no blocked time.
Left out is what `fit` adds once an epoch, whatever the number of its steps (opening the iterator, reading
the metrics), and the calls of callbacks after every step: without a progress bar there is only the history,
which does nothing then.
"""

from collections.abc import Callable, Iterator
from typing import Any

import keras
import tensorflow as tf

from tpuens.errors import ConfigurationError
from tpuens.training.loop import Trainer

_LOSSES = {
    "sparse_categorical_crossentropy": keras.losses.SparseCategoricalCrossentropy,
    "categorical_crossentropy": keras.losses.CategoricalCrossentropy,
}


def start_fit(trainer: Trainer, batch: Any, *, loss: str, jit_compile: bool) -> None:
    """Compiles the trainer's model and lets `fit` take the first step, on that batch.

    Args:
        trainer: Its model and optimizer are used, its step is not.
        batch: Images and targets on the devices, as the steps to come will get them.
        loss: A name in the core's table; one of the two cross-entropies.
        jit_compile: Whether XLA compiles; Keras alone would decide by the layers.

    Raises:
        ConfigurationError: The strategy has several workers.
    """
    strategy = trainer.strategy
    if len(strategy.extended.worker_devices) < strategy.num_replicas_in_sync:
        raise ConfigurationError(
            "Keras's fit fails under several workers: take loop='tpuens'. Received: loop='keras-fit' on "
            f"{strategy.num_replicas_in_sync} replicas, {len(strategy.extended.worker_devices)} of them here"
        )
    model = trainer.model
    with strategy.scope():
        model.compile(
            optimizer=trainer.step.optimizer,
            loss=_LOSSES[loss](from_logits=True),
            metrics=["accuracy"],
            jit_compile=jit_compile,
        )
    model.fit(_repeat_batch(trainer, batch, 1), epochs=1, shuffle=False, verbose=0)


def make_batch_step(trainer: Trainer, batch: Any) -> Callable[[], None]:
    """Returns fit's step on one and the same batch."""
    strategy = trainer.strategy
    if all("CPU" in device for device in strategy.extended.worker_devices):
        batches = strategy.experimental_distribute_dataset(_repeat_batch(trainer, batch, None))
        return make_iterator_step(trainer, iter(batches))

    def step() -> None:
        trainer.model.train_function((batch,))

    return step


def make_iterator_step(trainer: Trainer, batches: Iterator[Any]) -> Callable[[], None]:
    """Returns fit's step on the next batch of an iterator, which it takes inside its graph."""

    def step() -> None:
        trainer.model.train_function(batches)

    return step


def _repeat_batch(trainer: Trainer, batch: Any, count: int | None) -> tf.data.Dataset:
    """Returns a data set of so many times a batch over all replicas; None for without end."""
    whole = tuple(tf.concat(trainer.strategy.experimental_local_results(part), 0) for part in batch)
    return tf.data.Dataset.from_tensors(whole).repeat(count)
