"""Augmentations, one by one."""

import numpy as np
import pytest
import tensorflow as tf

from tpuens.data.augment import AUGMENTATIONS


@pytest.mark.parametrize("name", tuple(AUGMENTATIONS))
@pytest.mark.parametrize("image_shape", [(8, 8, 1), (12, 20, 3)])
def test_an_augmentation_keeps_shape_and_type_and_depends_on_its_seed_alone(
    name: str, image_shape: tuple[int, int, int]
) -> None:
    augment = AUGMENTATIONS[name].load()
    image = tf.constant(np.random.default_rng(0).integers(0, 256, image_shape, dtype=np.uint8))
    results = []
    for seed in range(8):
        once, again = (augment(image, tf.constant([seed, 5], tf.int64)) for _ in range(2))
        assert once.dtype == tf.uint8
        assert once.shape == image_shape
        assert np.array_equal(once, again)
        results.append(once.numpy().tobytes())
    assert len(set(results)) > 1


def test_a_shift_moves_the_image_by_a_tenth_at_most() -> None:
    pixels = np.zeros((20, 20, 1), np.uint8)
    pixels[10, 10] = 255
    shift = AUGMENTATIONS["shift"].load()
    moved = {
        tuple((np.argwhere(shift(pixels, tf.constant([seed, 0], tf.int64)).numpy()[..., 0])[0] - 10).tolist())
        for seed in range(60)
    }
    assert {row for row, _ in moved} == {column for _, column in moved} == {-2, -1, 0, 1, 2}
    white = np.full((20, 20, 1), 255, np.uint8)
    shifted = [shift(white, tf.constant([seed, 0], tf.int64)).numpy() for seed in range(8)]
    assert np.all(np.stack(shifted) == 255), "what came in is not the edge"
