"""What augmentations make of a few images, as a picture to judge them by before training."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..errors import ConfigurationError, DataError
from .augment import AUGMENTATIONS
from .decode import name_corrupt_images
from .describe import save_png
from .examples import Examples
from .pipeline import Pipeline, PipelineConfig

if TYPE_CHECKING:
    from PIL import Image

_TILE = 112  # pixels, the longer side
_LABEL = 150
_MARGIN = 6
_BACKGROUND, _INK = (255, 255, 255), (32, 32, 32)


def draw_augmentations(
    examples: Examples,
    names: Sequence[str] | None,
    path: str | Path,
    *,
    image_shape: tuple[int, int, int],
    columns: int = 6,
    seed: int = 0,
) -> None:
    """Writes a PNG with a row for each augmentation, of the same few images, as training would see them.

    The first row is the images as they are. Each tile of the others is one draw; where an augmentation mixes
    labels, the share of its own label that an example keeps stands in it.

    Args:
        examples: Where the images come from; labels are not needed.
        names: Augmentations in `tpuens.data.augment.AUGMENTATIONS`, in the order of the rows. None: all.
        path: The PNG file to write.
        image_shape: Height, width and channels at which to augment: those that the network is given.
        columns: How many images to show, at most.
        seed: Decides which images, and what each augmentation does to them.

    Raises:
        ConfigurationError: No columns, no such augmentation, or an image shape that cannot be used.
        DataError: There are no examples, an image that was drawn cannot be decoded, or the file cannot be
            written.
    """
    if columns < 1:
        raise ConfigurationError(f"A sheet has at least one column. Received: columns={columns}")
    if len(examples) == 0:
        raise DataError(f"A sheet needs examples to show. Received: none in {examples.dataset!r}")
    drawn = examples.subset(np.random.default_rng(seed).permutation(len(examples))[:columns])
    # With a class of its own for each, a target says how much of which image's label is left.
    drawn = replace(drawn, labels=np.arange(len(drawn)), class_names=tuple(drawn.ids.tolist()))
    rows = [("as it is", _augmented(drawn, (), image_shape, seed))]
    for name in AUGMENTATIONS if names is None else names:
        rows.append((name, _augmented(drawn, (name,), image_shape, seed)))
    save_png(_draw_rows(rows), Path(path))


def _augmented(
    examples: Examples, augment: tuple[str, ...], image_shape: tuple[int, int, int], seed: int
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
    """Returns all examples as one training batch: images and targets, in an order that the seed decides."""
    config = PipelineConfig(image_shape=image_shape, augment=augment, targets="vector", seed=seed)
    with name_corrupt_images(examples):
        batches = Pipeline(examples, config).train_batches(len(examples), epoch=0)
        images, targets = next(batches.as_numpy_iterator())
    return images, targets


def _draw_rows(rows: Sequence[tuple[str, tuple[Any, Any]]]) -> "Image.Image":
    from PIL import Image, ImageDraw, ImageFont

    tiles = [[_tile(image) for image in images] for _, (images, _) in rows]
    width, height = tiles[0][0].size
    step_right, step_down = width + _MARGIN, height + _MARGIN
    size = (_LABEL + len(tiles[0]) * step_right + _MARGIN, len(tiles) * step_down + _MARGIN)
    sheet = Image.new("RGB", size, _BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=13)
    own_class = rows[0][1][1].argmax(axis=1)
    for row, (name, (_, targets)) in enumerate(rows):
        top = _MARGIN + row * step_down
        draw.text((_MARGIN, top + height / 2), name, fill=_INK, font=font, anchor="lm")
        kept = targets[np.arange(len(targets)), own_class]
        for column, tile in enumerate(tiles[row]):
            left = _LABEL + column * step_right
            sheet.paste(tile, (left, top))
            if name in AUGMENTATIONS and AUGMENTATIONS[name].level == "batch":
                corner = (left + 2, top + height - 3)
                share = f"{kept[column]:.0%}"
                draw.rectangle(draw.textbbox(corner, share, font=font, anchor="lb"), fill=_BACKGROUND)
                draw.text(corner, share, fill=_INK, font=font, anchor="lb")
    return sheet


def _tile(pixels: npt.NDArray[np.uint8]) -> "Image.Image":
    """Returns an image with its longer side as long as a tile's; a small one's pixels show."""
    from PIL import Image

    image = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).convert("RGB")
    scale = _TILE / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size, Image.Resampling.NEAREST if scale > 1 else Image.Resampling.LANCZOS)
