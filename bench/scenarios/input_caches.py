"""Where images wait for the next epoch, and what each place costs: files, memory, disk, prepared TFRecords.

Each source is timed in up to three states, in turns:

* "first epoch": nothing is kept. Its cache is empty, and the kernel has dropped the image files from its page
  cache. An epoch from its first batch to its last.
* "reopened": the cache on disk is full but not in the page cache: what a run finds that starts tomorrow. Of
  TFRecords, which somebody has prepared, this is the first epoch: reading them all, then decoding.
* "later epochs": out of whatever is kept, the page cache included, in a stream that goes on.

The page cache is dropped with `posix_fadvise(POSIX_FADV_DONTNEED)`, which needs no privilege: the kernel lets
go of the clean pages of those files. Where a system has no such call the record says so. Tracing a pipeline
is in none of the times.
"""

import math
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tpuens.data.convert import convert_examples
from tpuens.data.encode import Encoding
from tpuens.data.examples import Examples, FileImages
from tpuens.data.flowers import load_flowers
from tpuens.data.photographs import cache_folder
from tpuens.data.pipeline import Pipeline
from tpuens.errors import ConfigurationError

from ..measuring.timing import Probe
from ..records.record import Metric, WorkloadKey
from ..suites import Request
from .workload import (
    Evaluation,
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
CAN_DROP = hasattr(os, "posix_fadvise")
_SHARDS = 4


@dataclass(frozen=True, kw_only=True)
class Source:
    """Something that delivers the epochs of one data set.

    Attributes:
        open: Returns a pipeline as it is before its first epoch.
        files: What it reads then, to be dropped from the page cache.
        load: What comes before an epoch's first batch and belongs to its time.
        starts: The state in which it is before its first epoch.
        later: Whether to time its later epochs too.
    """

    name: str
    open: Callable[[], Pipeline]
    files: Sequence[Path]
    load: Callable[[], object] = lambda: None
    starts: str = "first epoch"
    later: bool = True


def prepare(request: Request, strategy: Any, phases: Phases) -> Workload:
    """Returns probes of every source, cold and warm; what each of them holds is their evaluation."""
    batch = resolve_batch(request, strategy, DEFAULT_BATCH_SIZE)
    examples, _ = load_parts(request, phases, DEFAULT_DATASET)
    images = examples.images
    if not isinstance(images, FileImages) or len(examples) < batch.global_:
        raise ConfigurationError(
            "Caches are held against a data set whose images are files, a batch of them at least, such as "
            f"photographs. Received: dataset={examples.dataset!r}, batch_size={batch.global_}"
        )
    plain = make_pipeline(request, examples, cache="none")
    sources, held = list_sources(request, plain, batch.global_, phases)
    with phases("first_epochs"):
        probes = [
            make(source, batch.global_)
            for source in sources
            for make in ((_cold_probe, _warm_probe) if source.later else (_cold_probe,))
        ]
    metrics = [
        Metric(name=name, value=value, parameters={"source": source})
        for (source, name), value in held.items()
    ]
    return Workload(
        key=WorkloadKey(
            scenario="input-caches",
            image_shape=resolve_image_shape(request),
            dataset=describe_dataset(request, DEFAULT_DATASET),
            num_classes=len(examples.class_names),
            phase="input",
            options={"examples": len(examples), "page_cache": "dropped" if CAN_DROP else "kept"},
        ),
        configuration=describe_configuration(
            request, strategy, batch, **describe_pipeline(plain) | {"cache": None}
        ),
        probes=tuple(probes),
        in_rounds=True,
        evaluate=lambda on_progress: Evaluation(metrics=metrics),
        dataset_fingerprint=examples.fingerprint(),
    )


def list_sources(
    request: Request, plain: Pipeline, batch_size: int, phases: Phases
) -> tuple[list[Source], dict[tuple[str, str], int]]:
    """Returns the sources, prepared, and the bytes that each holds, by its name and by where.

    Args:
        request: What of it is set there counts.
        plain: A pipeline that keeps nothing.
        batch_size: Of all of them.
        phases: Takes the time of what is prepared.
    """
    examples = plain.examples
    assert isinstance(examples.images, FileImages)
    files = [Path(path) for path in examples.images.paths]
    image_shape = resolve_image_shape(request)
    with phases("convert"):
        folder, records = convert(examples, image_shape[0])
    shards, prepared = sorted(folder.rglob("*.tfrec")), make_pipeline(request, records, cache="none")
    kept_in, emptied = (folder.parent / f"decoded-{image_shape[0]}-{name}" for name in ("kept", "emptied"))
    with phases("first_input_epoch"):
        for _ in empty_disk_cache(plain, kept_in).evaluation_batches(batch_size):
            pass
    kept = [path for path in kept_in.rglob("*") if path.is_file()]
    sources = [
        Source(name="files", open=lambda: plain, files=files),
        Source(name="memory", open=lambda: make_pipeline(request, examples, cache="memory"), files=files),
        Source(name="disk", open=lambda: empty_disk_cache(plain, emptied), files=files, later=False),
        Source(name="disk", open=lambda: open_disk_cache(plain, kept_in), files=kept, starts="reopened"),
        Source(
            name="tfrecords",
            open=lambda: prepared,
            files=shards,
            load=lambda: load_flowers("train", folder),
            starts="reopened",
        ),
    ]
    return sources, {
        ("files", "on_disk_bytes"): _measure(files),
        ("memory", "in_memory_bytes"): len(examples) * math.prod(image_shape),
        ("disk", "on_disk_bytes"): _measure(kept),
        ("tfrecords", "on_disk_bytes"): _measure(shards),
    }


def convert(examples: Examples, image_size: int) -> tuple[Path, Examples]:
    """Returns the examples as `tpuens data convert --image-size` prepares them, and the folder they lie in.

    They are JPEGs of the wanted size. What was converted once is found again in the cache folder.
    """
    output = cache_folder() / f"{examples.dataset}-{examples.fingerprint()}"
    converted = convert_examples(
        [replace(examples, split="train")],
        output,
        encoding=Encoding(image_size=image_size),
        shards=_SHARDS,
    )
    return converted.folder, load_flowers("train", converted.folder)


def open_disk_cache(plain: Pipeline, folder: Path) -> Pipeline:
    """Returns the pipeline with a cache on disk, in a folder of the scenario's own."""
    return Pipeline(plain.examples, replace(plain.config, cache="disk", cache_dir=folder))


def empty_disk_cache(plain: Pipeline, folder: Path) -> Pipeline:
    """Returns the pipeline with a cache on disk that holds nothing."""
    shutil.rmtree(folder, ignore_errors=True)
    return open_disk_cache(plain, folder)


def drop_page_cache(files: Sequence[Path]) -> None:
    """Asks the kernel to let go of what it keeps of these files, where a system takes such advice."""
    for file in files if CAN_DROP else ():
        descriptor = os.open(file, os.O_RDONLY)
        try:
            os.fsync(descriptor)  # it lets go of clean pages only
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)


