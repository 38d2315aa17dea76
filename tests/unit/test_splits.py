"""Hold-outs, folds and shuffle splits: proportions, duplicates, seeds, and what cannot be split."""

import itertools
import os
from collections import Counter

import numpy as np
import pytest

from tpuens.data.datasets import load_examples
from tpuens.data.examples import ArrayImages, Examples
from tpuens.data.splits import count_duplicates, split_fold, split_holdout, split_shuffle, take_fixed_split
from tpuens.errors import ConfigurationError, DataError

CLASSES = ("cat", "dog")


def make_examples(
    labels: list[int] | list[list[int]],
    class_names: tuple[str, ...] = CLASSES,
    images: list[int] | None = None,
) -> Examples:
    """Returns examples whose images are all different, or where `images` repeats a number, duplicates."""
    numbers = np.array(range(len(labels)) if images is None else images, dtype="<u4")
    return Examples(
        dataset="pets",
        split="train",
        ids=np.array([f"pets-{index}" for index in range(len(labels))]),
        labels=np.array(labels, dtype=np.int64),
        class_names=class_names,
        images=ArrayImages(pixels=numbers.view(np.uint8).reshape(-1, 2, 2, 1)),
    )


def images_of(examples: Examples) -> set[bytes]:
    return set(examples.content_digests())


# --- Hold-out -----------------------------------------------------------------------------------------------


def test_a_holdout_keeps_the_proportions_of_the_classes() -> None:
    examples = make_examples([0] * 60 + [1] * 20)
    rest, held_out = split_holdout(examples, fraction=0.25, seed=0)
    assert rest.class_counts.tolist() == [45, 15]
    assert held_out.class_counts.tolist() == [15, 5]
    assert sorted([*rest.ids, *held_out.ids]) == sorted(examples.ids)


def test_a_holdout_is_the_same_for_the_same_seed_only() -> None:
    examples = make_examples([0, 1] * 20)
    first, again, other = (split_holdout(examples, fraction=0.3, seed=seed)[1] for seed in (7, 7, 8))
    assert first.ids.tolist() == again.ids.tolist()
    assert first.ids.tolist() != other.ids.tolist()


def test_without_duplicates_a_holdout_is_the_one_that_it_always_was() -> None:
    # Recorded before splits knew of duplicates; validation accuracies of older runs rest on it.
    rest, held_out = split_holdout(load_examples("digits", "train"), fraction=0.15, seed=7)
    assert (rest.fingerprint(), held_out.fingerprint()) == ("7f39e41019229146", "6e13c6cc9a391295")


def test_a_class_with_a_single_example_cannot_be_split() -> None:
    with pytest.raises(DataError, match="class 'dog' of 'pets' with 1 example"):
        split_holdout(make_examples([0, 0, 0, 1]), fraction=0.5, seed=0)


@pytest.mark.parametrize("fraction", [0.01, 0.06])
def test_a_class_that_one_part_would_lack_is_named(fraction: float) -> None:
    examples = make_examples([0] * 30 + [1] * 2)
    with pytest.raises(DataError, match="without class 'dog'"):
        split_holdout(examples, fraction=fraction, seed=0)


def test_a_class_without_any_example_does_not_hinder_a_split() -> None:
    examples = make_examples([0, 0, 2, 2], class_names=("cat", "unicorn", "dog"))
    rest, held_out = split_holdout(examples, fraction=0.5, seed=0)
    assert sorted(rest.known_labels.tolist()) == sorted(held_out.known_labels.tolist()) == [0, 2]


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.5])
def test_a_holdout_is_a_share_between_nought_and_one(fraction: float) -> None:
    with pytest.raises(ConfigurationError, match="between 0 and 1"):
        split_holdout(make_examples([0, 0, 1, 1]), fraction=fraction, seed=0)


def test_nothing_and_unlabelled_examples_cannot_be_split() -> None:
    examples = make_examples([0, 0, 1, 1])
    unlabelled = Examples(
        dataset="pets",
        split="test",
        ids=examples.ids,
        labels=None,
        class_names=CLASSES,
        images=examples.images,
    )
    for split in (
        lambda part: split_holdout(part, fraction=0.5, seed=0),
        lambda part: split_fold(part, folds=2, fold=0, seed=0),
    ):
        with pytest.raises(DataError, match="none in 'pets'"):
            split(examples.subset([]))
        with pytest.raises(DataError, match="no labels"):
            split(unlabelled)


