"""`tpuens train`: one network, or a recipe."""

from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import ConfigurationError
from ..quiet import import_tensorflow_quietly
from ..recipes.table import RECIPES
from .options import DataDir, DtypePolicy, StrategyName, Views, choose, resolve_data_dir, split_names

if TYPE_CHECKING:
    from ..recipes.config import PhaseConfig

train_app = typer.Typer(
    invoke_without_command=True,
    rich_markup_mode=None,
    help="Train one network (options below), or a whole recipe (commands below).",
)

Output = Annotated[Path | None, typer.Option(help="The folder to write (default runs/…).")]
BatchSize = Annotated[int | None, typer.Option(help="Examples on each replica (default 32).")]
Seed = Annotated[int, typer.Option(help="Seed of weights, shuffling and augmentation.")]
Deterministic = Annotated[
    bool, typer.Option("--deterministic", help="The same result on the same machine, at some cost in speed.")
]


@train_app.callback()
def train(
    context: typer.Context,
    data: Annotated[str | None, typer.Option(help="A name from `tpuens data list`.")] = None,
    data_dir: DataDir = None,
    backbone: Annotated[
        str, typer.Option(help="A network, such as cifar_cnn or efficientnetb7.")
    ] = "cifar_cnn",
    weights: Annotated[
        str | None, typer.Option(help="'imagenet', or a weights file; none for a random start.")
    ] = None,
    head_blocks: Annotated[
        int, typer.Option(help="Blocks of the backbone that the head sees besides its end.")
    ] = 0,
    dropout: Annotated[float, typer.Option(help="Rate ahead of the head.")] = 0.2,
    image_size: Annotated[int | None, typer.Option(help="Height and width shown to the network.")] = None,
    colour: Annotated[str, typer.Option(help="rgb or grey.")] = "rgb",
    strategy: StrategyName = "auto",
    batch_size: BatchSize = None,
    global_batch_size: Annotated[int | None, typer.Option(help="The whole batch instead.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the training part (default 10).")] = None,
    freeze_epochs: Annotated[
        int, typer.Option(help="Epochs before those, in which only the head trains.")
    ] = 0,
    head_learning_rate: Annotated[float, typer.Option(help="Constant, of those epochs.")] = 1e-3,
    trainable: Annotated[
        str, typer.Option(help="all, head, or top:N: the head and the last N blocks of the backbone.")
    ] = "all",
    freeze_batch_norm: Annotated[
        bool, typer.Option("--freeze-batch-norm", help="Keep the backbone's batch normalisation as it came.")
    ] = False,
    optimizer: Annotated[str, typer.Option(help="adam, adamw or sgd.")] = "adam",
    weight_decay: Annotated[float | None, typer.Option(help="Of adamw.")] = None,
    schedule: Annotated[str, typer.Option(help="constant, warmup-linear, cosine or kaggle.")] = "constant",
    learning_rate: Annotated[float, typer.Option(help="The schedule's peak.")] = 1e-3,
    warmup_epochs: Annotated[float, typer.Option(help="Over which the rate rises to its peak.")] = 0.0,
    scale: Annotated[str, typer.Option(help="Multiply the peak: none, replicas, batch (over 256).")] = "none",
    patience: Annotated[
        int | None,
        typer.Option(help="Stop after so many epochs without a better validation loss; keep the best."),
    ] = None,
    loss: Annotated[
        str,
        typer.Option(
            help="sparse_categorical_crossentropy, categorical_crossentropy, categorical_focal or "
            "binary_crossentropy."
        ),
    ] = "sparse_categorical_crossentropy",
    label_smoothing: Annotated[float, typer.Option(help="The share of a target that is spread.")] = 0.0,
    focal_gamma: Annotated[float, typer.Option(help="Of the focal loss.")] = 2.0,
    focal_alpha: Annotated[float | None, typer.Option(help="Of the focal loss.")] = None,
    class_weights: Annotated[str, typer.Option(help="none or balanced.")] = "none",
    dtype_policy: DtypePolicy = "float32",
    jit: Annotated[bool, typer.Option("--jit/--no-jit", help="Compile the steps with XLA.")] = False,
    deterministic: Deterministic = False,
    augment: Annotated[str, typer.Option(help="Augmentations, separated by commas.")] = "",
    views: Views = "plain",
    cache: Annotated[
        bool, typer.Option(help="Keep decoded images in memory, if half of it holds them.")
    ] = True,
    split: Annotated[str, typer.Option(help="holdout, fold, shuffle, or given by the data set.")] = "holdout",
    validation_fraction: Annotated[float, typer.Option(help="Share held out, by holdout and shuffle.")] = 0.2,
    folds: Annotated[int, typer.Option(help="How many folds, or shuffles.")] = 5,
    fold: Annotated[int, typer.Option(help="Which of them is held out, from 0.")] = 0,
    split_seed: Annotated[int, typer.Option(help="Seed of the split; ensemble members share it.")] = 0,
    seed: Seed = 0,
    on_corrupt: Annotated[str, typer.Option(help="error, or skip and count.")] = "error",
    output: Output = None,
    resume: Annotated[
        Path | None,
        typer.Option(help="Go on with the run, or the recipe, in this folder, as it was configured."),
    ] = None,
) -> None:
    """Train a classifier and write its model, predictions and scores to a folder."""
    if context.invoked_subcommand is not None:
        return
    if resume is not None:
        _resume(resume, epochs)
        return
    if data is None:
        raise ConfigurationError(
            "Name a data set with --data; `tpuens data list` shows them. Or name a recipe: "
            f"{', '.join(RECIPES)}."
        )
    import_tensorflow_quietly()
    from ..recipes.config import PhaseConfig, SplitConfig, TrainConfig
    from ..training.losses import LossConfig
    from ..training.schedules import ScheduleConfig

    main_phase = PhaseConfig(
        name="fine-tune" if freeze_epochs else "train",
        epochs=10 if epochs is None else epochs,
        trainable=trainable,
        freeze_batch_norm=freeze_batch_norm,
        optimizer=optimizer,
        weight_decay=weight_decay,
        schedule=ScheduleConfig(
            name=schedule,
            learning_rate=learning_rate,
            warmup_epochs=warmup_epochs,
            scale=choose("scale", scale, ("none", "replicas", "batch")),
        ),
        patience=patience,
    )
    config = TrainConfig(
        dataset=data,
        data_dir=resolve_data_dir(data_dir),
        backbone=backbone,
        weights=weights,
        head_blocks=head_blocks,
        dropout=dropout,
        image_size=image_size,
        colour=choose("colour", colour, ("rgb", "grey")),
        strategy=strategy,
        batch_size=batch_size,
        global_batch_size=global_batch_size,
        phases=(*_head_phases(freeze_epochs, head_learning_rate), main_phase),
        loss=LossConfig(
            name=loss,
            label_smoothing=label_smoothing,
            focal_gamma=focal_gamma,
            focal_alpha=focal_alpha,
        ),
        class_weights=choose("class_weights", class_weights, ("none", "balanced")),
        dtype_policy=choose("dtype_policy", dtype_policy, ("float32", "mixed_bfloat16", "mixed_float16")),
        jit_compile=jit,
        deterministic=deterministic,
        augment=split_names(augment),
        views=split_names(views),
        cache=cache,
        split=SplitConfig(
            kind=choose("split", split, ("holdout", "fold", "shuffle", "given")),
            fraction=validation_fraction,
            folds=folds,
            fold=fold,
            seed=split_seed,
        ),
        seed=seed,
        on_corrupt=choose("on_corrupt", on_corrupt, ("error", "skip")),
    )
    from ..progress import TrainProgress
    from ..recipes import run

    with TrainProgress() as progress:
        summary = run.train(config, output or _default_output(data, backbone), observer=progress.observer)
    _print_run(summary)


