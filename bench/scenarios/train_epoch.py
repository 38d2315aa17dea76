"""Pipeline and training step together, and each alone, on real images.

On a CPU input and compute share the cores, so subtracting the readings says nothing there; the time that
`next()` keeps the loop waiting does, and is measured directly.
"""

import itertools
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from ..measuring.timing import Probe
from ..records.record import WorkloadKey
from ..suites import Request
from .flops import training_network
from .keras_fit import make_iterator_step
from .synchronising import make_synchronise_probes
from .workload import (
    Phases,
    Workload,
    build_trainer,
    describe_configuration,
    describe_dataset,
    describe_optimizer,
    describe_pipeline,
    load_parts,
    make_pipeline,
    make_synthetic_batch,
    read_options,
    resolve_batch,
    resolve_image_shape,
    resolve_loss,
    start_step,
    take_first,
)

DEFAULT_BATCH_SIZE = 64
EPOCHS = 2  # at least, so that the cache shows


def prepare(request: Request, strategy: Any, phases: Phases) -> Workload:
    """Returns three probes: compute alone, input alone, and both with the wait for input."""
    batch = resolve_batch(request, strategy, DEFAULT_BATCH_SIZE)
    examples, _ = load_parts(request, phases)
    examples = take_first(examples, int(read_options(request)["examples"]))
    num_classes = len(examples.class_names)
    trainer = build_trainer(request, strategy, phases, batch=batch, num_classes=num_classes)
    synthetic = make_synthetic_batch(request, strategy, batch, num_classes)
    compute = start_step(request, trainer, synthetic, phases)
    pipeline = make_pipeline(request, examples)
    steps = trainer.count_steps(examples)
    with phases("first_input_epoch"):  # fills the cache
        for _ in itertools.islice(trainer.open_epochs(pipeline, 0), steps):
            pass

    batches, per_call = trainer.open_epochs(pipeline, 0), request.scenario.steps_per_execution
    both: Callable[[], float | None] = make_feed_step(batches, trainer.step)
    if per_call > 1:
        both = partial(trainer.step.run, batches, per_call)
    elif request.scenario.loop == "keras-fit":
        both = make_iterator_step(trainer, batches)
    if per_call > 1 or request.scenario.loop == "keras-fit":
        with phases("second_trace"):  # for batches of another origin than those of the first step
            both()
            trainer.step.fence()

    def probe(name: str, step: Callable[[], float | None], min_steps: int, per_call: int = per_call) -> Probe:
        return Probe(
            name=name,
            step=step,
            fence=trainer.step.fence,
            examples_per_step=batch.global_,
            steps_per_call=per_call,
            parameters={},
            min_steps=-(-min_steps // per_call),
            max_block_steps=-(-steps // per_call),
        )

    return Workload(
        key=WorkloadKey(
            scenario="train-epoch",
            backbone=request.scenario.backbone or "cifar_cnn",
            image_shape=resolve_image_shape(request),
            dataset=describe_dataset(request),
            num_classes=num_classes,
            loss=resolve_loss(request),
            augment=request.scenario.augment,
            options={"examples": len(examples)},
        ),
        configuration=describe_configuration(
            request,
            strategy,
            batch,
            optimizer=describe_optimizer(request, strategy),
            **describe_pipeline(pipeline),
        ),
        probes=(
            probe("compute", compute, 1),
            probe("input", make_feed_step(trainer.open_epochs(pipeline, 0)), EPOCHS * steps, 1),
            probe("both", both, EPOCHS * steps),
            *make_synchronise_probes(trainer, phases),
        ),
        fence=trainer.step.fence,
        networks=lambda: [training_network(trainer, synthetic)],
        dataset_fingerprint=examples.fingerprint(),
    )


def make_feed_step(
    batches: Iterator[Any], consume: Callable[[Any], None] | None = None
) -> Callable[[], float]:
    """Returns a step that takes a batch, gives it to `consume`, and returns the seconds it waited for it."""

    def step() -> float:
        start = time.perf_counter()
        batch = next(batches)
        waited = time.perf_counter() - start
        if consume is not None:
            consume(batch)
        return waited

    return step
