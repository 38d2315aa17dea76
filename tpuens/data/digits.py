"""Handwritten digits from scikit-learn: small, real, and there without a download."""

from pathlib import Path

import numpy as np

from .examples import ArrayImages, Examples
from .splits import take_fixed_split


def load_digits(split: str, data_dir: Path | None = None) -> Examples:
    """Returns scikit-learn's 1,797 digits of 8×8 pixels, a fixed fifth of which is the test split.

    They are the test set of Alpaydin and Kaynak, Optical Recognition of Handwritten Digits (UCI Machine
    Learning Repository, 1998). Their values 0..16 are scaled to 0..255 in integers, so that every machine
    has the same pixels.

    Args:
        split: ``"train"`` or ``"test"``.
        data_dir: Not looked at.
    """
    from sklearn import datasets

    digits = datasets.load_digits()
    values = digits.images.astype(np.int64)
    examples = Examples(
        dataset="digits",
        split=split,
        ids=np.array([f"digits-{index:05d}" for index in range(len(values))]),
        labels=digits.target.astype(np.int64),
        class_names=tuple(str(name) for name in digits.target_names),
        images=ArrayImages(pixels=((values * 255 + 8) // 16).astype(np.uint8)[..., np.newaxis]),
    )
    return take_fixed_split(examples, split)
