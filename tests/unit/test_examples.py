"""Examples, their fingerprint, and stratified splits."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tpuens.data.examples import ArrayImages, Examples, FileImages
from tpuens.data.splits import split_holdout
from tpuens.errors import ConfigurationError, DataError


def make_examples(labels: list[int], class_names: tuple[str, ...] = ("cat", "dog")) -> Examples:
    pixels = np.arange(len(labels) * 12, dtype=np.uint8).reshape(-1, 2, 2, 3)
    return Examples(
        dataset="pets",
        split="train",
        ids=np.array([f"pets-{index}" for index in range(len(labels))]),
        labels=np.array(labels, dtype=np.int64),
        class_names=class_names,
        images=ArrayImages(pixels=pixels),
    )


def make_file_examples(folder: Path) -> Examples:
    folder.mkdir()
    paths = []
    for index in range(3):
        path = folder / f"{index}.png"
        Image.fromarray(np.full((4, 6 + index, 3), 50 * index, dtype=np.uint8)).save(path)
        paths.append(str(path))
    return Examples(
        dataset="pets",
        split="train",
        ids=np.array(["0.png", "1.png", "2.png"]),
        labels=np.array([0, 1, 1]),
        class_names=("cat", "dog"),
        images=FileImages(paths=tuple(paths)),
    )


def test_a_subset_takes_ids_labels_and_pixels_together() -> None:
    examples = make_examples([0, 1, 1, 0])
    chosen = examples.subset([3, 1])
    assert chosen.ids.tolist() == ["pets-3", "pets-1"]
    assert chosen.known_labels.tolist() == [0, 1]
    assert np.array_equal(chosen.images.read(0), examples.images.read(3))
    assert chosen.class_names == examples.class_names


def test_a_subset_of_files_keeps_each_file_with_its_id(tmp_path: Path) -> None:
    chosen = make_file_examples(tmp_path / "pets").subset(np.array([2, 0]))
    assert chosen.ids.tolist() == ["2.png", "0.png"]
    assert chosen.images.shape(0) == (4, 8, 3)
    assert chosen.images.read(0).mean() == 100


@pytest.mark.parametrize("labels", [[0, 2], [-1, 0]])
def test_labels_outside_the_class_names_are_refused(labels: list[int]) -> None:
    with pytest.raises(DataError, match=r"Labels must lie in 0\.\.1"):
        make_examples(labels)


def test_the_same_id_twice_is_refused() -> None:
    examples = make_examples([0, 1])
    with pytest.raises(DataError, match="unique"):
        examples.subset([1, 1])


def test_as_many_labels_as_images_are_asked_for() -> None:
    with pytest.raises(DataError, match="2 ids, 1 images, 2 labels"):
        Examples(
            dataset="pets",
            split="train",
            ids=np.array(["a", "b"]),
            labels=np.array([0, 0]),
            class_names=("cat",),
            images=ArrayImages(pixels=np.zeros((1, 2, 2, 3), np.uint8)),
        )


def test_pixels_must_be_uint8_with_one_or_three_channels() -> None:
    with pytest.raises(DataError, match="float64"):
        ArrayImages(pixels=np.zeros((1, 2, 2, 3)))  # type: ignore[arg-type]
    with pytest.raises(DataError, match="1 or 3"):
        ArrayImages(pixels=np.zeros((1, 2, 2, 4), np.uint8))


def test_unlabelled_examples_say_so_when_labels_are_needed() -> None:
    labelled = make_examples([0, 1])
    unlabelled = Examples(
        dataset="pets",
        split="test",
        ids=labelled.ids,
        labels=None,
        class_names=labelled.class_names,
        images=labelled.images,
    )
    with pytest.raises(DataError, match="no labels"):
        _ = unlabelled.known_labels
    assert unlabelled.fingerprint() != labelled.fingerprint()


def test_the_fingerprint_of_files_does_not_depend_on_their_folder(tmp_path: Path) -> None:
    here, there = make_file_examples(tmp_path / "here"), make_file_examples(tmp_path / "there")
    assert here.fingerprint() == there.fingerprint()
    assert len(here.fingerprint()) == 16


def test_the_fingerprint_changes_with_a_pixel_a_label_a_class_or_the_order() -> None:
    examples = make_examples([0, 1, 1])
    repainted = make_examples([0, 1, 1])
    repainted.images.read(2)[0, 0, 0] += 1
    others = [
        repainted,
        make_examples([0, 1, 0]),
        make_examples([0, 1, 1], class_names=("cat", "cow")),
        examples.subset([1, 0, 2]),
    ]
    assert len({examples.fingerprint(), *(other.fingerprint() for other in others)}) == 5


def test_the_fingerprint_of_files_changes_with_a_file_and_names_a_missing_one(tmp_path: Path) -> None:
    examples = make_file_examples(tmp_path / "pets")
    before = examples.fingerprint()
    with (tmp_path / "pets" / "1.png").open("ab") as file:
        file.write(b"\0")
    assert examples.fingerprint() != before
    (tmp_path / "pets" / "2.png").unlink()
    with pytest.raises(DataError, match=r"2\.png"):
        examples.fingerprint()


def test_a_holdout_keeps_the_proportions_of_the_classes() -> None:
    examples = make_examples([0] * 60 + [1] * 20)
    rest, held_out = split_holdout(examples, fraction=0.25, seed=0)
    assert np.bincount(rest.known_labels).tolist() == [45, 15]
    assert np.bincount(held_out.known_labels).tolist() == [15, 5]
    assert sorted([*rest.ids, *held_out.ids]) == sorted(examples.ids)


def test_a_holdout_is_the_same_for_the_same_seed_only() -> None:
    examples = make_examples([0, 1] * 20)
    first, again, other = (split_holdout(examples, fraction=0.3, seed=seed)[1] for seed in (7, 7, 8))
    assert first.ids.tolist() == again.ids.tolist()
    assert first.ids.tolist() != other.ids.tolist()


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
