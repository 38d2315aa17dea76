"""The pipeline from examples to batches."""

import dataclasses
import gc
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import tensorflow as tf
from PIL import Image

from tpuens.data.augment import AUGMENTATIONS, VIEWS
from tpuens.data.caches import Cache
from tpuens.data.datasets import load_examples
from tpuens.data.decode import name_corrupt_images
from tpuens.data.examples import ArrayImages, Examples, FileImages
from tpuens.data.pipeline import Pipeline, PipelineConfig
from tpuens.errors import ConfigurationError, DataError

EVERY_AUGMENTATION = {"augment": tuple(AUGMENTATIONS), "targets": "vector"}
Batches = list[tuple[np.ndarray, np.ndarray]]


def make_numbers(count: int, size: int = 8) -> Examples:
    """Returns images whose every pixel is the example's index, so that a batch shows what it holds."""
    pixels = np.broadcast_to(np.arange(count, dtype=np.uint8)[:, None, None, None], (count, size, size, 1))
    return Examples(
        dataset="numbers",
        split="train",
        ids=np.array([f"{index:03d}" for index in range(count)]),
        labels=np.arange(count, dtype=np.int64) % 2,
        class_names=("even", "odd"),
        images=ArrayImages(pixels=np.ascontiguousarray(pixels)),
    )


def write_numbers(folder: Path, count: int) -> Examples:
    """Returns the same images in PNG files."""
    numbers = make_numbers(count)
    paths = [str(folder / f"{name}.png") for name in numbers.ids]
    for index, path in enumerate(paths):
        Image.fromarray(numbers.images.read(index)[..., 0]).save(path)
    return Examples(
        dataset="numbers",
        split="train",
        ids=numbers.ids,
        labels=numbers.labels,
        class_names=numbers.class_names,
        images=FileImages(paths=tuple(paths)),
    )


def make_pipeline(examples: Examples, **options: Any) -> Pipeline:
    return Pipeline(examples, PipelineConfig(**{"image_shape": (8, 8, 1)} | options))


def collect(dataset: tf.data.Dataset) -> Batches:
    return list(dataset.as_numpy_iterator())


def numbers_in(batches: Batches) -> list[list[int]]:
    return [images[:, 0, 0, 0].tolist() for images, _ in batches]


def assert_same_batches(left: Batches, right: Batches) -> None:
    assert len(left) == len(right) > 0
    for (images, labels), (other_images, other_labels) in zip(left, right, strict=True):
        assert np.array_equal(images, other_images)
        assert np.array_equal(labels, other_labels)


# --- Training batches ---------------------------------------------------------------------------------------


def test_an_epoch_holds_every_example_once_but_for_the_rest() -> None:
    dataset = make_pipeline(make_numbers(50)).train_batches(8, epoch=0)
    assert dataset.cardinality() == 6
    assert dataset.element_spec[0] == tf.TensorSpec((8, 8, 8, 1), tf.uint8)
    assert dataset.element_spec[1] == tf.TensorSpec((8,), tf.int32)
    batches = collect(dataset)
    seen = np.concatenate(numbers_in(batches))
    assert len(set(seen.tolist())) == len(seen) == 48
    assert np.array_equal(seen % 2, np.concatenate([labels for _, labels in batches]))


def test_an_epoch_is_shuffled_over_the_whole_data_set() -> None:
    first = numbers_in(collect(make_pipeline(make_numbers(250)).train_batches(50, epoch=0)))[0]
    assert first != sorted(first)
    assert min(first) < 50 < 200 <= max(first)


def test_two_pipelines_with_one_seed_give_the_same_batches() -> None:
    examples = load_examples("digits", "train").subset(range(100))
    options = EVERY_AUGMENTATION | {"image_shape": (16, 16, 3), "seed": 3}
    slow = make_pipeline(examples, **options, num_parallel_calls=1, prefetch=1)
    fast = make_pipeline(examples, **options, num_parallel_calls=8)
    assert_same_batches(collect(slow.train_batches(16, epoch=2)), collect(fast.train_batches(16, epoch=2)))


