"""`tpuens train`: one network, or a recipe."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from ..errors import ConfigurationError
from ..quiet import import_tensorflow_quietly
from ..recipes.table import RECIPES
from . import train_options
from .options import (
    DataDir,
    DtypePolicy,
    StrategyName,
    Views,
    choose,
    list_given,
    resolve_data_dir,
    split_names,
)
from .train_recipe import add_recipe, default_output, print_recipe

if TYPE_CHECKING:
    from ..recipes.config import PhaseConfig, TrainConfig
    from ..training.schedules import ScheduleConfig

train_app = typer.Typer(
    invoke_without_command=True,
    rich_markup_mode=None,
    help="Train one network (options below), or a whole recipe (commands below).",
)


@train_app.callback()
def train(
    context: typer.Context,
    data: train_options.Data = None,
    data_dir: DataDir = None,
    backbone: train_options.Backbone = "cifar_cnn",
    weights: train_options.Weights = None,
    head_blocks: train_options.HeadBlocks = 0,
    dropout: train_options.Dropout = 0.2,
    image_size: train_options.ImageSize = None,
    colour: train_options.Colour = "rgb",
    strategy: StrategyName = "auto",
    batch_size: train_options.BatchSize = None,
    global_batch_size: train_options.GlobalBatchSize = None,
    epochs: train_options.Epochs = None,
    freeze_epochs: train_options.FreezeEpochs = 0,
    head_learning_rate: train_options.HeadLearningRate = 1e-3,
    trainable: train_options.Trainable = "all",
    freeze_batch_norm: train_options.FreezeBatchNorm = False,
    optimizer: train_options.Optimizer = "adam",
    weight_decay: train_options.WeightDecay = None,
    schedule: train_options.Schedule = "constant",
    learning_rate: train_options.LearningRate = 1e-3,
    warmup_epochs: train_options.WarmupEpochs = 0.0,
    scale: train_options.Scale = "none",
    patience: train_options.Patience = None,
    loss: train_options.Loss = "sparse_categorical_crossentropy",
    label_smoothing: train_options.LabelSmoothing = 0.0,
    focal_gamma: train_options.FocalGamma = 2.0,
    focal_alpha: train_options.FocalAlpha = None,
    class_weights: train_options.ClassWeights = "none",
    dtype_policy: DtypePolicy = "float32",
    jit: train_options.Jit = False,
    steps_per_execution: train_options.StepsPerExecution = 1,
    deterministic: train_options.Deterministic = False,
    augment: train_options.Augment = "",
    views: Views = "plain",
    cache: train_options.Cache = "memory",
    split: train_options.Split = "holdout",
    validation_fraction: train_options.ValidationFraction = 0.2,
    folds: train_options.Folds = 5,
    fold: train_options.Fold = 0,
    split_seed: train_options.SplitSeed = 0,
    seed: train_options.Seed = 0,
    on_corrupt: train_options.OnCorrupt = "error",
    output: train_options.Output = None,
    resume: train_options.Resume = None,
) -> None:
    """Train a classifier and write its model, predictions and scores to a folder."""
    _refuse_unheeded(context)
    if context.invoked_subcommand is not None:
        return
    _refuse_without(context, split, loss, freeze_epochs)
    if resume is not None:
        _resume(resume, epochs, resolve_data_dir(data_dir))
        return
    if data is None:
        raise ConfigurationError(
            "Name a data set with --data; `tpuens data list` shows them. Or name a recipe: "
            f"{', '.join(RECIPES)}."
        )
    import_tensorflow_quietly()
    from ..recipes.config import PhaseConfig, SplitConfig, TrainConfig
    from ..training.losses import LossConfig

    main_phase = PhaseConfig(
        name="fine-tune" if freeze_epochs else "train",
        epochs=10 if epochs is None else epochs,
        trainable=trainable,
        freeze_batch_norm=freeze_batch_norm,
        optimizer=optimizer,
        weight_decay=weight_decay,
        schedule=_make_schedule(schedule, learning_rate, warmup_epochs, scale),
        patience=patience,
    )
    config = TrainConfig(
        dataset=data,
        data_dir=resolve_data_dir(data_dir),
        backbone=backbone,
        weights=_resolve_weights(weights),
        head_blocks=head_blocks,
        dropout=dropout,
        image_size=image_size,
        colour=choose("colour", colour, ("rgb", "grey")),
        strategy=strategy,
        batch_size=batch_size,
        global_batch_size=global_batch_size,
        phases=(*_head_phases(freeze_epochs, head_learning_rate), main_phase),
        loss=LossConfig(
            name=loss, label_smoothing=label_smoothing, focal_gamma=focal_gamma, focal_alpha=focal_alpha
        ),
        class_weights=choose("class_weights", class_weights, ("none", "balanced")),
        dtype_policy=choose("dtype_policy", dtype_policy, ("float32", "mixed_bfloat16", "mixed_float16")),
        jit_compile=jit,
        steps_per_execution=steps_per_execution,
        deterministic=deterministic,
        augment=split_names(augment),
        views=split_names(views),
        cache=choose("cache", cache, ("none", "memory", "disk")),
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
    _train_one(config, output or default_output(data, backbone))


def _refuse_unheeded(context: typer.Context) -> None:
    """Refuses options that a recipe, or the run that is gone on with, would not heed."""
    if context.invoked_subcommand is not None:
        if given := list_given(context):
            raise ConfigurationError(
                "The options of a recipe stand after its name. "
                f"Received: {', '.join(given)} before {context.invoked_subcommand}"
            )
    elif context.params["resume"] is not None and (
        given := list_given(context, "resume", "epochs", "data_dir")
    ):
        raise ConfigurationError(
            "A run goes on as it was configured: beside --resume give --epochs and --data-dir at the most. "
            f"Received: {', '.join(given)}"
        )


def _resolve_weights(weights: str | None) -> str | None:
    """Returns a file of weights as one that stays the same when the current folder changes."""
    if weights is None or weights == "none":
        return None
    return str(Path(weights).expanduser().absolute()) if weights.endswith((".h5", ".keras")) else weights


def _refuse_without(context: typer.Context, split: str, loss: str, freeze_epochs: int) -> None:
    """Refuses options that only something else that was not asked for would heed."""
    heeded = {
        "fold": (split in ("fold", "shuffle"), "--split fold or shuffle"),
        "folds": (split in ("fold", "shuffle"), "--split fold or shuffle"),
        "validation_fraction": (split in ("holdout", "shuffle"), "--split holdout or shuffle"),
        "head_learning_rate": (freeze_epochs > 0, "--freeze-epochs"),
        "focal_gamma": ("focal" in loss, "--loss categorical_focal"),
        "focal_alpha": ("focal" in loss, "--loss categorical_focal"),
    }
    given = list_given(context)
    for name, (is_heeded, needs) in heeded.items():
        option = f"--{name.replace('_', '-')}"
        if option in given and not is_heeded:
            raise ConfigurationError(f"{option} means something with {needs} alone. Received: {option}")


def _make_schedule(name: str, learning_rate: float, warmup_epochs: float, scale: str) -> "ScheduleConfig":
    from ..training.schedules import ScheduleConfig

    return ScheduleConfig(
        name=name,
        learning_rate=learning_rate,
        warmup_epochs=warmup_epochs,
        scale=choose("scale", scale, ("none", "replicas", "batch")),
    )


def _head_phases(epochs: int, learning_rate: float) -> "tuple[PhaseConfig, ...]":
    from ..recipes.config import PhaseConfig
    from ..training.schedules import ScheduleConfig

    if not epochs:
        return ()
    schedule = ScheduleConfig(learning_rate=learning_rate)
    return (PhaseConfig(name="head", epochs=epochs, trainable="head", schedule=schedule),)


def _train_one(config: "TrainConfig", output: Path) -> None:
    from ..progress import TrainProgress
    from ..recipes import run

    with TrainProgress() as progress:
        summary = run.train(config, output, observer=progress.observer)
    _print_run(summary)


def _resume(folder: Path, epochs: int | None, data_dir: str | None) -> None:
    import_tensorflow_quietly()
    from ..progress import TrainProgress
    from ..recipes import recipe, run

    with TrainProgress() as progress:
        if not recipe.is_recipe(folder):
            finished = run.resume(folder, observer=progress.observer, epochs=epochs, data_dir=data_dir)
        elif epochs is not None:
            raise ConfigurationError(
                "A recipe goes on as it was configured: leave --epochs out. "
                f"Received: epochs={epochs} for {folder}"
            )
        else:
            summary = recipe.resume_recipe(folder, observer=progress.observer, data_dir=data_dir)
    if recipe.is_recipe(folder):
        print_recipe(summary)
    else:
        _print_run(finished)


def _print_run(summary: Any) -> None:
    from ..tables import print_scores

    print_scores(summary.scores)
    typer.echo(f"run: {summary.folder}")


for _name, _row in RECIPES.items():
    add_recipe(train_app, _name, _row.summary)
