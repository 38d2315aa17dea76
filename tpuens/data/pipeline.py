"""The one tf.data pipeline: read, decode, resize, cache, shuffle, augment, batch, prefetch.

The order of an epoch is drawn as indices before anything is read, from the seed and the epoch alone. So the
shuffle is complete whatever the data set's size, a resumed run skips without decoding, any number of workers
sees the same global batches, and the cache, which is filled and read by index, changes nothing but speed.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from ..errors import ConfigurationError, DataError
from .augment import AUGMENTATIONS
from .decode import find_corrupt, make_reader
from .examples import ArrayImages, Examples

_READ_ERRORS = (
    tf.errors.InvalidArgumentError,
    tf.errors.NotFoundError,
    tf.errors.DataLossError,
    tf.errors.FailedPreconditionError,
    tf.errors.PermissionDeniedError,
    tf.errors.UnknownError,
)


@dataclass(frozen=True, kw_only=True)
class PipelineConfig:
    """How examples become batches.

    Attributes:
        image_shape: Height, width and channels (1: grey, 3: RGB) of every image.
        augment: Names in `tpuens.data.augment.AUGMENTATIONS`, applied in this order when training.
        cache: Whether to keep the decoded images in memory: n × height × width × channels bytes. Filled
            in passing by whatever reads an image first.
        seed: Decides the order of every epoch, and the augmentations.
        num_parallel_calls: Images that are read at a time. None: tf.data tunes it.
        prefetch: Batches that are made ahead. None: tf.data tunes it.
    """

    image_shape: tuple[int, int, int]
    augment: tuple[str, ...] = ()
    cache: bool = False
    seed: int = 0
    num_parallel_calls: int | None = None
    prefetch: int | None = None

    def __post_init__(self) -> None:
        if len(self.image_shape) != 3 or min(self.image_shape) < 1 or self.image_shape[2] not in (1, 3):
            raise ConfigurationError(
                "An image shape is height, width and 1 (grey) or 3 (RGB) channels. "
                f"Received: image_shape={self.image_shape}"
            )
        if self.seed < 0:
            raise ConfigurationError(f"A seed must be 0 or more. Received: seed={self.seed}")
        for name in ("num_parallel_calls", "prefetch"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigurationError(f"{name} must be 1 or more, or left to tf.data. Received: {value}")
        for name in self.augment:
            AUGMENTATIONS[name]


class Pipeline:
    """Batches from examples, one epoch a call. Epochs and evaluations of one pipeline share its cache."""

    def __init__(self, examples: Examples, config: PipelineConfig) -> None:
        self.examples = examples
        self.config = config
        images = examples.images
        read = make_reader(images, config.image_shape)
        in_memory = isinstance(images, ArrayImages) and images.pixels.shape[1:] == config.image_shape
        if config.cache and not in_memory:
            read = _cached(read, config.image_shape)
        transforms = [AUGMENTATIONS[name].load() for name in config.augment]

        def training_example(index: Any, label: Any, seeds: Any) -> tuple[Any, Any]:
            image = read(index)
            for transform, seed in zip(transforms, tf.unstack(seeds), strict=True):
                image = transform(image, seed)
            return image, label

        # Functions of their own are traced once; tf.data would trace them again for every epoch.
        self._training_example = tf.function(training_example, autograph=False)
        self._evaluation_example = tf.function(lambda index: (read(index), index), autograph=False)

    def train_batches(
        self, batch_size: int, *, epoch: int, skip_batches: int = 0, shard: tuple[int, int] = (0, 1)
    ) -> tf.data.Dataset:
        """Returns one epoch of shuffled, augmented batches: images, uint8, (b, h, w, c); labels, int32, (b,).

        The examples that do not fill a last batch are left out of this epoch. The batches of all shards,
        joined step by step, are those of a single shard with a batch size as many times as large.

        Args:
            batch_size: Examples in a batch of this shard.
            epoch: Counted from 0. With the configuration's seed it alone decides order and augmentation.
            skip_batches: Batches at the beginning to leave out, undecoded: a resumed run has had them.
            shard: Which part of how many: (index, count). Every part has the same number of batches.

        Raises:
            ConfigurationError: There are fewer examples than a batch on every shard needs, or more batches
                are to be skipped than an epoch has.
            DataError: The examples are unlabelled.
        """
        index, count = _check_batching(batch_size, shard)
        labels = self.examples.known_labels.astype(np.int32)
        batches = len(labels) // (batch_size * count)
        if batches == 0:
            raise ConfigurationError(
                "An epoch needs at least one full batch on every worker: take a smaller batch size. "
                f"Received: {len(labels)} examples for {count} × {batch_size}"
            )
        if not 0 <= skip_batches <= batches:
            raise ConfigurationError(
                f"An epoch has {batches} batches to skip. Received: skip_batches={skip_batches}"
            )
        order, seeds = self._draw_epoch(epoch)
        steps = order[: batches * count * batch_size].reshape(batches, count, batch_size)
        chosen = steps[skip_batches:, index].reshape(-1)
        dataset = tf.data.Dataset.from_tensor_slices((chosen, labels[chosen], seeds[chosen]))
        return self._batched(self._mapped(dataset, self._training_example), batch_size)

    def evaluation_batches(self, batch_size: int) -> tf.data.Dataset:
        """Returns every example once, in order: images, uint8, (b, h, w, c); index, int64, (b,).

        The index is the example's position in `examples`. The last batch is filled up with black images of
        index -1, so that all have the same shape.
        """
        if batch_size < 1:
            raise ConfigurationError(f"A batch holds at least one example. Received: batch_size={batch_size}")
        present = np.arange(len(self.examples), dtype=np.int64)
        dataset = self._mapped(tf.data.Dataset.from_tensor_slices(present), self._evaluation_example)
        black = np.zeros(self.config.image_shape, dtype=np.uint8)
        padding = tf.data.Dataset.from_tensors((black, np.int64(-1))).repeat(-len(present) % batch_size)
        return self._batched(dataset.concatenate(padding), batch_size)

    def _draw_epoch(self, epoch: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Returns the order of an epoch, (n,), and by example a seed for each augmentation, (n, k, 2).

        Both come from the raw words of Philox, which NumPy keeps the same in all its versions (NEP 19); its
        own shuffling may change.
        """
        words = np.random.Philox(key=np.array([self.config.seed, epoch], dtype=np.uint64))
        order = np.argsort(words.random_raw(len(self.examples)), kind="stable")
        seeds = words.random_raw((len(self.examples), len(self.config.augment), 2))
        return order, seeds.view(np.int64)

    def _mapped(self, dataset: tf.data.Dataset, function: Callable[..., Any]) -> tf.data.Dataset:
        parallel = self.config.num_parallel_calls or tf.data.AUTOTUNE
        return dataset.map(function, num_parallel_calls=parallel, deterministic=True)

    def _batched(self, dataset: tf.data.Dataset, batch_size: int) -> tf.data.Dataset:
        batched = dataset.batch(batch_size, drop_remainder=True)
        return batched.prefetch(self.config.prefetch or tf.data.AUTOTUNE)


