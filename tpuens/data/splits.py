"""Splits that keep the classes' proportions, made by scikit-learn, with exact duplicates on one side.

What is split are unique images: where several examples have the same image, byte for byte or pixel for pixel,
they go together, and are stratified as the first of them. An image that a model was trained on then never
stands among those that it is judged by. Without duplicates the splits are scikit-learn's own.
"""

import math
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from ..errors import ConfigurationError, DataError
from .examples import Examples

TEST_FRACTION = 0.2
# Never changed: it decides which examples are for testing, so another seed would make every older
# accuracy incomparable.
TEST_SEED = 2020


def split_holdout(examples: Examples, *, fraction: float, seed: int) -> tuple[Examples, Examples]:
    """Returns the examples in two stratified parts: the rest, and those held out.

    Both keep the order of the examples; the same seed gives the same parts.

    Args:
        examples: Labelled examples.
        fraction: The share to hold out, between 0 and 1.
        seed: Decides which examples are held out.

    Raises:
        ConfigurationError: The fraction does not lie between 0 and 1.
        DataError: The examples are unlabelled, there are none, or a class would have no example in one of
            the parts.
    """
    return split_shuffle(examples, splits=1, index=0, fraction=fraction, seed=seed)


def split_shuffle(
    examples: Examples, *, splits: int, index: int, fraction: float, seed: int
) -> tuple[Examples, Examples]:
    """Returns one of several stratified shuffle splits: the rest, and those held out.

    Each split draws afresh, so an example may be held out in several, or in none. The first is
    `split_holdout` of the same seed.

    Args:
        examples: Labelled examples.
        splits: How many splits there are.
        index: Which of them, from 0.
        fraction: The share to hold out, between 0 and 1.
        seed: Decides which examples are held out.

    Raises:
        ConfigurationError: The fraction does not lie between 0 and 1, or there is no such split.
        DataError: As `split_holdout`.
    """
    from sklearn.model_selection import StratifiedShuffleSplit

    if not 0 < fraction < 1:
        raise ConfigurationError(f"The held-out fraction must lie between 0 and 1. Received: {fraction}")
    if not 0 <= index < splits:
        raise ConfigurationError(
            "Shuffle splits are numbered from 0 to one less than their number. "
            f"Received: index={index}, splits={splits}"
        )
    image_of = _number_images(examples)
    # A pattern that is rarer than this would be missing from a side on average.
    rare = math.ceil(1 / min(fraction, 1 - fraction))
    strata = _stratify(examples, image_of, least=rare if examples.is_multi_label else 2)
    splitter = StratifiedShuffleSplit(n_splits=splits, test_size=fraction, random_state=seed)
    try:
        drawn = [held_out for _, held_out in splitter.split(strata, strata)][index]
    except ValueError as error:  # fewer places in one part than there are classes
        counts = examples.class_counts
        rarest = examples.class_names[int(np.where(counts > 0, counts, len(examples)).argmin())]
        lacking = "images" if examples.is_multi_label else f"class {rarest!r}"
        raise _empty_side(examples, fraction, lacking) from error
    rest, held_out = _part(examples, image_of, drawn)
    if not examples.is_multi_label:
        lacking = (examples.class_counts > 0) & ((rest.class_counts == 0) | (held_out.class_counts == 0))
        for label in np.flatnonzero(lacking)[:1]:
            raise _empty_side(examples, fraction, f"class {examples.class_names[label]!r}")
    return rest, held_out


def split_fold(examples: Examples, *, folds: int, fold: int, seed: int) -> tuple[Examples, Examples]:
    """Returns one fold of a stratified k-fold: the rest, and those held out.

    Every example is held out in exactly one fold. Both parts keep the order of the examples; the same seed
    gives the same folds.

    Args:
        examples: Labelled examples.
        folds: How many folds there are, 2 or more.
        fold: Which of them is held out, from 0.
        seed: Decides which examples are in which fold.

    Raises:
        ConfigurationError: There are fewer than two folds, or no such fold.
        DataError: The examples are unlabelled, there are none, or a class has fewer than there are folds.
    """
    from sklearn.model_selection import StratifiedKFold

    if folds < 2:
        raise ConfigurationError(f"Cross-validation takes at least two folds. Received: folds={folds}")
    if not 0 <= fold < folds:
        raise ConfigurationError(
            f"Folds are numbered from 0 to {folds - 1}, one less than their number. Received: fold={fold}"
        )
    image_of = _number_images(examples)
    strata = _stratify(examples, image_of, least=folds)
    if len(strata) < folds:
        raise DataError(
            "Every fold needs an image of its own: take fewer folds, or add examples. "
            f"Received: folds={folds} of {len(strata)} different images of {examples.dataset!r}"
        )
    splitter = StratifiedKFold(n_splits=folds, shuffle=True, random_state=seed)
    drawn = [held_out for _, held_out in splitter.split(strata, strata)][fold]
    return _part(examples, image_of, drawn)


