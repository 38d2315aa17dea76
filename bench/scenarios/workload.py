"""What a scenario prepares, and what it is prepared from."""

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import keras
import tensorflow as tf

from tpuens.data.augment import AUGMENTATIONS
from tpuens.data.datasets import DATASETS, load_examples
from tpuens.data.examples import Examples
from tpuens.data.pipeline import Pipeline, PipelineConfig
from tpuens.data.splits import TEST_FRACTION, TEST_SEED, split_holdout
from tpuens.data.streams import PREFETCH_BATCHES, count_parallel_calls
from tpuens.errors import ConfigurationError
from tpuens.hardware.allocator import keep_freed_memory
from tpuens.hardware.batches import BatchSize, resolve_batch_size
from tpuens.models.backbones import BACKBONES
from tpuens.models.classifier import build_classifier
from tpuens.training.loop import Trainer
from tpuens.training.losses import LossConfig, targets_of
from tpuens.training.optimizers import Implementation, choose_implementation, make_optimizer
from tpuens.training.step import share_among_replicas

from ..measuring.timing import Probe
from ..peers.table import LOOPS
from ..records.record import Configuration, Metric, Outcomes, WorkloadKey
from ..suites import Cache, Request
from .arithmetic import float32_arithmetic, is_tpu
from .flops import Network
from .keras_fit import make_batch_step, start_fit
from .table import SCENARIOS

OPTIMIZER = "adam"
LOSS = "sparse_categorical_crossentropy"
MIXED_LOSS = "categorical_crossentropy"
LEARNING_RATE = 1e-3
SYNTHETIC_CLASSES = 10


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What a scenario found out besides times."""

    metrics: list[Metric]
    outcomes: list[Outcomes] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Workload:
    """Something ready to be measured.

    Attributes:
        key: What is computed.
        configuration: How.
        probes: What to time, in order.
        in_rounds: Whether the probes take turns, block by block, so that their figures can be compared.
        fence: The fence of the timed step, to time it with nothing to wait for; None where there is none.
        evaluate: What to find out besides times; told of progress by (done, of).
        dataset_fingerprint: Of the examples, where there are real ones.
        networks: Makes what an example goes through, for its FLOPs to be counted; None where nothing is
            multiplied, or nothing but what the scenario's own parameters say.
    """

    key: WorkloadKey
    configuration: Configuration
    probes: tuple[Probe, ...] = ()
    in_rounds: bool = False
    fence: Callable[[], object] | None = None
    evaluate: Callable[[Callable[[int, int], None]], Evaluation] | None = None
    dataset_fingerprint: str | None = None
    networks: Callable[[], Sequence[Network]] | None = None


@dataclass
class Phases:
    """Seconds spent in each phase of a run; entering one is told to `on_enter`."""

    on_enter: Callable[[str], None] = lambda name: None
    clock: Callable[[], float] = time.perf_counter
    seconds: dict[str, float] = field(default_factory=dict)

    @contextlib.contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Adds the time within to the phase."""
        self.on_enter(name)
        start = self.clock()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + self.clock() - start


def read_options(request: Request) -> dict[str, Any]:
    """Returns the scenario's options: those of the request over its row's own values."""
    return {**SCENARIOS[request.scenario.name].options, **request.scenario.options}


def resolve_batch(request: Request, strategy: Any, default: int) -> BatchSize:
    """Returns the batch of the request; it grows with the replicas."""
    size = request.scenario.batch_size or default
    return resolve_batch_size(strategy.num_replicas_in_sync, per_replica_batch_size=size)


def resolve_image_shape(request: Request) -> tuple[int, int, int]:
    """Returns height, width and channels: the size asked for or the backbone's own; RGB or grey."""
    size = request.scenario.image_size or BACKBONES[request.scenario.backbone or "cifar_cnn"].image_size
    return size, size, 1 if request.scenario.colour == "grey" else 3


def resolve_loss(request: Request) -> str:
    """Returns the name of the loss: cross-entropy, with targets that are vectors where labels are mixed."""
    mixed = any(AUGMENTATIONS[name].level == "batch" for name in request.scenario.augment)
    return MIXED_LOSS if mixed else LOSS


