"""The table of recipes. Each has a module whose function returns what a preset of it does."""

from ..registry import Row, Table

RECIPES: Table[Row] = Table(
    "recipe",
    (
        Row(
            name="plant-pathology",
            factory="tpuens.recipes.plant_pathology:make_preset",
            summary="diseases of apple leaves (Plant Pathology 2020), an ensemble of four networks",
        ),
        Row(
            name="flowers",
            factory="tpuens.recipes.flowers:make_preset",
            summary="Flower Classification with TPUs, two networks and a searched weight",
        ),
        Row(
            name="cifar10",
            factory="tpuens.recipes.cifar10:make_preset",
            summary="CIFAR-10 with a small convolutional network, grey or in colour",
        ),
    ),
)
