"""Any data set as sharded TFRecords in the flowers layout, which `tpuens.data.flowers` reads back.

The images go to ``OUTPUT/tfrecords-FORMAT-SIZE/{train,val,test}/NN-SIZE-COUNT.tfrec``, the class names to
``OUTPUT/classes.txt``. FORMAT is ``jpeg``, ``png`` or, where image files of several formats are kept,
``mixed``; SIZE is HEIGHTxWIDTH or, where they differ, ``original``. Until every shard is written the folder's
name ends in ``.partial``.
"""

import itertools
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import tensorflow as tf

from ..errors import ConfigurationError, DataError, InterruptedRunError, RunError
from .checksums import Manifest, find_whole_shards, hash_file, write_manifest, write_whole
from .encode import Encoding, encode_image, read_kind
from .examples import ArrayImages, Examples
from .flowers import CLASS_NAMES_FILE, FOLDERS, parse_class_names
from .tfrecords import Record, read_record_file, write_record_file

DEFAULT_SHARDS = 16  # as many as the competition's train part has
_PREPARED_AHEAD = 256  # images: enough for every core, and for the time that a shard takes to be written


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """What a conversion left behind.

    Attributes:
        folder: The folder of the shards.
        num_examples: How many examples there are in it.
        shards_written: How many shards were written now.
        shards_kept: How many were there already, whole.
    """

    folder: Path
    num_examples: int
    shards_written: int
    shards_kept: int


@dataclass(frozen=True, kw_only=True, eq=False)
class _Shard:
    """A file to be, named from the folder of its size, and which of the examples are to be in it."""

    file: str
    examples: Examples
    indices: range