def resolve_implementation(request: Request, strategy: Any) -> Implementation:
    """Returns whose optimizer trains: what was asked for, else the loop's own."""
    if request.scenario.optimizer is not None:
        return request.scenario.optimizer
    return "keras" if request.scenario.loop == "keras-fit" else choose_implementation(strategy)


def describe_optimizer(request: Request, strategy: Any) -> str:
    """Returns the optimizer as a configuration names it."""
    return OPTIMIZER if resolve_implementation(request, strategy) == "keras" else f"{OPTIMIZER} (fused)"


def describe_configuration(
    request: Request, strategy: Any, batch: BatchSize | None, **more: Any
) -> Configuration:
    """Returns the configuration of a run as it was resolved."""
    variables = os.environ
    return Configuration(
        strategy=request.public_strategy,
        num_replicas=strategy.num_replicas_in_sync,
        per_replica_batch_size=None if batch is None else batch.per_replica,
        global_batch_size=None if batch is None else batch.global_,
        dtype_policy=request.scenario.dtype_policy,
        float32_arithmetic=float32_arithmetic(strategy),
        jit_compile=request.scenario.jit or is_tpu(strategy),
        steps_per_execution=request.scenario.steps_per_execution,
        intra_op_threads=_read_number(variables.get("TF_NUM_INTRAOP_THREADS")),
        inter_op_threads=_read_number(variables.get("TF_NUM_INTEROP_THREADS")),
        keeps_freed_memory=request.strategy.startswith("cpu") and keep_freed_memory(),
        loop=request.scenario.loop,
        planted=request.scenario.planted,
        **more,
    )


def build_trainer(
    request: Request,
    strategy: Any,
    phases: Phases,
    *,
    batch: BatchSize,
    num_classes: int,
    seed: int | None = None,
    backbone: str | None = None,
) -> Trainer:
    """Returns the core's trainer on a freshly built model: what scenarios time is what users train with."""
    with phases("build"), strategy.scope():
        keras.utils.set_random_seed(request.scenario.seed if seed is None else seed)
        model = build_model(request, num_classes=num_classes, backbone=backbone)
        return make_trainer(request, strategy, model, batch)


def make_trainer(request: Request, strategy: Any, model: keras.Model, batch: BatchSize) -> Trainer:
    """Returns the core's trainer on a model; call it under the strategy's scope."""
    optimizer = make_optimizer(
        OPTIMIZER,
        learning_rate=LEARNING_RATE,
        dtype_policy=request.scenario.dtype_policy,
        implementation=resolve_implementation(request, strategy),
    )
    return Trainer(
        model=model,
        optimizer=optimizer,
        strategy=strategy,
        per_replica_batch_size=batch.per_replica,
        loss=LossConfig(name=resolve_loss(request)),
        jit_compile=request.scenario.jit,
    )


def build_model(
    request: Request, *, num_classes: int, backbone: str | None = None, dtype_policy: str | None = None
) -> keras.Model:
    """Returns a randomly initialised classifier; call it under the strategy's scope."""
    return build_classifier(
        backbone=backbone or request.scenario.backbone or "cifar_cnn",
        num_classes=num_classes,
        image_shape=resolve_image_shape(request),
        dtype_policy=dtype_policy or request.scenario.dtype_policy,
    )


def load_parts(request: Request, phases: Phases, default: str = "digits") -> tuple[Examples, Examples]:
    """Returns the train and test parts of the request's data set; both are labelled.

    Where its own test part is not, a stratified fifth of the training part is held out instead.
    """
    name = request.scenario.dataset or default
    with phases("data"):
        parts = [load_examples(name, split, request.scenario.data_dir) for split in ("train", "test")]
        if parts[1].labels is None:
            parts = list(split_holdout(parts[0], fraction=TEST_FRACTION, seed=TEST_SEED))
    return parts[0], parts[1]


def take_first(examples: Examples, count: int) -> Examples:
    """Returns the first `count` examples; all of them where there are fewer, or for 0."""
    return examples.subset(range(count)) if 0 < count < len(examples) else examples