def take_fixed_split(examples: Examples, split: str) -> Examples:
    """Returns the train or the test part of a data set that comes without a test split of its own.

    A fifth of every class is for testing, the same examples always.

    Raises:
        DataError: As `split_holdout`.
    """
    train, test = split_holdout(examples, fraction=TEST_FRACTION, seed=TEST_SEED)
    return replace(test if split == "test" else train, split=split)


def count_duplicates(examples: Examples) -> int:
    """Returns how many examples have an image that an earlier one has, byte for byte or pixel for pixel."""
    return len(examples) - len(set(examples.content_digests()))


def _number_images(examples: Examples) -> npt.NDArray[np.int64]:
    """Returns the number of each example's image, (n,), in order of appearance; duplicates share one."""
    if len(examples.known_labels) == 0:
        raise DataError(f"Only examples can be split. Received: none in {examples.dataset!r}")
    numbers: dict[bytes, int] = {}
    return np.array([numbers.setdefault(digest, len(numbers)) for digest in examples.content_digests()])


def _stratify(examples: Examples, image_of: npt.NDArray[np.int64], *, least: int) -> npt.NDArray[np.int64]:
    """Returns what each image is stratified by, (u,), each value for at least so many images if there are.

    It is the class of the first example that has the image, or of multi-label examples the pattern of its
    row. Patterns with fewer images are pooled, with the next rarest until the pool has enough. So is a class
    that has enough images, but hardly one that is not another's first.
    """
    if not examples.is_multi_label:
        _check_class_sizes(examples, image_of, least)
    labels = examples.known_labels[np.unique(image_of, return_index=True)[1]]
    _, pattern, counts = np.unique(labels, axis=0, return_inverse=True, return_counts=True)
    pattern = pattern.reshape(-1)  # NumPy 2.0 alone gives it two dimensions
    by_size = np.argsort(counts, kind="stable")
    num_rare = int((counts < least).sum())
    if num_rare:
        num_enough = int(np.searchsorted(np.cumsum(counts[by_size]), least)) + 1
        pattern[np.isin(pattern, by_size[: max(num_rare, num_enough)])] = by_size[0]
    return pattern


def _check_class_sizes(examples: Examples, image_of: npt.NDArray[np.int64], least: int) -> None:
    """Raises if a class that has examples has too few different images."""
    pairs = np.unique(np.stack([examples.known_labels, image_of]), axis=1)
    num_images = np.bincount(pairs[0], minlength=len(examples.class_names))
    for name, images, count in zip(examples.class_names, num_images, examples.class_counts, strict=True):
        if count > 0 and images < least:
            received = f"{count} example" + ("s" if count > 1 else "")
            if images < count:
                received += f", but only {images} different image" + ("s" if images > 1 else "")
            raise DataError(
                f"A class needs at least {'two' if least == 2 else least} examples to be split, one for each "
                "part: add examples, leave the class out, or take fewer folds. "
                f"Received: class {name!r} of {examples.dataset!r} with {received}"
            )


def _part(
    examples: Examples, image_of: npt.NDArray[np.int64], drawn: npt.NDArray[np.int64]
) -> tuple[Examples, Examples]:
    """Returns the rest, and the examples whose images were drawn."""
    held_out = np.isin(image_of, drawn)
    return examples.subset(np.flatnonzero(~held_out)), examples.subset(np.flatnonzero(held_out))


def _empty_side(examples: Examples, fraction: float, lacking: str) -> DataError:
    return DataError(
        "Both parts of a split need an example of every class: take another fraction, or add examples. "
        f"Received: fraction {fraction} of {len(examples)} examples of {examples.dataset!r}, which leaves "
        f"a part without {lacking}"
    )