def _cold_probe(source: Source, batch_size: int) -> Probe:
    """Returns a probe whose step is a whole epoch of which nothing was kept."""
    opened: list[Any] = [None]

    @contextmanager
    def setting() -> Iterator[None]:
        opened[0] = iter(source.open().train_batches(batch_size, epoch=0))
        drop_page_cache(source.files)
        yield
        opened[0] = None

    def step() -> float:
        start = time.perf_counter()
        source.load()
        for _ in opened[0]:
            pass
        return time.perf_counter() - start

    with setting():
        step()
    return Probe(
        name="input",
        step=step,
        fence=lambda: None,
        examples_per_step=len(source.open().examples) // batch_size * batch_size,
        parameters={"source": source.name, "state": source.starts},
        max_block_steps=1,
        setting=setting,
    )


def _warm_probe(source: Source, batch_size: int) -> Probe:
    """Returns a probe whose step is a batch of an epoch after the first."""
    pipeline = source.open()
    for _ in pipeline.train_batches(batch_size, epoch=0):
        pass
    opened: list[Any] = [None]
    steps = len(pipeline.examples) // batch_size

    @contextmanager
    def setting() -> Iterator[None]:
        opened[0] = iter(pipeline.train_stream(batch_size, epoch=1, batches_per_epoch=steps))
        next(opened[0])
        yield
        opened[0] = None

    def step() -> float:
        start = time.perf_counter()
        next(opened[0])
        return time.perf_counter() - start

    return Probe(
        name="input",
        step=step,
        fence=lambda: None,
        examples_per_step=batch_size,
        parameters={"source": source.name, "state": "later epochs"},
        setting=setting,
    )


def _measure(files: Sequence[Path]) -> int:
    return sum(file.stat().st_size for file in files)