def make_pipeline(request: Request, examples: Examples, *, cache: Cache = "memory") -> Pipeline:
    """Returns a pipeline with fixed parallelism, so that nothing is still tuning itself while it is timed.

    Args:
        request: What of it is set there counts.
        examples: What to deliver.
        cache: Where decoded images are kept unless the request says otherwise.
    """
    scenario = request.scenario
    return Pipeline(
        examples,
        PipelineConfig(
            image_shape=resolve_image_shape(request),
            augment=scenario.augment,
            targets=targets_of(resolve_loss(request)),
            cache=scenario.cache or cache,
            seed=scenario.seed,
            num_parallel_calls=scenario.num_parallel_calls or count_parallel_calls(),
            prefetch=PREFETCH_BATCHES if scenario.prefetch is None else scenario.prefetch,
        ),
    )


def describe_pipeline(pipeline: Pipeline) -> dict[str, Any]:
    """Returns those fields of a configuration that a pipeline decides, as they were resolved."""
    config = pipeline.config
    return {
        "num_parallel_calls": config.num_parallel_calls,
        "prefetch": config.prefetch,
        "cache": config.cache,
    }


def make_synthetic_batch(request: Request, strategy: Any, batch: BatchSize, num_classes: int) -> Any:
    """Returns images, uint8, and targets of random content, already on the devices, replica by replica.

    Targets are int32, (b,), or, where the loss takes vectors, float32, (b, classes).
    """
    generator = tf.random.Generator.from_seed(request.scenario.seed)
    shape = (batch.global_, *resolve_image_shape(request))
    images = tf.cast(generator.uniform(shape, 0, 256, tf.int32), tf.uint8)
    targets = generator.uniform(shape[:1], 0, num_classes, tf.int32)
    if targets_of(resolve_loss(request)) == "vector":
        targets = tf.one_hot(targets, num_classes)
    return share_among_replicas(strategy, (images, targets))


def make_synthetic_images(request: Request, strategy: Any, batch: BatchSize) -> Any:
    """Returns images of random content, uint8, already on the devices."""
    return make_synthetic_batch(request, strategy, batch, SYNTHETIC_CLASSES)[0]


def start_step(request: Request, trainer: Trainer, batch: Any, phases: Phases) -> Callable[[], None]:
    """Traces and compiles the training step, runs it once, and returns it bound to the batch.

    What is returned runs as many steps a call as the scenario says. Under Keras's fit tracing is part of the
    first step. Calling its function on a batch, as `fit` does not, traces it again, which is a phase of the
    instrument's own.

    Raises:
        ConfigurationError: The loop is none of Keras's, or several steps a call of another loop than ours.
    """
    if request.scenario.loop in LOOPS:
        raise ConfigurationError(
            f"Its step alone is timed: take train-step. Received: loop={request.scenario.loop!r}"
        )
    steps = request.scenario.steps_per_execution
    if steps > 1 and request.scenario.loop != "tpuens":
        raise ConfigurationError(
            f"Only the loop tpuens takes several steps a call here. Received: steps_per_execution={steps}, "
            f"loop={request.scenario.loop!r}"
        )
    if request.scenario.loop == "keras-fit":
        with phases("first_step"):
            start_fit(trainer, batch, loss=resolve_loss(request), jit_compile=request.scenario.jit)
            trainer.step.fence()
        step = make_batch_step(trainer, batch)
        with phases("second_trace"):
            step()
            trainer.step.fence()
        return step
    with phases("trace"):
        trainer.step.trace(batch, steps)
    step = partial(trainer.step.run, batch, steps) if steps > 1 else partial(trainer.step, batch)
    with phases("first_step"):
        step()
        trainer.step.fence()
    return step


def describe_dataset(request: Request, default: str = "digits") -> str:
    """Returns the name of the request's data set, checked."""
    return DATASETS[request.scenario.dataset or default].name


def _read_number(text: str | None) -> int | None:
    return int(text) if text and text.isdecimal() else None
