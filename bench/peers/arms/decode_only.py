"""A ceiling: what our own decoding does when nothing comes of it, neither resized nor batched images."""

from typing import Any

import tensorflow as tf

from tpuens.data.decode import decode_jpeg
from tpuens.data.streams import PREFETCH_BATCHES, untuned

from ..table import Delivery, LoaderWork


def open_batches(work: LoaderWork) -> Delivery:
    """Returns batches of one value of each decoded image: without it the image would be optimised away.

    Files are read, decoded at the DCT scale that our pipeline takes, in as many parallel calls, and so many
    batches ahead.
    """

    def decode(path: Any) -> Any:
        return decode_jpeg(tf.io.read_file(path), work.image_shape)[0, 0, 0]

    dataset = (
        tf.data.Dataset.from_tensor_slices(list(work.paths))
        .repeat()
        .shuffle(len(work.paths), seed=work.seed)
        .map(tf.autograph.experimental.do_not_convert(decode), num_parallel_calls=work.workers)
        .batch(work.batch_size, drop_remainder=True)
        .prefetch(PREFETCH_BATCHES)
    )
    return Delivery(
        batches=iter(untuned(dataset)),
        num_parallel_calls=work.workers,
        prefetch=PREFETCH_BATCHES,
        settings={"pixels": "none", "DCT scale": "as tpuens"},
    )
