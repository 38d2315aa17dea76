"""The table of augmentations. What they do is in `tpuens.data.transforms`, so that listing them is quick."""

from ..registry import Row, Table

AUGMENTATIONS: Table[Row] = Table(
    "augmentation",
    (
        Row(
            name="flip-horizontal",
            factory="tpuens.data.transforms:flip_horizontal",
            summary="left and right swapped, every second time",
        ),
        Row(
            name="flip-vertical",
            factory="tpuens.data.transforms:flip_vertical",
            summary="top and bottom swapped, every second time",
        ),
        Row(
            name="brightness",
            factory="tpuens.data.transforms:brightness",
            summary="brighter or darker by up to 10 % of the full range",
        ),
        Row(
            name="contrast",
            factory="tpuens.data.transforms:contrast",
            summary="contrast between 80 % and 120 %",
        ),
        Row(
            name="shift",
            factory="tpuens.data.transforms:shift",
            summary="moved by up to 10 % each way, the edge mirrored",
        ),
    ),
)
