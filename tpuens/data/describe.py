"""What a data set looks like: its counts and shapes, and a sheet of its images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import ConfigurationError, DataError
from ..whole import PICTURE_REFUSAL, whole_file
from .examples import Examples
from .splits import count_duplicates

if TYPE_CHECKING:
    from PIL import Image, ImageFont

_SHAPES_READ = 256  # the headers of all files would take minutes on a network disk
_TILE = 112  # pixels, square
_CAPTION = 18
_MARGIN = 6
_BACKGROUND, _INK = (255, 255, 255), (32, 32, 32)


@dataclass(frozen=True, kw_only=True)
class DatasetDescription:
    """One split in numbers.

    Attributes:
        dataset: The data set's name.
        split: ``"train"``, ``"validation"`` or ``"test"``.
        num_examples: How many examples there are.
        num_duplicates: How many of them have an image that an earlier one has.
        class_names: The classes, in the order of the labels.
        class_counts: Examples of each class; None where unlabelled.
        is_multi_label: Whether an example may be of several classes, or of none.
        smallest_image: The least height, width and number of channels among the images looked at.
        largest_image: The greatest of each.
        num_images_read: How many images, evenly spread, the two come from.
    """

    dataset: str
    split: str
    num_examples: int
    num_duplicates: int
    class_names: tuple[str, ...]
    class_counts: tuple[int, ...] | None
    is_multi_label: bool
    smallest_image: tuple[int, int, int]
    largest_image: tuple[int, int, int]
    num_images_read: int

    @property
    def imbalance(self) -> float | None:
        """How many times as many examples the largest class has as the smallest; None where not defined."""
        if not self.class_counts or min(self.class_counts) == 0:
            return None
        return max(self.class_counts) / min(self.class_counts)


def describe_examples(examples: Examples) -> DatasetDescription:
    """Returns the counts, the class balance, the duplicates and the image shapes of one split.

    Every image file is read, to find the duplicates; none is decoded.

    Raises:
        DataError: There are no examples, or an image file is missing or has no header that can be read.
    """
    if len(examples) == 0:
        raise DataError(f"Only examples can be described. Received: none in {examples.dataset!r}")
    sample = np.unique(np.linspace(0, len(examples) - 1, num=_SHAPES_READ, dtype=np.int64))
    shapes = np.array([_image_shape(examples, int(index)) for index in sample])
    smallest, largest = shapes.min(axis=0).tolist(), shapes.max(axis=0).tolist()
    return DatasetDescription(
        dataset=examples.dataset,
        split=examples.split,
        num_examples=len(examples),
        num_duplicates=count_duplicates(examples),
        class_names=examples.class_names,
        class_counts=None if examples.labels is None else tuple(examples.class_counts.tolist()),
        is_multi_label=examples.is_multi_label,
        smallest_image=(smallest[0], smallest[1], smallest[2]),
        largest_image=(largest[0], largest[1], largest[2]),
        num_images_read=len(sample),
    )


def _image_shape(examples: Examples, index: int) -> tuple[int, int, int]:
    try:
        return examples.images.shape(index)
    except OSError as error:
        raise _unreadable(examples, index) from error


def _unreadable(examples: Examples, index: int) -> DataError:
    return DataError(
        "Every image must be a whole JPEG, PNG, GIF or BMP file: mend it or remove it. "
        f"Received: {examples.ids[index]} of {examples.dataset!r}"
    )


def draw_contact_sheet(
    examples: Examples, path: str | Path, rows: int = 4, columns: int = 8, seed: int = 0
) -> None:
    """Writes a PNG of rows × columns images, drawn at random, each with its class below.

    Images keep their proportions; small ones are enlarged without smoothing, so that their pixels show.

    Args:
        examples: Where the images come from; an unlabelled one is captioned with its id.
        path: The PNG file to write.
        rows: Images from top to bottom.
        columns: Images from left to right.
        seed: Decides which images are drawn.

    Raises:
        ConfigurationError: There are no rows or no columns.
        DataError: An image that was drawn cannot be decoded.
    """
    from PIL import Image, ImageDraw, ImageFont

    if rows < 1 or columns < 1:
        raise ConfigurationError(
            f"A contact sheet has at least one row and one column. Received: {rows} × {columns}"
        )
    chosen = np.random.default_rng(seed).permutation(len(examples))[: rows * columns]
    width = columns * (_TILE + _MARGIN) + _MARGIN
    height = rows * (_TILE + _CAPTION + _MARGIN) + _MARGIN
    sheet = Image.new("RGB", (width, height), _BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=12)
    for position, index in enumerate(chosen.tolist()):
        row, column = divmod(position, columns)
        left = _MARGIN + column * (_TILE + _MARGIN)
        top = _MARGIN + row * (_TILE + _CAPTION + _MARGIN)
        tile = _tile(examples, index)
        sheet.paste(tile, (left + (_TILE - tile.width) // 2, top + _TILE - tile.height))
        caption = _shortened(_caption(examples, index), font)
        draw.text((left + _TILE / 2, top + _TILE + _CAPTION / 2), caption, fill=_INK, font=font, anchor="mm")
    save_png(sheet, Path(path))


def save_png(image: Image.Image, path: Path) -> None:
    """Writes an image as PNG, whole or not at all.

    Raises:
        DataError: The file cannot be written.
    """
    with whole_file(path, PICTURE_REFUSAL) as part:
        image.save(part, "PNG")


def _tile(examples: Examples, index: int) -> Image.Image:
    """Returns an image scaled to fit a tile."""
    from PIL import Image

    try:
        pixels = examples.images.read(index)
    except OSError as error:
        raise _unreadable(examples, index) from error
    image = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).convert("RGB")
    scale = _TILE / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size, Image.Resampling.NEAREST if scale > 1 else Image.Resampling.LANCZOS)


def _caption(examples: Examples, index: int) -> str:
    if examples.labels is None:
        return str(examples.ids[index])
    if examples.is_multi_label:
        return (
            ", ".join(examples.class_names[label] for label in np.flatnonzero(examples.labels[index]))
            or "none"
        )
    return examples.class_names[int(examples.labels[index])]


def _shortened(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """Returns the text, its end replaced by an ellipsis where it is wider than a tile."""
    if font.getlength(text) <= _TILE:
        return text
    while text and font.getlength(text + "…") > _TILE:
        text = text[:-1]
    return text + "…"
