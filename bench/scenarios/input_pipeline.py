"""Read, decode, resize and batch large JPEG photographs, with nothing to feed: by our pipeline, or by what
users would run instead (`bench.peers`).

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
from tpuens.data.streams import count_parallel_calls
from tpuens.errors import ConfigurationError

from ..measuring.timing import Probe
from ..peers.table import LOADERS, Delivery, LoaderWork
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
    # An epoch needs a batch at least, and the photographs are few.
    repeated = repeat_examples(examples, batch.global_)
    steps = len(repeated) // batch.global_
    with phases("build"):
        if request.scenario.loader == "tpuens":
            delivery = open_pipeline(request, repeated, batch.global_)
        else:
            delivery = open_peer(request, repeated, batch.global_)
    batches = delivery.batches
    with phases("first_step"):
        next(batches)
    if delivery.cache != "none":
        with phases("first_input_epoch"):  # fills it
            for _ in range(steps):
                next(batches)

    def step() -> float:
        start = time.perf_counter()
        for _ in range(delivery.burst):
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
        configuration=describe_configuration(
            request,
            strategy,
            batch,
            num_parallel_calls=delivery.num_parallel_calls,
            prefetch=delivery.prefetch,
            cache=delivery.cache,
            loader=request.scenario.loader,
            peer_settings=dict(delivery.settings),
        ),
        probes=(
            Probe(
                name="input",
                step=step,
                fence=lambda: None,  # a batch is on the host when next() returns
                examples_per_step=batch.global_,
                steps_per_call=delivery.burst,
                parameters={},
                lead_steps=1,  # what is ready when a turn begins
                in_process=delivery.in_process,
            ),
        ),
        dataset_fingerprint=examples.fingerprint(),
    )


def open_pipeline(request: Request, examples: Examples, batch_size: int) -> Delivery:
    """Returns the batches of our own pipeline."""
    pipeline = make_pipeline(request, examples, cache="none")
    steps = len(examples) // batch_size
    batches = iter(pipeline.train_stream(batch_size, epoch=0, batches_per_epoch=steps))
    return Delivery(batches=batches, **describe_pipeline(pipeline))


def open_peer(request: Request, examples: Examples, batch_size: int) -> Delivery:
    """Returns the batches of what users would run instead.

    Raises:
        ConfigurationError: It is to do what it is not set up for, or one of its packages is missing.
    """
    scenario = request.scenario
    plain = not scenario.augment and scenario.cache in (None, "none") and scenario.prefetch is None
    if not plain or scenario.colour != "rgb" or not isinstance(examples.images, FileImages):
        raise ConfigurationError(
            "What users would run instead reads colour images from files, and is set up as its own "
            f"documentation says: without augment, cache and prefetch. Received: loader={scenario.loader!r}, "
            f"dataset={examples.dataset!r}, augment={scenario.augment}, cache={scenario.cache!r}, "
            f"prefetch={scenario.prefetch}, colour={scenario.colour!r}"
        )
    work = LoaderWork(
        paths=tuple(map(str, examples.images.paths)),
        labels=tuple(examples.known_labels.tolist()),
        image_shape=resolve_image_shape(request),
        batch_size=batch_size,
        seed=scenario.seed,
        workers=count_parallel_calls(),
    )
    delivery: Delivery = LOADERS[scenario.loader].load()(work)
    return delivery


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
