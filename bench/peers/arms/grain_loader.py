"""Grain: a MapDataset that is shuffled, repeated and read in several processes.

Its documentation's advice where work, and not reading, is the bottleneck: `mp_prefetch`, here with a process
a core (it spawns them); a read thread in each, since more would only share its core; and a buffer of as many
images as two batches hold. Pillow decodes, with a draft.

On two cores it makes no difference: threads alone, 2 or 16 of them, three processes, larger buffers and what
`pick_performance_config` chooses all delivered 171 to 208 images a second, each as far apart in its two runs.
"""

import grain

from ..table import Delivery, LoaderWork
from .pil_draft import read_image

READ_THREADS = 1
BATCHES_AHEAD = 2


def open_batches(work: LoaderWork) -> Delivery:
    """Returns uint8 batches (b, h, w, 3)."""
    size = work.image_shape[:2]
    buffered = BATCHES_AHEAD * work.batch_size
    dataset = (
        grain.MapDataset.source(list(zip(work.paths, work.labels, strict=True)))
        .seed(work.seed)
        .shuffle()
        .repeat()
        .map(lambda file: (read_image(file[0], size), file[1]))
        .to_iter_dataset(grain.ReadOptions(num_threads=READ_THREADS, prefetch_buffer_size=buffered))
        .batch(work.batch_size, drop_remainder=True)
        .mp_prefetch(grain.MultiprocessingOptions(num_workers=work.workers))
    )
    return Delivery(
        batches=iter(dataset),
        num_parallel_calls=work.workers,
        prefetch=BATCHES_AHEAD * work.workers,
        settings={
            "num_workers": work.workers,
            "num_threads": READ_THREADS,
            "prefetch_buffer_size": buffered,
            "per_worker_buffer_size": 1,
            "decoder": "PIL.Image.draft",
            "resize": "PIL BILINEAR",
            "DCT scale": "Pillow's choice",
            "pixels": "uint8",
        },
        in_process=False,
        burst=work.workers,
    )
