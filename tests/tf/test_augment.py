"""Augmentations and views, one by one."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf

from tpuens.data.augment import AUGMENTATIONS, VIEWS
from tpuens.data.transforms import rotate, scale

OF_IMAGES = tuple(name for name, row in AUGMENTATIONS.items() if row.level == "image")
OF_BATCHES = tuple(name for name, row in AUGMENTATIONS.items() if row.level == "batch")
COLOUR_ONLY = {"saturation", "hue"}
Pixels = npt.NDArray[np.uint8]


def make_seed(number: int) -> Any:
    return tf.constant([number, 5], tf.int64)


def make_noise(shape: tuple[int, ...]) -> Pixels:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def make_ramp(height: int, width: int) -> Pixels:
    """Returns a picture whose value says where it is: red grows downwards, green to the right."""
    image = np.zeros((height, width, 3), np.uint8)
    image[..., 0], image[..., 1] = np.arange(height)[:, None], np.arange(width)
    return image


def draw(name: str, image: Pixels, seeds: int) -> list[Pixels]:
    """Returns what an augmentation makes of an image with each of some seeds."""
    augment = tf.function(AUGMENTATIONS[name].load(), autograph=False)
    return [augment(tf.constant(image), make_seed(number)).numpy() for number in range(seeds)]


# --- Every one ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", OF_IMAGES)
@pytest.mark.parametrize("image_shape", [(8, 8, 1), (12, 20, 3)])
def test_an_augmentation_keeps_shape_and_type_and_depends_on_its_seed_alone(
    name: str, image_shape: tuple[int, int, int]
) -> None:
    augment = AUGMENTATIONS[name].load()
    image = tf.constant(make_noise(image_shape))
    results = []
    for number in range(8):
        once, again = (augment(image, make_seed(number)) for _ in range(2))
        assert once.dtype == tf.uint8
        assert once.shape == image_shape
        assert np.array_equal(once, again)
        results.append(once.numpy().tobytes())
    if name in COLOUR_ONLY and image_shape[-1] == 1:
        assert set(results) == {image.numpy().tobytes()}, "a grey image has no colour to change"
    else:
        assert len(set(results)) > 1


@pytest.mark.parametrize("name", OF_IMAGES)
def test_an_augmentation_does_the_same_inside_a_pipeline_with_a_static_shape(name: str) -> None:
    image = make_noise((9, 6, 3))
    augment = AUGMENTATIONS[name].load()
    seeds = tf.data.Dataset.from_tensor_slices(tf.stack([make_seed(number) for number in range(3)]))
    mapped = seeds.map(tf.function(lambda seed: augment(tf.constant(image), seed), autograph=False))
    assert mapped.element_spec == tf.TensorSpec((9, 6, 3), tf.uint8)
    for number, inside in enumerate(mapped.as_numpy_iterator()):
        assert np.array_equal(inside, augment(tf.constant(image), make_seed(number)))


@pytest.mark.parametrize("name", [name for name in OF_IMAGES if name != "cutout"])
def test_an_augmentation_brings_in_nothing_dark_from_outside(name: str) -> None:
    for white in draw(name, np.full((20, 20, 3), 255, np.uint8), 12):
        assert white.min() >= (229 if name == "brightness" else 255)


# --- One by one ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "flipped"),
    [("flip-horizontal", lambda image: image[:, ::-1]), ("flip-vertical", lambda image: image[::-1])],
)
def test_a_random_flip_is_exact_and_comes_about_half_the_time(
    name: str, flipped: Callable[[Pixels], Pixels]
) -> None:
    image = make_noise((6, 4, 3))
    results = draw(name, image, 60)
    changed = [result for result in results if not np.array_equal(result, image)]
    assert all(np.array_equal(result, flipped(image)) for result in changed)
    assert 18 <= len(changed) <= 42  # outside in 1 of 800 draws of 60


def test_a_shift_moves_the_image_by_a_tenth_at_most() -> None:
    pixels = np.zeros((20, 20, 1), np.uint8)
    pixels[10, 10] = 255
    moved = {tuple((np.argwhere(image[..., 0])[0] - 10).tolist()) for image in draw("shift", pixels, 60)}
    assert {row for row, _ in moved} == {column for _, column in moved} == {-2, -1, 0, 1, 2}


@pytest.mark.parametrize("name", sorted(COLOUR_ONLY))
def test_changes_of_colour_keep_grey_pixels_and_change_others(name: str) -> None:
    image = np.repeat(make_noise((6, 6, 1)), 3, axis=-1)
    image[0] = (200, 90, 30)
    for result in draw(name, image, 12):
        assert np.array_equal(result[1:], image[1:])
    assert len({result[0].tobytes() for result in draw(name, image, 12)}) > 6


def test_a_hue_turns_by_7_degrees_at_most() -> None:
    red = np.full((1, 1, 3), (255, 0, 0), np.uint8)
    turned = np.array([result[0, 0] for result in draw("hue", red, 60)])
    assert set(turned[:, 0].tolist()) == {255}
    # 60 degrees from red lies yellow or magenta, so 7.2 degrees are 0.12 of the way.
    assert 24 < turned[:, 1:].max() <= 31
    assert turned[:, 1].any()
    assert turned[:, 2].any(), "both ways"


def test_turning_by_nothing_changes_nothing_and_by_a_quarter_is_exact() -> None:
    image = make_noise((7, 7, 3))
    assert np.array_equal(rotate(image, 0.0), image)
    assert np.array_equal(rotate(image, np.pi / 2), np.rot90(image))
    oblong = make_noise((5, 8, 1))
    assert np.array_equal(rotate(oblong, 0.0), oblong)
    assert np.array_equal(rotate(oblong, np.pi), oblong[::-1, ::-1])


def test_a_rotation_stays_within_15_degrees_of_both_ways() -> None:
    pixels = np.zeros((101, 101, 1), np.uint8)
    pixels[50, 90:93] = 255  # 40 to 42 pixels to the right of the centre
    degrees = []
    for image in draw("rotation", pixels, 40):
        row, column = np.average(np.argwhere(image[..., 0]), axis=0, weights=image[image > 0])
        degrees.append(np.degrees(np.arctan2(50 - row, column - 50)))
    assert -15.5 < min(degrees) < -10
    assert 10 < max(degrees) < 15.5


def test_scaling_by_one_changes_nothing_and_by_two_doubles_distances_from_the_centre() -> None:
    image = make_noise((9, 9, 3))
    assert np.array_equal(scale(image, 1.0), image)
    doubled = scale(make_ramp(9, 9), 2.0).numpy()
    assert np.array_equal(doubled[::2, 0, 0], [2, 3, 4, 5, 6])
    assert np.array_equal(doubled[0, ::2, 1], [2, 3, 4, 5, 6])


def test_a_zoom_goes_both_ways_by_a_tenth_at_most_and_keeps_proportions() -> None:
    results = draw("zoom", make_ramp(101, 201), 40)
    heights = [(float(image[90, 100, 0]) - image[10, 100, 0]) / 80 for image in results]
    widths = [(float(image[50, 180, 1]) - image[50, 20, 1]) / 160 for image in results]
    assert 1 / 1.1 - 0.02 < min(heights) < 0.94
    assert 1.06 < max(heights) < 1 / 0.9 + 0.02
    assert np.allclose(heights, widths, atol=0.02)


def test_a_resized_crop_keeps_half_the_area_or_more_within_the_proportions_and_reaches_every_edge() -> None:
    height, width = 60, 90
    crops = draw("random-resized-crop", make_ramp(height, width), 200)
    edges = []
    for crop in crops:
        assert np.all(np.diff(crop[..., 0].astype(int), axis=0) >= 0), "one part, the right way up"
        edges.append((crop[0, 0, 0], crop[-1, 0, 0] + 1, crop[0, 0, 1], crop[0, -1, 1] + 1))
    top, bottom, left, right = np.array(edges, dtype=float).T
    heights, widths = (bottom - top) / height, (right - left) / width
    assert 0.47 < (heights * widths).min() < 0.55
    assert (heights * widths).max() > 0.9
    assert 0.72 < (widths / heights).min() < 0.8
    assert 1.25 < (widths / heights).max() < 1.39
    assert 0 in top[bottom < height]
    assert height in bottom[top > 0]
    assert 0 in left[right < width]
    assert width in right[left > 0]
    assert top.max() > 10
    assert left.max() > 15


def test_a_cutout_paints_a_grey_square_that_may_stick_out() -> None:
    black = np.zeros((16, 24, 3), np.uint8)
    areas, corners = [], set()
    for image in draw("cutout", black, 200):
        assert set(np.unique(image).tolist()) == {0, 128}
        rows, columns = (np.unique(where) for where in np.nonzero(image[..., 0]))
        assert len(rows) * len(columns) == np.count_nonzero(image[..., 0]), "one rectangle"
        areas.append(len(rows) * len(columns))
        corners.add((rows[0] == 0, rows[-1] == 15, columns[0] == 0, columns[-1] == 23))
    assert max(areas) == 8 * 8
    assert 4 * 4 <= min(areas) < 6 * 6, "a corner of the image holds a quarter of the square"
    assert len(corners) == 9, "inside, over each edge, over each corner"


# --- Those that mix a batch ---------------------------------------------------------------------------------


def make_batch(count: int, shape: tuple[int, int, int]) -> tuple[Pixels, npt.NDArray[np.float32]]:
    """Returns noise, and of each example a class of its own as its target."""
    return make_noise((count, *shape)), np.eye(count, dtype=np.float32)


def mix(name: str, images: Any, targets: Any, seed: int) -> tuple[Pixels, npt.NDArray[np.float32]]:
    mixed, mixed_targets = AUGMENTATIONS[name].load()(
        tf.constant(images), tf.constant(targets), make_seed(seed)
    )
    assert mixed.dtype == tf.uint8
    assert mixed_targets.dtype == tf.float32
    assert (mixed.shape, mixed_targets.shape) == (images.shape, targets.shape)
    return mixed.numpy(), mixed_targets.numpy()


@pytest.mark.parametrize("name", OF_BATCHES)
@pytest.mark.parametrize(("count", "shape"), [(6, (8, 8, 1)), (5, (12, 20, 3)), (1, (8, 8, 3))])
def test_mixing_depends_on_its_seed_alone_and_targets_still_sum_to_one(
    name: str, count: int, shape: tuple[int, int, int]
) -> None:
    images, targets = make_batch(count, shape)
    results = [mix(name, images, targets, seed) for seed in range(4)]
    for seed, (mixed, mixed_targets) in enumerate(results):
        again, again_targets = mix(name, images, targets, seed)
        assert np.array_equal(mixed, again)
        assert np.array_equal(mixed_targets, again_targets)
        assert np.allclose(mixed_targets.sum(axis=1), 1, atol=1e-6)
        assert mixed_targets.min() >= 0
    if count == 1:
        assert np.array_equal(results[0][0], images), "an example alone mixes with itself"
    else:
        assert len({mixed.tobytes() for mixed, _ in results}) == 4


def test_mixup_blends_images_and_targets_with_one_weight_an_example() -> None:
    images, targets = make_batch(6, (8, 8, 3))
    mixed, mixed_targets = mix("mixup", images, targets, 1)
    shares = mixed_targets @ np.eye(6)
    own = np.diag(shares)
    partner = shares[np.arange(6), np.roll(np.arange(6), -1)]
    assert np.allclose(own + partner, 1, atol=1e-6)
    assert len(set(own.tolist())) == 6, "a weight of its own for each"
    expected = np.einsum("ij,jhwc->ihwc", mixed_targets.astype(np.float64), images)
    assert np.abs(mixed - expected).max() <= 0.501, "rounded to whole values"


def test_the_weights_of_mixup_follow_their_beta_distribution() -> None:
    targets = np.zeros((4000, 2), np.float32)
    targets[::2, 0] = targets[1::2, 1] = 1
    _, mixed_targets = mix("mixup", np.zeros((4000, 1, 1, 1), np.uint8), targets, 3)
    weights = mixed_targets.max(axis=1, where=targets > 0, initial=0)
    assert abs(weights.mean() - 0.5) < 0.03
    assert abs(weights.var() - 1 / (4 * (2 * 0.2 + 1))) < 0.01  # of Beta(a, a): 1 / (4 (2a + 1))


def test_cutmix_weighs_targets_by_the_pixels_that_are_left() -> None:
    count, height, width = 40, 10, 14
    images = np.broadcast_to(np.arange(count, dtype=np.uint8)[:, None, None, None], (count, height, width, 3))
    cut_off = 0
    for seed in range(3):
        mixed, targets = mix("cutmix", images, np.eye(count, dtype=np.float32), seed)
        for index in range(count):
            partner = (index + 1) % count
            own = mixed[index, ..., 0] == index
            assert np.all(own | (mixed[index, ..., 0] == partner))
            kept = np.float32(np.count_nonzero(own)) / np.float32(height * width)
            assert targets[index, index] == pytest.approx(kept, abs=1e-7)
            assert targets[index, partner] == pytest.approx(1 - kept, abs=1e-7)
            rows, columns = (np.unique(where) for where in np.nonzero(~own))
            assert len(rows) * len(columns) == np.count_nonzero(~own), "one box"
            # An image's box is as long in rows as in columns but for rounding, unless an edge cuts it.
            cut_off += abs(len(rows) / height - len(columns) / width) > 0.2
    assert cut_off > 5


def test_several_labels_are_mixed_one_by_one() -> None:
    images = make_noise((2, 8, 8, 3))
    targets = np.array([[1, 1, 0], [1, 0, 0]], np.float32)
    for name in OF_BATCHES:
        _, mixed = mix(name, images, targets, 2)
        assert np.allclose(mixed[:, 0], 1, atol=1e-6), "what both have stays whole"
        assert np.all((mixed[:, 1] > 0) & (mixed[:, 1] < 1))
        assert not mixed[:, 2].any()


# --- Views --------------------------------------------------------------------------------------------------


def test_views_are_exact() -> None:
    image = make_noise((5, 7, 3))
    expected = {
        "plain": image,
        "flip-horizontal": image[:, ::-1],
        "flip-vertical": image[::-1],
        "flip-both": image[::-1, ::-1],
    }
    assert set(VIEWS) == set(expected)
    for name, row in VIEWS.items():
        assert np.array_equal(row.load()(tf.constant(image)), expected[name])