def test_the_order_of_an_epoch_is_the_same_on_every_machine() -> None:
    batches = collect(make_pipeline(make_numbers(10), seed=1).train_batches(10, epoch=1))
    assert numbers_in(batches) == [[0, 6, 5, 3, 4, 9, 7, 8, 2, 1]]


def test_epochs_and_seeds_differ_in_order_and_in_augmentation() -> None:
    examples = make_numbers(64)
    first, second = make_pipeline(examples, seed=0), make_pipeline(examples, seed=1)
    orders = [
        numbers_in(collect(pipeline.train_batches(64, epoch=epoch)))[0]
        for pipeline in (first, second)
        for epoch in (0, 1)
    ]
    assert len({tuple(order) for order in orders}) == 4
    one = load_examples("digits", "train").subset([0])
    bright = make_pipeline(one, augment=("brightness",))
    images = [collect(bright.train_batches(1, epoch=epoch))[0][0].tobytes() for epoch in range(4)]
    assert len(set(images)) > 1


def test_skipped_batches_leave_exactly_the_tail() -> None:
    pipeline = make_pipeline(make_numbers(64), **EVERY_AUGMENTATION)
    whole = collect(pipeline.train_batches(8, epoch=3))
    assert_same_batches(whole[5:], collect(pipeline.train_batches(8, epoch=3, skip_batches=5)))
    assert collect(pipeline.train_batches(8, epoch=3, skip_batches=8)) == []
    with pytest.raises(ConfigurationError, match="8 batches to skip"):
        pipeline.train_batches(8, epoch=3, skip_batches=9)


def test_a_stream_is_the_wanted_batches_of_epoch_after_epoch() -> None:
    pipeline = make_pipeline(make_numbers(44), augment=("brightness",))
    whole = [collect(pipeline.train_batches(8, epoch=epoch)) for epoch in (2, 3, 4)]
    stream = pipeline.train_stream(8, epoch=2, batches_per_epoch=4, skip_batches=1)
    wanted = [*whole[0][1:4], *whole[1][:4], *whole[2][:1]]
    assert_same_batches(collect(stream.take(len(wanted))), wanted)


def test_no_pipeline_waits_for_the_tuner_when_it_is_dropped() -> None:
    pipeline = make_pipeline(make_numbers(44))
    for dataset in (
        pipeline.train_batches(8, epoch=0),
        pipeline.train_stream(8, epoch=0, batches_per_epoch=4),
        pipeline.evaluation_batches(8),
    ):
        assert dataset.options().autotune.enabled is False


def test_shards_joined_step_by_step_are_the_batches_of_one_worker() -> None:
    pipeline = make_pipeline(make_numbers(70), augment=("flip-horizontal", "contrast"))
    shards = [collect(pipeline.train_batches(8, epoch=1, skip_batches=1, shard=(i, 3))) for i in range(3)]
    joined = [
        (np.concatenate([images for images, _ in step]), np.concatenate([labels for _, labels in step]))
        for step in zip(*shards, strict=True)
    ]
    assert_same_batches(joined, collect(pipeline.train_batches(24, epoch=1, skip_batches=1)))


def test_what_mixes_a_batch_does_the_same_in_a_shard_whatever_was_skipped() -> None:
    options = {"augment": ("mixup", "flip-vertical", "cutmix"), "targets": "vector"}
    examples = load_examples("digits", "train").subset(range(70))
    whole = [
        collect(make_pipeline(examples, **options).train_batches(8, epoch=1, shard=(i, 2))) for i in (0, 1)
    ]
    pipeline = make_pipeline(examples, **options, num_parallel_calls=8)
    for index in (1, 0):
        resumed = collect(pipeline.train_batches(8, epoch=1, skip_batches=2, shard=(index, 2)))
        assert_same_batches(resumed, whole[index][2:])
    shares = [targets.max(axis=1).tolist() for shard in whole for _, targets in shard]
    assert len({tuple(batch) for batch in shares}) == 8, "every batch of every shard is mixed in its own way"


