"""`tpuens train RECIPE`: a command for each recipe, which differ in nothing but their presets."""

from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import ConfigurationError
from ..quiet import import_tensorflow_quietly
from . import train_options
from .options import DataDir, StrategyName, choose, resolve_data_dir, split_names


def default_output(*names: str) -> Path:
    """Returns a new folder for a run of these names."""
    return Path("runs") / "-".join([*names, f"{datetime.now(timezone.utc):%Y%m%dT%H%M%S}"])


def print_recipe(summary: Any) -> None:
    """Prints the scores of a recipe and where its files lie."""
    from ..tables import print_described

    for part, described in summary.scores.items():
        print_described(described, part)
    if summary.submission is not None:
        typer.echo(f"submission: {summary.submission}")
    typer.echo(f"report: {summary.folder / 'report.md'}")


def add_recipe(train_app: typer.Typer, name: str, summary: str) -> None:
    """Adds the command of one recipe; they differ in nothing but their presets."""

    def run(
        preset: Annotated[str, typer.Option(help="cpu-demo or kaggle.")] = "cpu-demo",
        data_dir: DataDir = None,
        output: train_options.Output = None,
        strategy: StrategyName = "auto",
        members: Annotated[
            str | None,
            typer.Option(help="Names of the preset's members, or of other backbones, separated by commas."),
        ] = None,
        folds: Annotated[int | None, typer.Option(help="Split the labelled examples in so many.")] = None,
        fold: Annotated[
            str | None, typer.Option(help="Folds to train, from 0, separated by commas; or all.")
        ] = None,
        weights: Annotated[
            str | None, typer.Option(help="imagenet, or none for a random start, of all members.")
        ] = None,
        image_size: Annotated[int | None, typer.Option(help="Height and width, of all members.")] = None,
        batch_size: train_options.BatchSize = None,
        epochs: Annotated[int | None, typer.Option(help="Of the last phase, of all members.")] = None,
        dtype_policy: Annotated[
            str | None, typer.Option(help="float32, mixed_bfloat16, mixed_float16.")
        ] = None,
        jit: Annotated[bool | None, typer.Option("--jit/--no-jit", help="Compile with XLA.")] = None,
        views: Annotated[
            str | None, typer.Option(help="Test-time augmentation, as for `tpuens train`.")
        ] = None,
        seed: Annotated[int | None, typer.Option(help="Of splits, weights, shuffling.")] = None,
        deterministic: train_options.Deterministic = False,
    ) -> None:
        import_tensorflow_quietly()
        from ..progress import TrainProgress
        from ..recipes.options import RecipeOptions, make_recipe
        from ..recipes.recipe import run_recipe

        options = RecipeOptions(
            data_dir=resolve_data_dir(data_dir),
            strategy=strategy,
            members=None if members is None else split_names(members),
            folds=folds,
            run_folds=_parse_folds(fold),
            weights=None if weights is None else choose("weights", weights, ("imagenet", "none")),
            image_size=image_size,
            batch_size=batch_size,
            epochs=epochs,
            dtype_policy=dtype_policy,
            jit_compile=jit,
            views=None if views is None else split_names(views),
            seed=seed,
            deterministic=deterministic,
        )
        config = make_recipe(name, preset, options)
        with TrainProgress() as progress:
            finished = run_recipe(config, output or default_output(name, preset), observer=progress.observer)
        print_recipe(finished)

    run.__doc__ = f"Run the recipe: {summary}."
    command: Callable[[Any], Any] = train_app.command(name)
    command(run)


def _parse_folds(text: str | None) -> "tuple[int, ...] | None":
    """Returns the numbers of folds; empty for all of them, None where nothing was said."""
    if text is None:
        return None
    if text == "all":
        return ()
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise ConfigurationError(
            f"Folds are numbers separated by commas, or all. Received: fold={text!r}"
        ) from None