def convert_examples(
    parts: Sequence[Examples],
    output: Path,
    *,
    encoding: Encoding,
    shards: int = DEFAULT_SHARDS,
    workers: int | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Conversion:
    """Writes the splits of a data set as TFRecords in the flowers layout, and returns what was done.

    Every shard is read back and compared before it gets its name. One that is there and has its checksum is
    kept, so the same call finishes a conversion that was stopped. The same examples, encoding and version of
    Pillow give the same bytes.

    Args:
        parts: The splits of one data set, each once; together they decide the folder's name.
        output: A local folder, made where it is missing.
        encoding: How images are stored. Image files whose size stays are copied byte for byte.
        shards: Files of each split, each held in memory while it is written; never more than there are
            examples, which stay in their order.
        workers: Images that are prepared at a time. None: one for each core.
        on_progress: Called after each image with the number of examples that are done, and of all.

    Raises:
        ConfigurationError: There are to be no shards or no workers.
        DataError: An image cannot be decoded, class names or labels cannot be written as they are, or the
            folder holds other data.
        RunError: The disk is full, or the folder cannot be written.
        InterruptedRunError: Ctrl-C; the finished shards are kept.
    """
    _check_parts(parts)
    if shards < 1 or (workers is not None and workers < 1):
        raise ConfigurationError(
            f"At least one shard and one worker are needed. Received: shards={shards}, workers={workers}"
        )
    name, size = _choose_names(parts, encoding)
    plan = [shard for part in parts for shard in _plan_shards(part, size, shards)]
    final = output / name
    folder = final if final.exists() else final.with_name(f"{name}.partial")
    fingerprints = {part.split: part.fingerprint() for part in parts}
    manifest = Manifest(source=fingerprints, encoding=encoding.describe(), sha256={})
    checksums = find_whole_shards(folder, manifest, [shard.file for shard in plan])
    missing = [shard for shard in plan if shard.file not in checksums]
    with _explained_failures(folder, checksums, len(plan)), _open_pool(workers or os.cpu_count()) as pool:
        _write_class_names(output / CLASS_NAMES_FILE, parts[0].class_names)
        write_manifest(folder, msgspec.structs.replace(manifest, sha256=checksums))
        total = sum(map(len, parts))
        done = itertools.count(total - sum(len(shard.indices) for shard in missing) + 1)
        for shard, records in _prepare_shards(
            pool, missing, encoding, lambda: on_progress(next(done), total)
        ):
            checksums[shard.file] = _write_shard(folder / shard.file, records)
            write_manifest(folder, msgspec.structs.replace(manifest, sha256=checksums))
        if folder != final:
            folder.rename(final)
    return Conversion(
        folder=final,
        num_examples=total,
        shards_written=len(missing),
        shards_kept=len(plan) - len(missing),
    )


def _check_parts(parts: Sequence[Examples]) -> None:
    for part in parts:
        if len(part) == 0:
            raise DataError(
                "A part needs an example to be converted. "
                f"Received: none in {part.split!r} of {part.dataset!r}"
            )
        if part.class_names != parts[0].class_names:
            raise DataError(
                "All parts of a data set have the same classes. "
                f"Received: others in {part.split!r} than in {parts[0].split!r} of {part.dataset!r}"
            )
        if part.is_multi_label and len(part.class_names) == 1:
            raise DataError(
                "Multi-label records need at least two classes: one value of 0 or 1 would be read as the "
                f"number of a class. Received: {part.dataset!r} with class {part.class_names[0]!r} alone"
            )


def _choose_names(parts: Sequence[Examples], encoding: Encoding) -> tuple[str, str]:
    """Returns the name of the folder that the images belong in, and the size that stands in it."""
    kinds: set[tuple[str, int, int]]
    if encoding.image_size is not None:
        kinds = {(encoding.chosen_format, encoding.image_size, encoding.image_size)}
    else:
        kinds = set()
        with ThreadPoolExecutor() as pool:
            for part in parts:
                # Arrays are all of one kind.
                indices = range(1 if isinstance(part.images, ArrayImages) else len(part))
                kinds.update(pool.map(lambda index, part=part: read_kind(part, index, encoding), indices))
    formats = {kind for kind, _, _ in kinds}
    sizes = {f"{height}x{width}" for _, height, width in kinds}
    size = sizes.pop() if len(sizes) == 1 else "original"
    return f"tfrecords-{formats.pop() if len(formats) == 1 else 'mixed'}-{size}", size


def _plan_shards(part: Examples, size: str, shards: int) -> list[_Shard]:
    """Returns the files of a split; their numbers of examples differ by at most one."""
    count = min(shards, len(part))
    ends = [len(part) * number // count for number in range(count + 1)]
    digits = max(2, len(str(count - 1)))  # sorted by name, the files are in order
    return [
        _Shard(
            file=f"{FOLDERS[part.split]}/{number:0{digits}d}-{size}-{end - start}.tfrec",
            examples=part,
            indices=range(start, end),
        )
        for number, (start, end) in enumerate(itertools.pairwise(ends))
    ]


@contextmanager
def _open_pool(workers: int | None) -> Iterator[ThreadPoolExecutor]:
    pool = ThreadPoolExecutor(workers)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)  # after Ctrl-C nobody waits for what was prepared ahead


def _prepare_shards(
    pool: ThreadPoolExecutor, shards: Sequence[_Shard], encoding: Encoding, on_image: Callable[[], None]
) -> Iterator[tuple[_Shard, list[Record]]]:
    """Yields each shard with its records; threads make them ahead, since Pillow encodes beside others."""
    places = ((shard.examples, index) for shard in shards for index in shard.indices)
    waiting: deque[Future[Record]] = deque()

    def take() -> Record:
        for examples, index in itertools.islice(places, _PREPARED_AHEAD + 1 - len(waiting)):
            waiting.append(pool.submit(_make_record, examples, index, encoding))
        record = waiting.popleft().result()
        on_image()
        return record

    for shard in shards:
        yield shard, [take() for _ in shard.indices]


def _make_record(examples: Examples, index: int, encoding: Encoding) -> Record:
    label = () if examples.labels is None else examples.labels[index]
    return Record(
        id=str(examples.ids[index]),
        label=tuple(int(value) for value in np.atleast_1d(label)),
        image=encode_image(examples, index, encoding),
    )


def _write_shard(file: Path, records: Sequence[Record]) -> str:
    """Writes a shard, and returns the SHA-256 of it, once reading it gives the same records again."""
    part = file.with_name(f".{file.name}.part")
    part.parent.mkdir(parents=True, exist_ok=True)
    try:
        write_record_file(part, records)
        if read_record_file(part) != records:
            raise RunError(f"What is read back must be what was written: check the disk. Received: {file}")
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)
    return hash_file(file)


def _write_class_names(file: Path, names: tuple[str, ...]) -> None:
    text = "".join(f"{name}\n" for name in names)
    if parse_class_names(text) != names:
        raise DataError(
            f"Class names must fit on a line each, without blanks round them. Received: {list(names)}"
        )
    if file.exists() and parse_class_names(file.read_text(encoding="utf-8")) != names:
        raise DataError(
            "A folder takes the records of one data set: give another --output. "
            f"Received: {file}, which names other classes"
        )
    write_whole(file, text.encode())


@contextmanager
def _explained_failures(folder: Path, written: Mapping[str, str], planned: int) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt as error:
        raise InterruptedRunError(
            f"Interrupted: {len(written)} of {planned} shards are written; the same call goes on there."
        ) from error
    except (OSError, tf.errors.OpError) as error:
        reason = getattr(error, "message", "") or str(error) or type(error).__name__
        raise RunError(
            f"The records cannot be written: free some space, or give a folder that can be written. The same "
            f"call goes on after the {len(written)} of {planned} shards that are written. "
            f"Received: {folder}: {reason}"
        ) from error
