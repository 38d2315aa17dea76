"""Splits that keep the classes' proportions, made by scikit-learn."""

from dataclasses import replace

import numpy as np

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
        DataError: The examples are unlabelled, or a class would have no example in one of the parts.
    """
    from sklearn.model_selection import train_test_split

    if not 0 < fraction < 1:
        raise ConfigurationError(f"The held-out fraction must lie between 0 and 1. Received: {fraction}")
    labels = examples.known_labels
    counts = np.bincount(labels, minlength=len(examples.class_names))
    for name, count in zip(examples.class_names, counts, strict=True):
        if count == 1:
            raise DataError(
                f"A class needs at least two examples to be split. Received: class {name!r} of "
                f"{examples.dataset!r} with 1 example"
            )
    try:
        rest, held_out = train_test_split(
            np.arange(len(labels)), test_size=fraction, random_state=seed, stratify=labels
        )
    except ValueError as error:  # fewer places in one part than there are classes
        smallest = examples.class_names[int(np.argmin(np.where(counts > 0, counts, counts.max() + 1)))]
        raise _empty_side(examples, smallest, fraction) from error
    for part in (rest, held_out):
        part_counts = np.bincount(labels[part], minlength=len(counts))
        for name, count, part_count in zip(examples.class_names, counts, part_counts, strict=True):
            if count and not part_count:
                raise _empty_side(examples, name, fraction)
    return examples.subset(np.sort(rest)), examples.subset(np.sort(held_out))


def take_fixed_split(examples: Examples, split: str) -> Examples:
    """Returns the train or the test part of a data set that comes without a test split of its own.

    A fifth of every class is for testing, the same examples always.

    Raises:
        DataError: As `split_holdout`.
    """
    train, test = split_holdout(examples, fraction=TEST_FRACTION, seed=TEST_SEED)
    return replace(test if split == "test" else train, split=split)


def _empty_side(examples: Examples, class_name: str, fraction: float) -> DataError:
    return DataError(
        "Both parts of a split need an example of every class: take another fraction, or add examples. "
        f"Received: fraction {fraction} of {len(examples)} examples of {examples.dataset!r}, which leaves "
        f"a part without class {class_name!r}"
    )
