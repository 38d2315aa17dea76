"""The tables of augmentations and of test-time views, so that listing them is quick.

What they do is in `tpuens.data.transforms` and `tpuens.data.batch_transforms`.
"""

from dataclasses import dataclass
from typing import Literal

from ..registry import Row, Table


@dataclass(frozen=True, kw_only=True)
class Augmentation(Row):
    """One augmentation.

    Attributes:
        level: ``"image"``: ``f(image, seed) -> image``, the label stays. ``"batch"``: ``f(images, targets,
            seed) -> (images, targets)``, which mixes the labels too and so needs them as vectors.
    """

    level: Literal["image", "batch"] = "image"


AUGMENTATIONS: Table[Augmentation] = Table(
    "augmentation",
    (
        Augmentation(
            name="flip-horizontal",
            factory="tpuens.data.transforms:flip_horizontal",
            summary="left and right swapped, every second time",
        ),
        Augmentation(
            name="flip-vertical",
            factory="tpuens.data.transforms:flip_vertical",
            summary="top and bottom swapped, every second time",
        ),
        Augmentation(
            name="brightness",
            factory="tpuens.data.transforms:brightness",
            summary="brighter or darker by up to 10 % of the full range",
        ),
        Augmentation(
            name="contrast",
            factory="tpuens.data.transforms:contrast",
            summary="contrast between 80 % and 120 %",
        ),
        Augmentation(
            name="saturation",
            factory="tpuens.data.transforms:saturation",
            summary="saturation between 70 % and 130 %",
        ),
        Augmentation(
            name="hue",
            factory="tpuens.data.transforms:hue",
            summary="hue turned by up to 7° of the colour circle",
        ),
        Augmentation(
            name="shift",
            factory="tpuens.data.transforms:shift",
            summary="moved by up to 10 % each way, the edge mirrored",
        ),
        Augmentation(
            name="rotation",
            factory="tpuens.data.transforms:rotation",
            summary="turned by up to 15° either way, the edge mirrored",
        ),
        Augmentation(
            name="zoom",
            factory="tpuens.data.transforms:zoom",
            summary="between 90 % and 110 % of its size, the edge mirrored",
        ),
        Augmentation(
            name="random-resized-crop",
            factory="tpuens.data.transforms:random_resized_crop",
            summary="a part of half the area or more, stretched to the whole",
        ),
        Augmentation(
            name="cutout",
            factory="tpuens.data.transforms:cutout",
            summary="a square of half the side painted grey",
        ),
        Augmentation(
            name="mixup",
            factory="tpuens.data.batch_transforms:mixup",
            summary="two images blended, and their labels",
            level="batch",
        ),
        Augmentation(
            name="cutmix",
            factory="tpuens.data.batch_transforms:cutmix",
            summary="a box of another image pasted in, labels mixed by area",
            level="batch",
        ),
    ),
)

VIEWS: Table[Row] = Table(
    "view",
    (
        Row(name="plain", factory="tpuens.data.transforms:unchanged", summary="the image as it is"),
        Row(
            name="flip-horizontal",
            factory="tpuens.data.transforms:mirror_columns",
            summary="left and right swapped",
        ),
        Row(
            name="flip-vertical",
            factory="tpuens.data.transforms:mirror_rows",
            summary="top and bottom swapped",
        ),
        Row(
            name="flip-both",
            factory="tpuens.data.transforms:mirror_both",
            summary="turned by half a circle",
        ),
    ),
)
"""What a model may be shown of an image to be predicted (test-time augmentation): `f(image) -> image`."""
