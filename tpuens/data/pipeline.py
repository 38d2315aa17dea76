"""The one tf.data pipeline: read, decode, resize, cache, shuffle, augment, batch, mix, prefetch.

The order of an epoch is drawn as indices before anything is read, from the seed and the epoch alone. So the
shuffle is complete whatever the data set's size, a resumed run skips without decoding, any number of workers
sees the same global batches, and the cache, which is filled and read by index, changes nothing but speed.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from ..errors import ConfigurationError, unknown_name_error
from .augment import AUGMENTATIONS, VIEWS
from .caches import Cache, open_reader
from .examples import Examples
from .streams import PREFETCH_BATCHES, count_parallel_calls, stream_epochs, untuned

Targets = Literal["index", "vector"]


@dataclass(frozen=True, kw_only=True)
class PipelineConfig:
    """How examples become batches.

    Attributes:
        image_shape: Height, width and channels (1: grey, 3: RGB) of every image.
        augment: Names in `tpuens.data.augment.AUGMENTATIONS`, applied in this order when training: first
            those of single images, then those that mix a batch.
        targets: What training learns: ``"index"``, the number of the class, or ``"vector"``, a number for
            every class: 1 for the example's own (or each of its own) and 0 elsewhere, before any mixing.
        cache: Where to keep the decoded images, n × height × width × channels bytes: ``"memory"``, of this
            pipeline; ``"disk"``, for other pipelines and later runs too; or ``"none"``. Filled in passing by
            whatever reads an image first.
        cache_dir: Folder of the cache on disk. None: the user's cache folder.
        cache_bytes: Of images to keep in memory at most; what comes after is read each time. None: of all.
        seed: Decides the order of every epoch, and the augmentations.
        num_parallel_calls: Images that are read at a time. None: one on each core that may be used.
        prefetch: Batches that are made ahead. None: `PREFETCH_BATCHES`.
    """

    image_shape: tuple[int, int, int]
    augment: tuple[str, ...] = ()
    targets: Targets = "index"
    cache: Cache = "none"
    cache_dir: Path | None = None
    cache_bytes: int | None = None
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
        for name in ("num_parallel_calls", "prefetch", "cache_bytes"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigurationError(f"{name} must be 1 or more, or left open. Received: {value}")
        if self.targets not in get_args(Targets):
            raise ConfigurationError(f"Targets are 'index' or 'vector'. Received: targets={self.targets!r}")
        if self.cache not in get_args(Cache):
            raise unknown_name_error("cache", "cache", str(self.cache), get_args(Cache))
        for name in self.augment:
            if AUGMENTATIONS[name].level == "batch" and self.targets == "index":
                raise ConfigurationError(
                    f"{name} mixes labels: take a loss with vector targets, such as "
                    f"categorical_crossentropy. Received: augment={self.augment}, targets='index'"
                )


class Pipeline:
    """Batches from examples, one epoch a call. Epochs and evaluations of one pipeline share its cache."""

    def __init__(self, examples: Examples, config: PipelineConfig) -> None:
        self.examples = examples
        self.config = config
        reader = open_reader(
            examples, config.image_shape, config.cache, folder=config.cache_dir, most_bytes=config.cache_bytes
        )
        read, self._count_cached_bytes = reader.read, reader.count_bytes
        rows = [AUGMENTATIONS[name] for name in config.augment]
        transforms = [(place, row.load()) for place, row in enumerate(rows) if row.level == "image"]
        mixers = [(place, row.load()) for place, row in enumerate(rows) if row.level == "batch"]
        one_hot = config.targets == "vector" and not examples.is_multi_label

        def training_example(index: Any, label: Any, seeds: Any) -> tuple[Any, ...]:
            image = read(index)
            own_seeds = tf.unstack(seeds)
            for place, transform in transforms:
                image = transform(image, own_seeds[place])
            target = tf.one_hot(label, len(examples.class_names)) if one_hot else label
            return (image, target, seeds) if mixers else (image, target)

        def training_batch(images: Any, targets: Any, seeds: Any) -> tuple[Any, Any]:
            for place, mix in mixers:
                # No other batch of the epoch, on any shard, has this example: its seed will do for all.
                images, targets = mix(images, targets, seeds[0, place])
            return images, targets

        def viewer(view: Callable[[Any], Any]) -> Callable[[Any], tuple[Any, Any]]:
            return lambda index: (view(read(index)), index)

        # Functions of their own are traced once; tf.data would trace them again for every epoch.
        self._training_example = tf.function(training_example, autograph=False)
        self._training_batch = tf.function(training_batch, autograph=False) if mixers else None
        self._evaluation_examples = {
            name: tf.function(viewer(row.load()), autograph=False) for name, row in VIEWS.items()
        }

    def count_cached_bytes(self) -> int:
        """Returns the bytes of decoded images that the cache holds of these examples by now."""
        return self._count_cached_bytes()

    def train_batches(
        self, batch_size: int, *, epoch: int, skip_batches: int = 0, shard: tuple[int, int] = (0, 1)
    ) -> tf.data.Dataset:
        """Returns one epoch of shuffled, augmented batches: images, uint8, (b, h, w, c), and targets.

        Targets are int32, (b,), or, as vectors, float32, (b, k). The examples that do not fill a last batch
        are left out of this epoch. The batches of all shards, joined step by step, are those of a single
        shard with a batch size as many times as large, but for what mixup and cutmix do: they pair the
        examples of one shard.

        Args:
            batch_size: Examples in a batch of this shard.
            epoch: Counted from 0. With the configuration's seed it alone decides order and augmentation.
            skip_batches: Batches at the beginning to leave out, undecoded: a resumed run has had them.
            shard: Which part of how many: (index, count). Every part has the same number of batches.

        Raises:
            ConfigurationError: There are fewer examples than a batch on every shard needs, more batches are
                to be skipped than an epoch has, or examples with several labels are to have index targets.
            DataError: The examples are unlabelled.
        """
        drawn = self.draw_batches(batch_size, epoch=epoch, skip_batches=skip_batches, shard=shard)
        dataset = tf.data.Dataset.from_tensor_slices(self._draw_examples(drawn, epoch))
        return self._train_batched(dataset, batch_size)

    def train_stream(
        self,
        batch_size: int,
        *,
        epoch: int,
        batches_per_epoch: int,
        skip_batches: int = 0,
        shard: tuple[int, int] = (0, 1),
    ) -> tf.data.Dataset:
        """Returns the batches of an epoch and of all that follow, without end, as `train_batches` has them.

        So the next epoch's batches are read while the model is validated.

        Args:
            batch_size: As for `train_batches`, and so are the others.
            epoch: The first.
            batches_per_epoch: How many of each epoch to deliver.
            skip_batches: Of the first epoch.
            shard: Which part of how many.
        """
        draw = draw_epochs(
            self,
            batch_size,
            epoch=epoch,
            batches_per_epoch=batches_per_epoch,
            skip_batches=skip_batches,
            shard=shard,
        )
        drawn = stream_epochs(lambda number: self._draw_examples(draw(number), number), epoch)
        return self._train_batched(drawn, batch_size)

    def _draw_examples(self, batches: npt.NDArray[np.int64], epoch: int) -> tuple[npt.NDArray[Any], ...]:
        """Returns position, label and augmentation seeds of the examples in batches of an epoch."""
        chosen = batches.reshape(-1)
        return chosen, self._known_labels()[chosen], self._draw_epoch(epoch)[1][chosen]

    def _train_batched(self, dataset: tf.data.Dataset, batch_size: int) -> tf.data.Dataset:
        batched = self._mapped(dataset, self._training_example).batch(batch_size, drop_remainder=True)
        if self._training_batch is not None:
            batched = self._mapped(batched, self._training_batch)
        return self._prefetched(batched)

    def draw_batches(
        self, batch_size: int, *, epoch: int, skip_batches: int = 0, shard: tuple[int, int] = (0, 1)
    ) -> npt.NDArray[np.int64]:
        """Returns which examples an epoch's batches hold, by position: (batches, batch_size).

        The arguments and errors are those of `train_batches`.
        """
        index, count = _check_batching(batch_size, shard)
        batches = len(self.examples) // (batch_size * count)
        if batches == 0:
            raise ConfigurationError(
                "An epoch needs at least one full batch on every worker: take a smaller batch size. "
                f"Received: {len(self.examples)} examples for {count} × {batch_size}"
            )
        if not 0 <= skip_batches <= batches:
            raise ConfigurationError(
                f"An epoch has {batches} batches to skip. Received: skip_batches={skip_batches}"
            )
        order = self._draw_epoch(epoch)[0]
        steps = order[: batches * count * batch_size].reshape(batches, count, batch_size)
        return steps[skip_batches:, index]

    def targets(self) -> npt.NDArray[np.int32] | npt.NDArray[np.float32]:
        """Returns what training learns of every example: int32, (n,), or as vectors float32, (n, k)."""
        labels = self._known_labels()
        if self.config.targets == "index" or self.examples.is_multi_label:
            return labels
        return np.eye(len(self.examples.class_names), dtype=np.float32)[labels]

    def evaluation_batches(self, batch_size: int, view: str = "plain") -> tf.data.Dataset:
        """Returns every example once, in order: images, uint8, (b, h, w, c); index, int64, (b,).

        The index is the example's position in `examples`, which may be unlabelled. The last batch is filled
        up with black images of index -1, so that all have the same shape.

        Args:
            batch_size: Examples in a batch.
            view: A name in `tpuens.data.augment.VIEWS`: how each image is shown.

        Raises:
            ConfigurationError: The batch size is below 1, or there is no such view.
        """
        VIEWS[view]
        if batch_size < 1:
            raise ConfigurationError(f"A batch holds at least one example. Received: batch_size={batch_size}")
        present = np.arange(len(self.examples), dtype=np.int64)
        dataset = self._mapped(tf.data.Dataset.from_tensor_slices(present), self._evaluation_examples[view])
        black = np.zeros(self.config.image_shape, dtype=np.uint8)
        padding = tf.data.Dataset.from_tensors((black, np.int64(-1))).repeat(-len(present) % batch_size)
        return self._prefetched(dataset.concatenate(padding).batch(batch_size, drop_remainder=True))

    def _known_labels(self) -> npt.NDArray[np.int32] | npt.NDArray[np.float32]:
        """Returns the class numbers, int32, (n,), or the 0s and 1s of several labels, float32, (n, k)."""
        labels = self.examples.known_labels
        if not self.examples.is_multi_label:
            return labels.astype(np.int32)
        if self.config.targets == "index":
            raise ConfigurationError(
                "Examples with several labels need vector targets: take a loss such as "
                f"binary_crossentropy. Received: dataset={self.examples.dataset!r}, targets='index'"
            )
        return labels.astype(np.float32)

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
        parallel = self.config.num_parallel_calls or count_parallel_calls()
        return dataset.map(function, num_parallel_calls=parallel, deterministic=True)

    def _prefetched(self, dataset: tf.data.Dataset) -> tf.data.Dataset:
        return untuned(dataset.prefetch(self.config.prefetch or PREFETCH_BATCHES))


def draw_epochs(
    pipeline: Pipeline,
    batch_size: int,
    *,
    epoch: int,
    batches_per_epoch: int,
    skip_batches: int = 0,
    shard: tuple[int, int] = (0, 1),
) -> Callable[[int], npt.NDArray[np.int64]]:
    """Returns what draws the positions of an epoch's examples, by batch, for `Pipeline.train_stream`."""

    def draw(number: int) -> npt.NDArray[np.int64]:
        batches = pipeline.draw_batches(batch_size, epoch=number, shard=shard)
        return batches[skip_batches if number == epoch else 0 : batches_per_epoch]

    return draw


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