def _head_phases(epochs: int, learning_rate: float) -> "tuple[PhaseConfig, ...]":
    from ..recipes.config import PhaseConfig
    from ..training.schedules import ScheduleConfig

    if not epochs:
        return ()
    schedule = ScheduleConfig(learning_rate=learning_rate)
    return (PhaseConfig(name="head", epochs=epochs, trainable="head", schedule=schedule),)


def _default_output(*names: str) -> Path:
    return Path("runs") / "-".join([*names, f"{datetime.now(timezone.utc):%Y%m%dT%H%M%S}"])


def _resume(folder: Path, epochs: int | None) -> None:
    import_tensorflow_quietly()
    from ..progress import TrainProgress
    from ..recipes import recipe, run

    with TrainProgress() as progress:
        if not recipe.is_recipe(folder):
            finished = run.resume(folder, observer=progress.observer, epochs=epochs)
        elif epochs is not None:
            raise ConfigurationError(
                "A recipe goes on as it was configured: leave --epochs out. "
                f"Received: epochs={epochs} for {folder}"
            )
        else:
            summary = recipe.resume_recipe(folder, observer=progress.observer)
    if recipe.is_recipe(folder):
        _print_recipe(summary)
    else:
        _print_run(finished)


def _print_run(summary: Any) -> None:
    from ..tables import print_scores

    print_scores(summary.scores)
    typer.echo(f"run: {summary.folder}")


def _print_recipe(summary: Any) -> None:
    from ..tables import print_described

    for part, described in summary.scores.items():
        print_described(described, part)
    if summary.submission is not None:
        typer.echo(f"submission: {summary.submission}")
    typer.echo(f"report: {summary.folder / 'report.md'}")


def _add_recipe(name: str, summary: str) -> None:
    """Adds the command of one recipe; they differ in nothing but their presets."""

    def run(
        preset: Annotated[str, typer.Option(help="cpu-demo or kaggle.")] = "cpu-demo",
        data_dir: DataDir = None,
        output: Output = None,
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
        batch_size: BatchSize = None,
        epochs: Annotated[int | None, typer.Option(help="Of the last phase, of all members.")] = None,
        dtype_policy: Annotated[
            str | None, typer.Option(help="float32, mixed_bfloat16, mixed_float16.")
        ] = None,
        jit: Annotated[bool | None, typer.Option("--jit/--no-jit", help="Compile with XLA.")] = None,
        views: Annotated[
            str | None, typer.Option(help="Test-time augmentation, as for `tpuens train`.")
        ] = None,
        seed: Annotated[int | None, typer.Option(help="Of splits, weights, shuffling.")] = None,
        deterministic: Deterministic = False,
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
            finished = run_recipe(config, output or _default_output(name, preset), observer=progress.observer)
        _print_recipe(finished)

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


for _name, _row in RECIPES.items():
    _add_recipe(_name, _row.summary)