def test_images_are_augmented_before_they_are_mixed_whatever_the_order_of_the_names() -> None:
    examples = load_examples("digits", "train").subset(range(32))
    one = make_pipeline(examples, augment=("mixup", "shift"), targets="vector")
    other = make_pipeline(examples, augment=("shift", "mixup"), targets="vector")
    plain = make_pipeline(examples, targets="vector")
    ((images, targets),) = collect(plain.train_batches(32, epoch=0))
    shift, mixup = (AUGMENTATIONS[name].load() for name in ("shift", "mixup"))
    for pipeline in (one, other):
        order, seeds = pipeline._draw_epoch(0)
        shift_seeds, mixup_seeds = (
            seeds[order, pipeline.config.augment.index(name)] for name in ("shift", "mixup")
        )
        moved = tf.stack([shift(image, seed) for image, seed in zip(images, shift_seeds, strict=True)])
        expected = mixup(moved, tf.constant(targets), mixup_seeds[0])
        assert_same_batches(
            collect(pipeline.train_batches(32, epoch=0)), [(expected[0].numpy(), expected[1].numpy())]
        )


def test_too_few_examples_for_a_batch_on_every_worker_are_an_error() -> None:
    pipeline = make_pipeline(make_numbers(15))
    assert pipeline.train_batches(15, epoch=0).cardinality() == 1
    with pytest.raises(ConfigurationError, match="15 examples for 2 × 8"):
        pipeline.train_batches(8, epoch=0, shard=(0, 2))


@pytest.mark.parametrize("shard", [(2, 2), (-1, 2), (0, 0)])
def test_a_shard_must_be_one_of_those_there_are(shard: tuple[int, int]) -> None:
    with pytest.raises(ConfigurationError, match="0 <= index < count"):
        make_pipeline(make_numbers(15)).train_batches(1, epoch=0, shard=shard)


# --- Targets ------------------------------------------------------------------------------------------------


def with_two_labels(numbers: Examples) -> Examples:
    """Returns the same images with two labels each: whether the number is even, and whether below 10."""
    numerals = np.arange(len(numbers))
    labels = np.stack([numerals % 2 == 0, numerals < 10], axis=1).astype(np.int64)
    return dataclasses.replace(numbers, labels=labels, class_names=("even", "small"))


def test_vector_targets_are_one_hot() -> None:
    dataset = make_pipeline(make_numbers(20), targets="vector").train_batches(5, epoch=0)
    assert dataset.element_spec[1] == tf.TensorSpec((5, 2), tf.float32)
    for images, targets in collect(dataset):
        assert np.array_equal(targets, np.eye(2)[images[:, 0, 0, 0] % 2])


def test_several_labels_come_as_vectors_of_0_and_1() -> None:
    examples = with_two_labels(make_numbers(20))
    dataset = make_pipeline(examples, targets="vector").train_batches(5, epoch=0)
    assert dataset.element_spec[1] == tf.TensorSpec((5, 2), tf.float32)
    for images, targets in collect(dataset):
        assert np.array_equal(targets, examples.known_labels[images[:, 0, 0, 0]])


def test_several_labels_need_vector_targets_to_train_but_not_to_evaluate() -> None:
    pipeline = make_pipeline(with_two_labels(make_numbers(20)))
    with pytest.raises(ConfigurationError, match=r"binary_crossentropy.*targets='index'"):
        pipeline.train_batches(5, epoch=0)
    assert len(collect(pipeline.evaluation_batches(5))) == 4