# --- Duplicates ---------------------------------------------------------------------------------------------


def make_duplicates() -> Examples:
    """Returns 300 examples of 2 classes with 120 different images."""
    chance = np.random.default_rng(0)
    images = np.concatenate([np.arange(120), chance.integers(0, 120, 180)])
    return make_examples([int(image % 2) for image in images], images=images.tolist())


def test_duplicates_are_counted_beyond_the_first() -> None:
    assert count_duplicates(make_duplicates()) == 180
    assert count_duplicates(make_examples([0, 1, 0])) == 0


@pytest.mark.parametrize("seed", range(5))
def test_exact_duplicates_never_straddle_a_split(seed: int) -> None:
    examples = make_duplicates()
    parts = [
        split_holdout(examples, fraction=0.2, seed=seed),
        split_shuffle(examples, splits=3, index=2, fraction=0.2, seed=seed),
        split_fold(examples, folds=4, fold=1, seed=seed),
        (take_fixed_split(examples, "train"), take_fixed_split(examples, "test")),
    ]
    for rest, held_out in parts:
        assert not images_of(rest) & images_of(held_out)
        assert len(rest) + len(held_out) == len(examples)
        assert 0.3 < held_out.known_labels.mean() < 0.7


@pytest.mark.parametrize("seed", range(3))
def test_duplicates_with_unlike_labels_stay_together(seed: int) -> None:
    # Every dog is also a cat, so there is nothing of its own that the class could be stratified by.
    examples = make_examples([0, 1] * 20, images=[index // 2 for index in range(40)])
    for rest, held_out in (
        split_holdout(examples, fraction=0.2, seed=seed),
        split_fold(examples, folds=4, fold=0, seed=seed),
    ):
        assert not images_of(rest) & images_of(held_out)
        assert rest.class_counts[0] == rest.class_counts[1]


def test_a_class_that_is_mostly_mislabelled_copies_does_not_hinder_folds() -> None:
    examples = make_examples([0] * 20 + [1] * 6, images=[*range(20), 0, 1, 2, 3, 20, 21])
    held_out = [split_fold(examples, folds=5, fold=fold, seed=0)[1] for fold in range(5)]
    assert sorted(itertools.chain(*(part.ids for part in held_out))) == sorted(examples.ids)


def test_a_class_of_copies_of_one_image_cannot_be_split() -> None:
    examples = make_examples([0, 0, 0, 1, 1], images=[0, 1, 2, 3, 3])
    with pytest.raises(DataError, match="class 'dog' of 'pets' with 2 examples, but only 1 different image"):
        split_holdout(examples, fraction=0.4, seed=0)


# --- Folds --------------------------------------------------------------------------------------------------


def test_every_example_is_held_out_in_exactly_one_fold() -> None:
    examples = make_duplicates()
    folds = [split_fold(examples, folds=5, fold=fold, seed=3) for fold in range(5)]
    assert sorted(itertools.chain(*(held_out.ids for _, held_out in folds))) == sorted(examples.ids)
    for rest, held_out in folds:
        assert sorted([*rest.ids, *held_out.ids]) == sorted(examples.ids)


def test_folds_keep_the_proportions_of_the_classes_and_the_order() -> None:
    examples = make_examples([0] * 40 + [1] * 10)
    for fold in range(5):
        rest, held_out = split_fold(examples, folds=5, fold=fold, seed=0)
        assert held_out.class_counts.tolist() == [8, 2]
        assert rest.ids.tolist() == [name for name in examples.ids if name in set(rest.ids)]


def test_folds_are_the_same_for_the_same_seed_only() -> None:
    examples = make_examples([0, 1] * 20)
    first, again, other = (split_fold(examples, folds=4, fold=0, seed=seed)[1] for seed in (7, 7, 8))
    assert first.ids.tolist() == again.ids.tolist()
    assert first.ids.tolist() != other.ids.tolist()


def test_a_class_with_fewer_examples_than_folds_is_named() -> None:
    with pytest.raises(DataError, match=r"at least 5 .* fewer folds.*class 'dog' of 'pets' with 4 examples"):
        split_fold(make_examples([0] * 10 + [1] * 4), folds=5, fold=0, seed=0)


@pytest.mark.parametrize(("folds", "fold"), [(1, 0), (3, 3), (3, -1)])
def test_a_fold_is_one_of_at_least_two(folds: int, fold: int) -> None:
    with pytest.raises(ConfigurationError, match=r"at least two|from 0 to 2"):
        split_fold(make_examples([0, 1] * 10), folds=folds, fold=fold, seed=0)


# --- Shuffle splits -----------------------------------------------------------------------------------------


def test_shuffle_splits_draw_afresh_and_the_first_is_the_holdout() -> None:
    examples = make_examples([0, 1] * 20)
    splits = [split_shuffle(examples, splits=3, index=index, fraction=0.25, seed=1) for index in range(3)]
    assert len({tuple(held_out.ids) for _, held_out in splits}) == 3
    assert all(held_out.class_counts.tolist() == [5, 5] for _, held_out in splits)
    assert splits[0][1].ids.tolist() == split_holdout(examples, fraction=0.25, seed=1)[1].ids.tolist()


@pytest.mark.parametrize(("splits", "index"), [(3, 3), (3, -1), (0, 0)])
def test_a_shuffle_split_is_one_of_those_that_there_are(splits: int, index: int) -> None:
    with pytest.raises(ConfigurationError, match=f"Received: index={index}, splits={splits}"):
        split_shuffle(make_examples([0, 1] * 10), splits=splits, index=index, fraction=0.5, seed=0)


# --- Several classes an example -----------------------------------------------------------------------------


def count_patterns(examples: Examples) -> Counter[tuple[int, ...]]:
    return Counter(tuple(row) for row in examples.known_labels.tolist())


def test_multi_label_examples_keep_the_proportions_of_their_patterns() -> None:
    examples = make_examples([[1, 0]] * 40 + [[0, 1]] * 20 + [[1, 1]] * 20 + [[0, 0]] * 20)
    expected = {(1, 0): 8, (0, 1): 4, (1, 1): 4, (0, 0): 4}
    assert count_patterns(split_holdout(examples, fraction=0.2, seed=0)[1]) == expected
    assert count_patterns(split_fold(examples, folds=5, fold=2, seed=0)[1]) == expected


def test_rare_patterns_are_pooled() -> None:
    names = ("a", "b", "c")
    rare = [[1, 1, 0], [0, 1, 1], [1, 0, 1], [1, 1, 1], [0, 0, 0]]
    examples = make_examples([[1, 0, 0]] * 20 + [[0, 0, 1]] * 10 + rare, class_names=names)
    for fold in range(5):
        _, held_out = split_fold(examples, folds=5, fold=fold, seed=0)
        patterns = count_patterns(held_out)
        assert (patterns[1, 0, 0], patterns[0, 0, 1]) == (4, 2)
        assert len(held_out) == 7, "one of the five rare ones"


def test_a_single_rare_pattern_is_pooled_with_the_next_rarest() -> None:
    examples = make_examples([[1, 0]] * 20 + [[0, 1]] * 9 + [[1, 1]])
    sizes = []
    for fold in range(5):
        patterns = count_patterns(split_fold(examples, folds=5, fold=fold, seed=0)[1])
        assert patterns[1, 0] == 4
        sizes.append(patterns[0, 1] + patterns[1, 1])
    assert sizes == [2] * 5


def test_a_single_multi_label_image_cannot_be_split() -> None:
    examples = make_examples([[1, 0], [1, 0]], images=[5, 5])
    with pytest.raises(DataError, match="a part without images"):
        split_holdout(examples, fraction=0.5, seed=0)
    with pytest.raises(DataError, match="folds=2 of 1 different images"):
        split_fold(examples, folds=2, fold=0, seed=0)


# --- Real images --------------------------------------------------------------------------------------------


@pytest.mark.skipif("TPUENS_DATA_DIR" not in os.environ, reason="TPUENS_DATA_DIR is not set")
def test_folds_of_real_leaves_are_stratified_and_share_no_image() -> None:
    examples = load_examples("plant_pathology", "train")
    shares = examples.class_counts / len(examples)
    for fold in range(5):
        rest, held_out = split_fold(examples, folds=5, fold=fold, seed=0)
        assert np.abs(held_out.class_counts / len(held_out) - shares).max() < 0.003
        assert not images_of(rest) & images_of(held_out)
