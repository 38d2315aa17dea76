"""A preset of a recipe, with what the user wants otherwise."""

from dataclasses import dataclass, replace
from typing import Any, Literal

from ..errors import unknown_name_error
from ..models.backbones import BACKBONES
from .config import SplitConfig, TrainConfig
from .recipe import RecipeConfig
from .table import RECIPES

PRESETS = ("cpu-demo", "kaggle")


@dataclass(frozen=True, kw_only=True)
class RecipeOptions:
    """What is to differ from a preset; None leaves it as it is there.

    Attributes:
        data_dir: Where the data lies, or a gs:// URL; None looks in the usual places.
        strategy: A name in `STRATEGIES`.
        members: Names of the preset's members and spare members, or of other backbones, which are trained as
            its first member is.
        folds: Split the labelled examples in so many folds.
        run_folds: Which of them to train; empty for all.
        weights: Of all members: "imagenet", or "none" for a random start.
        image_size: Of all members.
        batch_size: Of all members, on each replica.
        epochs: Of the last phase, of all members.
        dtype_policy: Of all members.
        jit_compile: Of all members.
        views: Of all members.
        seed: Of splits, weights and shuffling.
        deterministic: See `TrainConfig`.
    """

    data_dir: str | None = None
    strategy: str = "auto"
    members: tuple[str, ...] | None = None
    folds: int | None = None
    run_folds: tuple[int, ...] | None = None
    weights: Literal["imagenet", "none"] | None = None
    image_size: int | None = None
    batch_size: int | None = None
    epochs: int | None = None
    dtype_policy: str | None = None
    jit_compile: bool | None = None
    views: tuple[str, ...] | None = None
    seed: int | None = None
    deterministic: bool = False


def make_recipe(name: str, preset: str, options: RecipeOptions | None = None) -> RecipeConfig:
    """Returns what a recipe does.

    Args:
        name: A name in `RECIPES`.
        preset: A name in `PRESETS`.
        options: What is to differ.

    Raises:
        ConfigurationError: A name is unknown.
    """
    options = options or RecipeOptions()
    row = RECIPES[name]
    if preset not in PRESETS:
        raise unknown_name_error("preset", "preset", preset, PRESETS)
    config: RecipeConfig = row.load()(preset)
    split = config.split
    if options.folds is not None:
        split = replace(split, kind="fold", folds=options.folds)
    if options.seed is not None:
        split = replace(split, seed=options.seed)
    run_folds = config.run_folds if options.run_folds is None else options.run_folds
    if options.run_folds is None and len(config.run_folds) == config.split.folds:
        run_folds = ()  # the preset runs all of them, however many there are
    if options.run_folds is not None and split.kind != "fold":
        split = replace(split, kind="fold", folds=SplitConfig().folds)
    members = {
        member: _adjust(found, options, number)
        for number, (member, found) in enumerate(_choose_members(config, options.members).items())
    }
    ensemble = config.ensemble
    if ensemble.search == "alpha" and len(members) != 2:  # the grid of two, by the same score
        ensemble = replace(ensemble, search="macro_f1")
    return replace(
        config,
        members=members,
        ensemble=ensemble,
        spare_members={},
        split=split,
        run_folds=run_folds or tuple(range(split.folds)),
    )


def _choose_members(config: RecipeConfig, names: tuple[str, ...] | None) -> dict[str, TrainConfig]:
    if names is None:
        return config.members
    first = next(iter(config.members.values()))
    known = config.members | config.spare_members
    chosen = {}
    for name in names:
        if name not in known and name not in BACKBONES:
            raise unknown_name_error("member", "members", name, {*known, *BACKBONES})
        chosen[name] = known.get(name) or replace(first, backbone=name)
    return chosen


def _adjust(member: TrainConfig, options: RecipeOptions, number: int) -> TrainConfig:
    changes: dict[str, Any] = {
        field: value
        for field in ("image_size", "batch_size", "dtype_policy", "jit_compile", "views")
        if (value := getattr(options, field)) is not None
    }
    if options.weights is not None:
        changes["weights"] = None if options.weights == "none" else options.weights
    if options.seed is not None:
        changes["seed"] = options.seed + number
    if options.epochs is not None:
        changes["phases"] = (*member.phases[:-1], replace(member.phases[-1], epochs=options.epochs))
    return replace(
        member,
        data_dir=options.data_dir,
        strategy=options.strategy,
        deterministic=options.deterministic,
        **changes,
    )
