"""Read, decode, resize and batch large JPEG photographs, with nothing to feed.

The files lie in the page cache after the warm-up; the record says so ("page_cache": "warm").
"""

import itertools
import time
from dataclasses import replace
from typing import Any

import numpy as np

from tpuens.data.examples import Examples

from ..measuring.timing import Probe
from ..records.record import WorkloadKey
from ..suites import Request
from .workload import (
    Phases,
    Workload,
    count_parallel_calls,
    describe_configuration,
    describe_dataset,
    load_parts,
    make_pipeline,
    resolve_batch,
    resolve_image_shape,
)

DEFAULT_BATCH_SIZE = 16
DEFAULT_DATASET = "photographs"
# One long epoch, so that pipeline starts are rare among the samples.
EXAMPLES = 100_000


def prepare(request: Request, strategy: Any, phases: Phases) -> Workload:
    """Returns the pipeline to time, block by block."""
    batch = resolve_batch(request, strategy, DEFAULT_BATCH_SIZE)
    examples, _ = load_parts(request, phases, DEFAULT_DATASET)
    with phases("build"):
        pipeline = make_pipeline(request, repeat_examples(examples, EXAMPLES), cache=False)
        epochs = (pipeline.train_batches(batch.global_, epoch=epoch) for epoch in itertools.count())
        batches = itertools.chain.from_iterable(epochs)
    with phases("first_step"):
        next(batches)

    def step() -> float:
        start = time.perf_counter()
        next(batches)
        return time.perf_counter() - start

    return Workload(
        key=WorkloadKey(
            scenario="input-pipeline",
            image_shape=resolve_image_shape(request),
            dataset=describe_dataset(request, DEFAULT_DATASET),
            num_classes=len(examples.class_names),
            phase="input",
            options={"cache": "none", "page_cache": "warm"},
        ),
        configuration=describe_configuration(
            request, strategy, batch, num_parallel_calls=count_parallel_calls()
        ),
        probes=(
            Probe(
                name="input",
                step=step,
                fence=lambda: None,  # a batch is on the host when next() returns
                examples_per_step=batch.global_,
                parameters={},
            ),
        ),
        dataset_fingerprint=examples.fingerprint(),
    )


def repeat_examples(examples: Examples, count: int) -> Examples:
    """Returns at least `count` examples: the same ones again and again, under ids of their own."""
    rounds = -(-count // len(examples))
    again = np.tile(np.arange(len(examples)), rounds)
    return replace(
        examples,
        ids=np.array([f"{id_}#{round_}" for round_ in range(rounds) for id_ in examples.ids]),
        labels=None if examples.labels is None else examples.labels[again],
        images=examples.images.subset(again),
    )
