"""Descriptions and contact sheets."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tpuens.data.datasets import load_examples
from tpuens.data.describe import describe_examples, draw_contact_sheet
from tpuens.data.examples import ArrayImages, Examples, FileImages
from tpuens.errors import ConfigurationError, DataError

COLOURS = {"red": (250, 0, 0), "a very long name of a very blue class": (0, 0, 250)}


def write_colours(folder: Path) -> Examples:
    """Returns ten images, the first five red and 40×20, the others blue and 20×30."""
    paths = []
    for index in range(10):
        colour = list(COLOURS.values())[index // 5]
        height, width = ((20, 40), (30, 20))[index // 5]
        paths.append(folder / f"{index}.png")
        Image.fromarray(np.full((height, width, 3), colour, dtype=np.uint8)).save(paths[-1])
    return Examples(
        dataset="colours",
        split="train",
        ids=np.array([path.name for path in paths]),
        labels=np.repeat([0, 1], 5),
        class_names=tuple(COLOURS),
        images=FileImages(paths=tuple(str(path) for path in paths)),
    )


def test_a_description_counts_classes_and_measures_images(tmp_path: Path) -> None:
    description = describe_examples(write_colours(tmp_path).subset(range(1, 7)))
    assert description.num_examples == 6
    assert description.class_counts == (4, 2)
    assert description.imbalance == 2
    assert description.smallest_image == (20, 20, 3)
    assert description.largest_image == (30, 40, 3)
    assert description.num_images_read == 6
    assert description.num_duplicates == 4, "there are two different images"
    assert not description.is_multi_label


def test_unlabelled_examples_have_no_class_counts() -> None:
    images = ArrayImages(pixels=np.zeros((2, 4, 5, 1), np.uint8))
    examples = Examples(
        dataset="plain",
        split="test",
        ids=np.array(["a", "b"]),
        labels=None,
        class_names=("c",),
        images=images,
    )
    description = describe_examples(examples)
    assert description.class_counts is None
    assert description.imbalance is None
    assert description.largest_image == (4, 5, 1)


def label_several(examples: Examples) -> Examples:
    """Returns the examples with both classes on the first five and none on the others."""
    return replace(examples, labels=np.repeat([[1, 1], [0, 0]], 5, axis=0))


def test_an_example_of_several_classes_counts_for_each(tmp_path: Path) -> None:
    description = describe_examples(label_several(write_colours(tmp_path)).subset(range(1, 7)))
    assert description.is_multi_label
    assert description.class_counts == (4, 4)


def test_a_caption_names_all_classes_of_an_image_or_none(tmp_path: Path) -> None:
    examples = replace(label_several(write_colours(tmp_path)), class_names=("a", "b"))
    for name, wanted in (("both", slice(0, 1)), ("none", slice(9, 10))):
        expected = replace(
            examples.subset(range(10)[wanted]),
            class_names=("a, b", "none"),
            labels=np.array([int(name == "none")]),
        )
        draw_contact_sheet(examples.subset(range(10)[wanted]), tmp_path / "drawn.png", rows=1, columns=1)
        draw_contact_sheet(expected, tmp_path / "expected.png", rows=1, columns=1)
        assert (tmp_path / "drawn.png").read_bytes() == (tmp_path / "expected.png").read_bytes()


def test_nothing_cannot_be_described(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="none in 'colours'"):
        describe_examples(write_colours(tmp_path).subset([]))


def test_a_contact_sheet_shows_each_image_over_its_class(tmp_path: Path) -> None:
    examples = write_colours(tmp_path)
    draw_contact_sheet(examples, tmp_path / "sheet.png", rows=2, columns=5)
    with Image.open(tmp_path / "sheet.png") as sheet:
        pixels = np.asarray(sheet.convert("RGB"))
        assert sheet.format == "PNG"
    for colour in COLOURS.values():
        # Five tiles of 112 pixels along the longer side: 112×56 and 75×112.
        area = np.all(pixels == colour, axis=-1).sum()
        assert area == 5 * (112 * 56 if colour[0] else 75 * 112)
    assert np.all(pixels == (32, 32, 32), axis=-1).any(), "no caption"
    assert np.all(pixels[:, :6] == 255), "the long caption is wider than its image"


def test_a_contact_sheet_of_fewer_images_than_places_leaves_them_empty(tmp_path: Path) -> None:
    draw_contact_sheet(load_examples("digits", "test").subset(range(3)), tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert np.all(np.asarray(sheet)[-60:] == 255)


def test_the_seed_decides_which_images_are_shown(tmp_path: Path) -> None:
    examples = load_examples("digits", "test")
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        draw_contact_sheet(examples, tmp_path / name, seed=seed)
    a, b, c = ((tmp_path / name).read_bytes() for name in "abc")
    assert a == b != c


def test_an_unreadable_image_is_named(tmp_path: Path) -> None:
    examples = write_colours(tmp_path)
    (tmp_path / "3.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"3\.png of 'colours'"):
        describe_examples(examples)
    with pytest.raises(DataError, match=r"3\.png of 'colours'"):
        draw_contact_sheet(examples, tmp_path / "sheet.png")


def test_a_contact_sheet_needs_a_row_and_a_column(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="0 × 8"):
        draw_contact_sheet(write_colours(tmp_path), tmp_path / "sheet.png", rows=0)