@contextmanager
def name_corrupt_images(examples: Examples) -> Iterator[None]:
    """Turns TensorFlow's error over an image that cannot be read into one that names every such image.

    Wrap it round whatever consumes a pipeline. When an error comes that an image may have caused, all images
    are decoded once more to find the corrupt ones; if there are none, the error passes unchanged.

    Raises:
        DataError: Images are corrupt or missing.
    """
    try:
        yield
    except _READ_ERRORS as error:
        corrupt = find_corrupt(examples)
        if not corrupt:
            raise
        shown = ", ".join(corrupt[:10]) + (f" and {len(corrupt) - 10} more" if len(corrupt) > 10 else "")
        raise DataError(
            "Every image must be a whole JPEG, PNG, GIF or BMP file: mend or remove those that are not, or "
            f"pass --on-corrupt skip to leave them out. Received: dataset={examples.dataset!r}, "
            f"{len(corrupt)} of {len(examples)} images corrupt or missing: {shown}"
        ) from error


def _check_batching(batch_size: int, shard: tuple[int, int]) -> tuple[int, int]:
    """Returns the shard's index and count, once they and the batch size are known to make sense."""
    index, count = shard
    if batch_size < 1:
        raise ConfigurationError(f"A batch holds at least one example. Received: batch_size={batch_size}")
    if not 0 <= index < count:
        raise ConfigurationError(
            f"A shard is (index, count) with 0 <= index < count. Received: shard={shard}"
        )
    return index, count


def _cached(read: Callable[[Any], Any], image_shape: tuple[int, int, int]) -> Callable[[Any], Any]:
    """Returns the reader with a memory, in which an image is looked for by its index first.

    tf.data's own cache stores images in the order of the first epoch, and whole epochs only; one that is
    addressed by index can be filled while training goes on and read in any order. An anonymous table is
    freed with the last that uses it; one with a name would outlive its pipeline.
    """
    with tf.device("CPU:0"):
        memory = tf.lookup.experimental.MutableHashTable(
            tf.int64, tf.string, default_value="", experimental_is_anonymous=True
        )

    def read_once(index: Any) -> Any:
        def read_and_keep() -> Any:
            image = read(index)
            with tf.control_dependencies([memory.insert(index, tf.io.serialize_tensor(image))]):
                return tf.identity(image)

        kept = memory.lookup(index)
        image = tf.cond(kept == "", read_and_keep, lambda: tf.io.parse_tensor(kept, tf.uint8))
        return tf.ensure_shape(image, image_shape)

    return read_once