@pytest.mark.parametrize("name", ["mixup", "cutmix"])
def test_what_mixes_labels_needs_vector_targets(name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{name} mixes labels: take a loss with vector targets"):
        PipelineConfig(image_shape=(8, 8, 1), augment=("shift", name))


# --- Evaluation batches -------------------------------------------------------------------------------------


@pytest.mark.parametrize("num_examples", [1, 20, 21])
def test_evaluation_covers_every_example_once_in_batches_of_one_size(num_examples: int) -> None:
    pipeline = make_pipeline(make_numbers(num_examples), **EVERY_AUGMENTATION)
    dataset = pipeline.evaluation_batches(4)
    assert dataset.element_spec[1] == tf.TensorSpec((4,), tf.int64)
    seen: list[int] = []
    for images, index in collect(dataset):
        assert images.shape == (4, 8, 8, 1)
        present = index >= 0
        assert np.array_equal(images[present, 0, 0, 0], index[present])
        assert not images[~present].any()
        seen += index[present].tolist()
    assert seen == list(range(num_examples))


@pytest.mark.parametrize("cache", ["none", "memory"])
def test_a_view_shows_every_image_in_its_way_and_the_cache_keeps_it_plain(cache: Cache) -> None:
    examples = load_examples("digits", "train").subset(range(10))
    pipeline = make_pipeline(examples, cache=cache, image_shape=(12, 12, 1))
    plain = collect(pipeline.evaluation_batches(4))
    for name, row in VIEWS.items():
        for (images, index), (seen, seen_index) in zip(
            plain, collect(pipeline.evaluation_batches(4, view=name)), strict=True
        ):
            assert np.array_equal(seen, np.stack([row.load()(image) for image in images]))
            assert np.array_equal(seen_index, index)


def test_an_unknown_view_names_those_that_would_do() -> None:
    with pytest.raises(ConfigurationError, match="Did you mean 'flip-both'"):
        make_pipeline(make_numbers(4)).evaluation_batches(2, view="flip-bot")


# --- Cache --------------------------------------------------------------------------------------------------


def test_cached_images_outlive_their_files(tmp_path: Path) -> None:
    pipeline = make_pipeline(write_numbers(tmp_path, 20), cache="memory", image_shape=(4, 4, 3))
    first = collect(pipeline.train_batches(5, epoch=0))
    for path in tmp_path.iterdir():
        path.unlink()
    again = collect(pipeline.train_batches(5, epoch=0))
    assert_same_batches(first, again)
    later = collect(pipeline.train_batches(5, epoch=1))
    assert sorted(np.concatenate(numbers_in(later)).tolist()) == list(range(20))
    assert numbers_in(later) != numbers_in(first)
    assert len(collect(pipeline.evaluation_batches(8))) == 3


def test_a_full_cache_keeps_what_it_has_and_the_rest_is_read_again(tmp_path: Path) -> None:
    numbers = write_numbers(tmp_path, 5)
    capped = {"cache": "memory", "cache_bytes": 3 * 4 * 4 * 3, "num_parallel_calls": 1, "prefetch": 1}
    pipeline = make_pipeline(numbers, image_shape=(4, 4, 3), **capped)
    first = collect(pipeline.evaluation_batches(1))
    for path in numbers.images.paths[:3]:
        Path(path).unlink()
    assert_same_batches(first, collect(pipeline.evaluation_batches(1)))
    Path(numbers.images.paths[3]).unlink()
    with pytest.raises(tf.errors.NotFoundError):
        collect(pipeline.evaluation_batches(1))


def test_without_a_cache_files_are_read_every_epoch(tmp_path: Path) -> None:
    pipeline = make_pipeline(write_numbers(tmp_path, 20))
    collect(pipeline.train_batches(5, epoch=0))
    next(tmp_path.iterdir()).unlink()
    with pytest.raises(tf.errors.NotFoundError):
        collect(pipeline.train_batches(5, epoch=1))


def test_the_cache_changes_no_batch_and_holds_what_a_stopped_epoch_had_read(tmp_path: Path) -> None:
    examples = write_numbers(tmp_path, 20)
    options = EVERY_AUGMENTATION | {"image_shape": (6, 6, 3)}
    plain, cached = (
        make_pipeline(examples, cache=cache, prefetch=1, **options) for cache in ("none", "memory")
    )
    for _ in cached.train_batches(4, epoch=0).take(2):
        pass
    for epoch in (0, 1):
        assert_same_batches(
            collect(cached.train_batches(4, epoch=epoch)),
            collect(plain.train_batches(4, epoch=epoch)),
        )


def test_a_cache_is_freed_with_its_pipeline() -> None:
    examples = make_numbers(100, size=512)

    def fill_a_cache() -> None:
        pipeline = make_pipeline(examples, cache="memory", image_shape=(512, 512, 3), prefetch=1)  # 79 MB
        for _ in pipeline.train_batches(4, epoch=0):
            pass

    def memory_after_filling(times: int) -> int:
        for _ in range(times):
            fill_a_cache()
            gc.collect()
        return int(psutil.Process().memory_info().rss)

    before = memory_after_filling(1)
    assert memory_after_filling(6) - before < 350e6, "six caches hold 474 MB"


# --- Configuration -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"augment": ("flip-horizontl",)}, "Did you mean 'flip-horizontal'"),
        ({"image_shape": (8, 8, 2)}, "1 .grey. or 3 .RGB."),
        ({"image_shape": (0, 8, 3)}, "image_shape=.0, 8, 3."),
        ({"targets": "one-hot"}, "'index' or 'vector'. Received: targets='one-hot'"),
        ({"seed": -1}, "seed=-1"),
        ({"cache": "dsk"}, "Did you mean 'disk'"),
        ({"prefetch": 0}, "prefetch must be 1 or more"),
        ({"num_parallel_calls": 0}, "num_parallel_calls must be 1 or more"),
    ],
)
def test_a_configuration_that_cannot_be_used_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        PipelineConfig(**{"image_shape": (8, 8, 1)} | options)


