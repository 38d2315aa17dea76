"""The loop: epochs of steps over a pipeline, and predictions, under any strategy."""

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import keras
import numpy as np

from ..data.decode import name_corrupt_images
from ..data.examples import Examples
from ..data.streams import untuned_buffers
from ..errors import ConfigurationError
from .losses import LossConfig, activation_of, make_loss
from .step import PredictStep, TrainStep
from .workers import check_reachable

# How often progress is told. Telling it waits for the device, so that the rate is that of finished work.
PROGRESS_SECONDS = 0.5


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far an epoch is. `examples_per_second` leaves out the first step; None until there is a second."""

    epoch: int
    step: int
    steps: int
    examples_per_second: float | None


@dataclass(frozen=True, kw_only=True)
class EpochReport:
    """What one epoch of training did. Times are in seconds.

    Attributes:
        first_step_seconds: Tracing, compiling and running this process's very first call; None in later
            epochs. Part of `seconds`, but not of `examples_per_second`.
        blocked_seconds: How long the loop waited for the next batch; None where calls of several steps take
            their batches themselves.
    """

    epoch: int
    steps: int
    examples: int
    loss: float
    accuracy: float
    seconds: float
    first_step_seconds: float | None
    blocked_seconds: float | None
    examples_per_second: float | None


class BatchSource(Protocol):
    """What epochs and evaluations draw from: a `Pipeline` of images, or one of their features."""

    examples: Examples

    def train_stream(
        self,
        batch_size: int,
        *,
        epoch: int,
        batches_per_epoch: int,
        skip_batches: int = 0,
        shard: tuple[int, int] = (0, 1),
    ) -> Any:
        """Returns the shuffled batches of an epoch and of all that follow, as `Pipeline.train_stream`."""

    def evaluation_batches(self, batch_size: int, view: str = "plain") -> Any:
        """Returns every example once, in order, as `Pipeline.evaluation_batches`."""


class Trainer:
    """Trains a model and predicts with it, under one strategy.

    Args:
        model: From `tpuens.models.classifier.build_classifier`, built under the strategy's scope.
        optimizer: From `make_optimizer`, made under the strategy's scope.
        strategy: What `open_strategy` returned.
        per_replica_batch_size: Examples a step on each replica.
        loss: Which loss; what targets it takes, `losses.targets_of` says.
        jit_compile: Compile the steps with XLA.
        steps_per_execution: Steps in a call of the compiled function, which takes their batches itself. Less
            work for the host; and between two calls alone can training be stopped.
        clock: Seconds, monotonic.
    """

    def __init__(
        self,
        *,
        model: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        strategy: Any,
        per_replica_batch_size: int,
        loss: LossConfig | None = None,
        jit_compile: bool = False,
        steps_per_execution: int = 1,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        loss = loss or LossConfig()
        self.model = model
        self.steps_per_execution = steps_per_execution
        self.strategy = strategy
        self.per_replica_batch_size = per_replica_batch_size
        self.global_batch_size = per_replica_batch_size * strategy.num_replicas_in_sync
        self.step = TrainStep(
            model=model,
            loss=make_loss(loss),
            activation=activation_of(loss.name),
            optimizer=optimizer,
            strategy=strategy,
            global_batch_size=self.global_batch_size,
            jit_compile=jit_compile,
        )
        self.predict_step = PredictStep(
            model=model,
            strategy=strategy,
            activation=activation_of(loss.name),
            jit_compile=jit_compile,
        )
        self._clock = clock
        self._is_fresh = True
        self._under_way: tuple[BatchSource, int, Any] | None = None  # what is trained on, next epoch, batches

    def count_steps(self, examples: Examples) -> int:
        """Returns the steps of an epoch; what does not fill a global batch waits for another shuffle.

        Raises:
            ConfigurationError: There are fewer examples than one step takes.
        """
        steps = len(examples) // self.global_batch_size
        if not steps:
            raise ConfigurationError(
                f"A step takes {self.global_batch_size} examples ({self.per_replica_batch_size} for each of "
                f"{self.strategy.num_replicas_in_sync} replicas): choose a smaller batch. "
                f"Received: {len(examples)} training examples of {examples.dataset}"
            )
        return steps

    def open_epochs(self, pipeline: BatchSource, epoch: int, *, skip_steps: int = 0) -> Any:
        """Returns an iterator over distributed batches, from step `skip_steps` of an epoch on, without end.

        An epoch is `count_steps` of them.
        """
        steps = self.count_steps(pipeline.examples)
        check_reachable(self.strategy)

        def open_shard(context: Any) -> Any:
            # Not the strategy's own devices: a TPU slice counts those of all its hosts as one worker's.
            fed_replicas = context.num_replicas_in_sync // context.num_input_pipelines
            return pipeline.train_stream(
                self.per_replica_batch_size,
                epoch=epoch,
                batches_per_epoch=steps * fed_replicas,
                skip_batches=skip_steps * fed_replicas,
                shard=(context.input_pipeline_id, context.num_input_pipelines),
            )

        with untuned_buffers():
            return iter(self.strategy.distribute_datasets_from_function(open_shard))

    def train_epoch(
        self,
        pipeline: BatchSource,
        epoch: int,
        *,
        skip_steps: int = 0,
        on_step: Callable[[int], None] = lambda step: None,
        on_progress: Callable[[Progress], None] = lambda progress: None,
    ) -> EpochReport:
        """Trains for one epoch and returns what it did.

        Args:
            pipeline: Delivers the examples; the epoch's number and the pipeline's seed fix their order.
            epoch: Number of the epoch, from 0.
            skip_steps: Steps that an interrupted run has behind it already.
            on_step: Called with the number of steps done after each call; may raise to stop there.
            on_progress: Called about twice a second, once the device has caught up.

        Raises:
            DataError: An image is corrupt; the message names its file.
        """
        steps = self.count_steps(pipeline.examples)
        if not skip_steps:
            self.step.reset_totals()
        start = told = self._clock()
        blocked = 0.0
        first_step_seconds: float | None = None
        steady_from, steady_start = skip_steps, start
        with name_corrupt_images(pipeline.examples):
            iterator = self._go_on(pipeline, epoch, skip_steps)
            for done in range(skip_steps, steps, self.steps_per_execution):
                step = min(done + self.steps_per_execution, steps)
                before = self._clock()
                if self.steps_per_execution > 1:
                    self.step.run(iterator, step - done)
                else:
                    batch = next(iterator)
                    blocked += self._clock() - before
                    self.step(batch)
                if self._is_fresh:
                    self._is_fresh = False
                    self.step.fence()
                    steady_from, steady_start = step, self._clock()
                    first_step_seconds = steady_start - before
                on_step(step)
                if self._clock() - told > PROGRESS_SECONDS or step == steps:
                    self.step.fence()
                    told = self._clock()
                    rate = self._rate(step - steady_from, told - steady_start)
                    on_progress(Progress(epoch=epoch, step=step, steps=steps, examples_per_second=rate))
            self._under_way = (pipeline, epoch + 1, iterator)
        self.step.synchronise()
        end = self._clock()
        loss, accuracy, examples = self.step.read_totals()
        return EpochReport(
            epoch=epoch,
            steps=steps,
            examples=examples,
            loss=loss,
            accuracy=accuracy,
            seconds=end - start,
            first_step_seconds=first_step_seconds,
            blocked_seconds=blocked if self.steps_per_execution == 1 else None,
            examples_per_second=self._rate(steps - steady_from, end - steady_start),
        )

    def predict(self, pipeline: BatchSource, views: Sequence[str] = ("plain",)) -> np.ndarray:
        """Returns probabilities, float32 (examples, classes): the mean over the views of each example."""
        return predict_examples(
            self.predict_step, pipeline, views, per_replica_batch_size=self.per_replica_batch_size
        )

    def _go_on(self, pipeline: BatchSource, epoch: int, skip_steps: int) -> Any:
        """Returns the iterator that the epoch before has left, where it goes on here; else a new one."""
        under_way, self._under_way = self._under_way, None
        if under_way is not None and not skip_steps and under_way[0] is pipeline and under_way[1] == epoch:
            return under_way[2]
        return self.open_epochs(pipeline, epoch, skip_steps=skip_steps)

    def _rate(self, steps: int, seconds: float) -> float | None:
        return steps * self.global_batch_size / seconds if steps > 0 and seconds > 0 else None


def predict_examples(
    step: PredictStep,
    pipeline: BatchSource,
    views: Sequence[str] = ("plain",),
    *,
    per_replica_batch_size: int,
) -> np.ndarray:
    """Returns all that `stream_probabilities` yields, float32 (examples, classes)."""
    batches = stream_probabilities(step, pipeline, views, per_replica_batch_size=per_replica_batch_size)
    first = next(batches)
    probabilities = np.empty((len(pipeline.examples), first.shape[1]), np.float32)
    done = 0
    for batch in itertools.chain([first], batches):
        probabilities[done : done + len(batch)] = batch
        done += len(batch)
    return probabilities


def stream_probabilities(
    step: PredictStep,
    pipeline: BatchSource,
    views: Sequence[str] = ("plain",),
    *,
    per_replica_batch_size: int,
) -> Iterator[np.ndarray]:
    """Yields probabilities, float32 (batch, classes), in the order of the pipeline's examples.

    They are the mean over the views of each example. One batch is on its way while the one before is read
    back, so input, compute and copies overlap, and no more than these are held.

    Raises:
        DataError: An image is corrupt; the message names its file.
    """
    size = per_replica_batch_size * step.local_replicas
    for batches in zip(*(_stream_view(step, pipeline, view, size) for view in views), strict=True):
        yield batches[0] if len(batches) == 1 else np.mean(batches, axis=0)


def _stream_view(step: PredictStep, pipeline: BatchSource, view: str, size: int) -> Iterator[np.ndarray]:
    under_way: tuple[Any, np.ndarray] | None = None
    with name_corrupt_images(pipeline.examples):
        for images, index in pipeline.evaluation_batches(size, view):
            started = (step.dispatch(images), index.numpy())
            if under_way is not None:
                yield _collect(step, *under_way)
            under_way = started
        if under_way is not None:
            yield _collect(step, *under_way)


def _collect(step: PredictStep, pending: Any, index: np.ndarray) -> np.ndarray:
    return step.collect(pending)[index >= 0]  # the last batch is padded to its full size with index -1
