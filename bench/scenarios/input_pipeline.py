"""Read, decode, resize and batch large JPEG photographs, with nothing to feed.

Every file is read once before the clock starts, so that it lies in the page cache; the record says
("page_cache") whether there is room for all of them there.
"""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from tpuens.data.examples import Examples, FileImages

from ..measuring.timing import Probe
from ..records.record import WorkloadKey
from ..suites import Request
from .workload import (
    Phases,
    Workload,
    describe_configuration,
    describe_dataset,
    describe_pipeline,
    load_parts,
    make_pipeline,
    resolve_batch,
    resolve_image_shape,
)

DEFAULT_BATCH_SIZE = 16
DEFAULT_DATASET = "photographs"


def prepare(request: Request, strategy: Any, phases: Phases) -> Workload:
    """Returns the pipeline to time, block by block."""
    batch = resolve_batch(request, strategy, DEFAULT_BATCH_SIZE)
    examples, _ = load_parts(request, phases, DEFAULT_DATASET)
    with phases("page_cache"):
        page_cache = warm_page_cache(examples)
    with phases("build"):
        # An epoch needs a batch at least, and the photographs are few.
        pipeline = make_pipeline(request, repeat_examples(examples, batch.global_), cache="none")
        steps = len(pipeline.examples) // batch.global_
        batches = iter(pipeline.train_stream(batch.global_, epoch=0, batches_per_epoch=steps))
    with phases("first_step"):
        next(batches)
    if pipeline.config.cache != "none":
        with phases("first_input_epoch"):  # fills it
            for _ in range(steps):
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
            augment=request.scenario.augment,
            options={"page_cache": page_cache},
        ),
        configuration=describe_configuration(request, strategy, batch, **describe_pipeline(pipeline)),
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


def warm_page_cache(examples: Examples) -> str:
    """Reads every file once; returns "warm", "cold" where they cannot all stay, or "none" without files."""
    if not isinstance(examples.images, FileImages):
        return "none"
    paths = [Path(path) for path in examples.images.paths]
    if sum(path.stat().st_size for path in paths) > psutil.virtual_memory().available / 2:
        return "cold"
    for path in paths:
        path.read_bytes()
    return "warm"


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