# --- Corrupt images -----------------------------------------------------------------------------------------


@pytest.fixture
def with_a_truncated_jpeg(tmp_path: Path) -> Examples:
    examples = write_numbers(tmp_path, 6)
    truncated = tmp_path / "004.png"
    Image.new("RGB", (64, 64), "green").save(truncated, "JPEG")
    truncated.write_bytes(truncated.read_bytes()[:-50])
    return examples


@pytest.mark.parametrize("cache", ["none", "memory"])
def test_a_truncated_jpeg_is_named_with_the_remedy(with_a_truncated_jpeg: Examples, cache: Cache) -> None:
    pipeline = make_pipeline(with_a_truncated_jpeg, cache=cache)
    named = pytest.raises(DataError, match=r"--on-corrupt skip.*1 of 6 images corrupt or missing: 004$")
    with named, name_corrupt_images(with_a_truncated_jpeg):
        collect(pipeline.train_batches(2, epoch=0))


def test_a_missing_image_is_named(tmp_path: Path) -> None:
    examples = write_numbers(tmp_path, 4)
    (tmp_path / "002.png").unlink()
    with pytest.raises(DataError, match="missing: 002"), name_corrupt_images(examples):
        collect(make_pipeline(examples).evaluation_batches(2))


def test_other_errors_pass_unchanged(tmp_path: Path) -> None:
    examples = write_numbers(tmp_path, 4)
    shapes_differ = pytest.raises(tf.errors.InvalidArgumentError, match="Incompatible shapes")
    with shapes_differ, name_corrupt_images(examples):
        tf.raw_ops.AddV2(x=tf.ones(2), y=tf.ones(3))
    with pytest.raises(ValueError, match="of somebody"), name_corrupt_images(examples):
        raise ValueError("an error of somebody else's")


def test_an_unlabelled_data_set_cannot_be_trained_on() -> None:
    numbers = make_numbers(4)
    unlabelled = Examples(
        dataset="numbers",
        split="test",
        ids=numbers.ids,
        labels=None,
        class_names=numbers.class_names,
        images=numbers.images,
    )
    with pytest.raises(DataError, match="no labels"):
        make_pipeline(unlabelled).train_batches(2, epoch=0)
    assert len(collect(make_pipeline(unlabelled).evaluation_batches(4))) == 1
