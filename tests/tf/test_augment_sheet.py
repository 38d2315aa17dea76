"""The sheet of augmentations."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tpuens.data.augment import AUGMENTATIONS
from tpuens.data.augment_sheet import draw_augmentations
from tpuens.data.examples import ArrayImages, Examples
from tpuens.errors import ConfigurationError, DataError

TILE, STEP, LEFT = 112, 118, 150  # pixels: a square image, from one to the next, where the first column is


def make_halves(count: int) -> Examples:
    """Returns unlabelled images, white above and black below."""
    pixels = np.zeros((count, 16, 16, 3), np.uint8)
    pixels[:, :8] = 255
    return Examples(
        dataset="halves",
        split="test",
        ids=np.array([f"half-{index}" for index in range(count)]),
        labels=None,
        class_names=("half",),
        images=ArrayImages(pixels=pixels),
    )


def test_a_sheet_has_the_plain_images_and_a_row_for_each_augmentation_named(tmp_path: Path) -> None:
    path = tmp_path / "sheet.png"
    draw_augmentations(
        make_halves(9), ["flip-vertical", "mixup"], path, image_shape=(16, 16, 3), columns=8, seed=1
    )
    with Image.open(path) as image:
        sheet = np.asarray(image)
    assert sheet.shape == (3 * STEP + 6, LEFT + 8 * STEP + 6, 3)
    tops = [
        [int(sheet[6 + row * STEP + 5, LEFT + column * STEP + 60, 0]) for column in range(8)]
        for row in range(2)
    ]
    assert tops[0] == [255] * 8
    assert set(tops[1]) == {0, 255}, "some are turned upside down"


def test_without_names_a_sheet_shows_every_augmentation_of_as_many_images_as_there_are(
    tmp_path: Path,
) -> None:
    path = tmp_path / "sheet.png"
    draw_augmentations(make_halves(2), None, path, image_shape=(8, 8, 1))
    with Image.open(path) as image:
        assert image.size == (LEFT + 2 * STEP + 6, (1 + len(AUGMENTATIONS)) * STEP + 6)


def test_a_sheet_needs_columns_examples_and_known_names(tmp_path: Path) -> None:
    path = tmp_path / "sheet.png"
    with pytest.raises(ConfigurationError, match="columns=0"):
        draw_augmentations(make_halves(2), None, path, image_shape=(8, 8, 3), columns=0)
    with pytest.raises(DataError, match="none in 'halves'"):
        draw_augmentations(make_halves(0), None, path, image_shape=(8, 8, 3))
    with pytest.raises(ConfigurationError, match="Did you mean 'cutmix'"):
        draw_augmentations(make_halves(2), ["cutmx"], path, image_shape=(8, 8, 3))
