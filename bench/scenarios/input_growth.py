"""How the input pipeline's throughput grows: with a file's bytes, the batch, the threads, the data set.

One thing varies in each sweep while the others stay as they are: batches of 16 photographs of about 280 KB,
read by as many parallel calls as there are cores, with no cache. In the sweep of the data set's length a
cache in memory holds `CACHED_IMAGES` images, and what has no room in it is decoded in every epoch. All files
lie in the page cache.

The points take turns, and each opens a stream of its own for every block, so that no other pipeline is at
work beside it and no batch lies ready: one is taken before the clock starts.
"""

import itertools
import math
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tpuens.data.examples import Examples, FileImages
from tpuens.data.photographs import WIDTH, make_photographs
from tpuens.data.pipeline import Pipeline, PipelineConfig
from tpuens.data.streams import count_parallel_calls

from ..measuring.timing import Probe
from ..records.record import Parameter, WorkloadKey
from ..suites import Request
from .input_pipeline import repeat_examples, warm_page_cache
from .workload import (
    Phases,
    Workload,
    describe_configuration,
    describe_pipeline,
    make_pipeline,
    resolve_batch,
    resolve_image_shape,
)

BATCH_SIZE = 16
WIDTHS = (256, 512, 1024, 2048, 4096)
BATCH_SIZES = (1, 4, 16, 64)
CACHED_IMAGES = 128
LENGTHS = (0.5, 1.0, 2.0, 5.0, 10.0)  # times the images that the cache holds
_CROPS = 8  # of each of the two photographs, at each width
_EXAMPLES = 256  # of an epoch; the files stand in it again and again


@dataclass(frozen=True, kw_only=True)
class Point:
    """A value of what a sweep varies, and everything else."""

    examples: Examples
    batch_size: int
    parallel_calls: int
    cache_bytes: int | None = None
    parameters: dict[str, Parameter]


def prepare(request: Request, strategy: Any, phases: Phases) -> Workload:
    """Returns a probe for each point of the four sweeps."""
    batch = resolve_batch(request, strategy, BATCH_SIZE)
    with phases("data"):
        files = {width: make_photographs(width, _CROPS) for width in WIDTHS}
    with phases("page_cache"):
        page_cache = {warm_page_cache(examples) for examples in files.values()}
    base = Point(
        examples=repeat_examples(files[WIDTH], _EXAMPLES),
        batch_size=batch.global_,
        parallel_calls=count_parallel_calls(),
        parameters={},
    )
    image_bytes = math.prod(resolve_image_shape(request))
    probes = [_make_probe(request, point, phases) for point in list_points(base, files, image_bytes)]
    configured = make_pipeline(request, base.examples, cache="none")
    return Workload(
        key=WorkloadKey(
            scenario="input-growth",
            image_shape=resolve_image_shape(request),
            dataset="photographs",
            num_classes=len(base.examples.class_names),
            phase="input",
            options={"page_cache": page_cache.pop(), "cached_images": CACHED_IMAGES},
        ),
        configuration=describe_configuration(request, strategy, batch, **describe_pipeline(configured)),
        probes=tuple(probes),
        in_rounds=True,
        dataset_fingerprint=files[WIDTH].fingerprint(),
    )


def list_points(base: Point, files: dict[int, Examples], image_bytes: int) -> Iterator[Point]:
    """Yields the points of every sweep, ascending.

    Args:
        base: What a sweep does not vary.
        files: The photographs by their width in pixels.
        image_bytes: What the cache counts for one decoded image.
    """
    for examples in files.values():
        again = repeat_examples(examples, _EXAMPLES)
        yield replace(base, examples=again, parameters={"image_bytes": measure_files(examples)})
    for size in BATCH_SIZES:
        yield replace(base, batch_size=size, parameters={"batch_size": size})
    for calls in sorted({1, 2, base.parallel_calls, 2 * base.parallel_calls}):
        yield replace(base, parallel_calls=calls, parameters={"parallel_calls": calls})
    for length in LENGTHS:
        yield replace(
            base,
            examples=repeat_examples(files[WIDTH], round(length * CACHED_IMAGES)),
            cache_bytes=CACHED_IMAGES * image_bytes,
            parameters={"examples_per_cached": length},
        )


def measure_files(examples: Examples) -> int:
    """Returns the mean size of the image files, in bytes."""
    images = examples.images
    assert isinstance(images, FileImages)
    return round(statistics.fmean(Path(path).stat().st_size for path in images.paths))


def _make_probe(request: Request, point: Point, phases: Phases) -> Probe:
    pipeline = Pipeline(
        point.examples,
        PipelineConfig(
            image_shape=resolve_image_shape(request),
            cache="none" if point.cache_bytes is None else "memory",
            cache_bytes=point.cache_bytes,
            seed=request.scenario.seed,
            num_parallel_calls=point.parallel_calls,
        ),
    )
    size, epochs = point.batch_size, itertools.count()
    opened: list[Any] = [None]

    @contextmanager
    def setting() -> Iterator[None]:
        steps = len(point.examples) // size
        opened[0] = iter(pipeline.train_stream(size, epoch=next(epochs), batches_per_epoch=steps))
        next(opened[0])
        yield
        opened[0] = None  # nothing of it works on while others are timed

    if point.cache_bytes is not None:
        with phases("first_input_epoch"):  # fills the cache
            for _ in pipeline.train_batches(size, epoch=0):
                pass

    def step() -> float:
        start = time.perf_counter()
        next(opened[0])
        return time.perf_counter() - start

    with phases("first_step"), setting():
        step()
    return Probe(
        name="input",
        step=step,
        fence=lambda: None,  # a batch is on the host when next() returns
        examples_per_step=size,
        parameters=point.parameters,
        max_block_steps=_EXAMPLES,  # in the warm-up a single image may lie ready, as if it took no time
        setting=setting,
    )
