"""The command line of the core: a thin layer over the Python API.

Nothing heavy is imported until a command needs it, so that --help answers at once.
"""

import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated, Any

import typer

from .errors import ConfigurationError, TpuensError
from .quiet import import_tensorflow_quietly

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Train and ensemble Keras image classifiers on CPU, GPU and TPU.",
)
data_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="List and show data sets.")
app.add_typer(data_app, name="data")

DataDir = Annotated[
    Path | None, typer.Option(help="Folder of the data set's files; embedded data needs none.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def main() -> None:
    """Runs the command line; a TpuensError becomes one message on standard error and an exit code."""
    run_app(app)


def run_app(application: Callable[[], Any]) -> None:
    """Runs a typer application the way this project's commands end: message, no traceback, exit code."""
    try:
        application()
    except TpuensError as error:
        print(f"Error: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)  # noqa: T201
        sys.exit(130)


@app.command()
def devices(as_json: Json = False) -> None:
    """Show what this machine has, and which strategies can run on it."""
    from rich.console import Console

    from .hardware.devices import collect_devices
    from .hardware.show import format_devices
    from .hardware.strategies import list_strategies

    import_tensorflow_quietly()
    report, strategies = collect_devices(), list_strategies()
    if as_json:
        typer.echo(json.dumps(asdict(report) | {"strategies": strategies}, indent=1))
    else:
        Console().print(format_devices(report, strategies))


@data_app.command("list")
def list_data() -> None:
    """List the data sets by name."""
    from .data.datasets import DATASETS
    from .tables import print_datasets

    print_datasets(DATASETS.values())


@data_app.command("show")
def show_data(
    name: Annotated[str, typer.Argument(help="A name from `tpuens data list`.")],
    data_dir: DataDir = None,
    contact_sheet: Annotated[
        Path | None, typer.Option(help="Write a sheet of sample images to this PNG.")
    ] = None,
) -> None:
    """Show a data set's counts, classes, shapes and balance, and draw a contact sheet."""
    from .data.datasets import SPLITS, load_examples
    from .data.describe import describe_examples, draw_contact_sheet
    from .tables import print_descriptions

    parts = {split: load_examples(name, split, data_dir) for split in SPLITS}
    print_descriptions([describe_examples(examples) for examples in parts.values()])
    if contact_sheet is not None:
        draw_contact_sheet(parts["train"], contact_sheet)
        typer.echo(f"contact sheet: {contact_sheet}")


@app.command()
def train(
    data: Annotated[str | None, typer.Option(help="A name from `tpuens data list`.")] = None,
    data_dir: DataDir = None,
    backbone: Annotated[
        str, typer.Option(help="A network, such as cifar_cnn or efficientnetb7.")
    ] = "cifar_cnn",
    weights: Annotated[
        str | None, typer.Option(help="'imagenet', or a weights file; none for a random start.")
    ] = None,
    image_size: Annotated[int | None, typer.Option(help="Height and width shown to the network.")] = None,
    colour: Annotated[str, typer.Option(help="rgb or grey.")] = "rgb",
    strategy: Annotated[
        str, typer.Option(help="auto, cpu, cpu-mirrored:N, gpu[:K], gpu-mirrored, tpu[:NAME], multi-worker.")
    ] = "auto",
    batch_size: Annotated[int | None, typer.Option(help="Examples on each replica (default 32).")] = None,
    global_batch_size: Annotated[int | None, typer.Option(help="The whole batch instead.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the training part (default 10).")] = None,
    optimizer: Annotated[str, typer.Option(help="adam, adamw or sgd.")] = "adam",
    learning_rate: Annotated[float, typer.Option(help="Constant learning rate.")] = 1e-3,
    dtype_policy: Annotated[str, typer.Option(help="float32, mixed_bfloat16 or mixed_float16.")] = "float32",
    jit: Annotated[bool, typer.Option("--jit/--no-jit", help="Compile the steps with XLA.")] = False,
    augment: Annotated[str, typer.Option(help="Augmentations, separated by commas.")] = "",
    cache: Annotated[
        bool, typer.Option(help="Keep decoded images in memory, if half of it holds them.")
    ] = True,
    validation_fraction: Annotated[float, typer.Option(help="Share held out of the training part.")] = 0.2,
    split_seed: Annotated[int, typer.Option(help="Seed of that split; ensemble members share it.")] = 0,
    seed: Annotated[int, typer.Option(help="Seed of weights, shuffling and augmentation.")] = 0,
    on_corrupt: Annotated[str, typer.Option(help="error, or skip and count.")] = "error",
    output: Annotated[Path | None, typer.Option(help="The run's folder (default runs/…).")] = None,
    resume: Annotated[
        Path | None, typer.Option(help="Go on with the run in this folder, as it was configured.")
    ] = None,
) -> None:
    """Train a classifier and write its model, predictions and scores to a folder."""
    import_tensorflow_quietly()
    from .progress import TrainProgress
    from .recipes import run
    from .tables import print_scores

    with TrainProgress() as progress:
        if resume is not None:
            summary = run.resume(resume, observer=progress.observer, epochs=epochs)
        else:
            if data is None:
                raise ConfigurationError("Name a data set with --data; `tpuens data list` shows them.")
            config = run.TrainConfig(
                dataset=data,
                data_dir=None if data_dir is None else str(data_dir.resolve()),
                backbone=backbone,
                weights=weights,
                image_size=image_size,
                colour=_choice("colour", colour, ("rgb", "grey")),
                strategy=strategy,
                batch_size=batch_size,
                global_batch_size=global_batch_size,
                epochs=10 if epochs is None else epochs,
                optimizer=optimizer,
                learning_rate=learning_rate,
                dtype_policy=_choice(
                    "dtype_policy", dtype_policy, ("float32", "mixed_bfloat16", "mixed_float16")
                ),
                jit_compile=jit,
                augment=tuple(name for name in augment.split(",") if name),
                cache=cache,
                validation_fraction=validation_fraction,
                split_seed=split_seed,
                seed=seed,
                on_corrupt=_choice("on_corrupt", on_corrupt, ("error", "skip")),
            )
            name = f"{data}-{backbone}-{datetime.now(timezone.utc):%Y%m%dT%H%M%S}"
            summary = run.train(config, output or Path("runs") / name, observer=progress.observer)
    print_scores(summary.scores)
    typer.echo(f"run: {summary.folder}")


@app.command()
def predict(
    run: Annotated[Path, typer.Argument(help="The folder of a finished run.")],
    split: Annotated[str, typer.Option(help="train, validation or test.")] = "test",
    data_dir: DataDir = None,
    strategy: Annotated[str, typer.Option(help="As for `tpuens train`.")] = "auto",
    batch_size: Annotated[int, typer.Option(help="Examples on each replica.")] = 32,
    output: Annotated[
        Path | None, typer.Option(help="The file to write (default in the run's folder).")
    ] = None,
) -> None:
    """Write a trained model's probabilities, with example ids, to a file."""
    import_tensorflow_quietly()
    from .evaluation.metrics import score_predictions
    from .recipes.predict import predict_run
    from .tables import print_scores

    path, predictions = predict_run(
        run,
        split=_choice("split", split, ("train", "validation", "test")),
        data_dir=None if data_dir is None else str(data_dir.resolve()),
        strategy=strategy,
        batch_size=batch_size,
        output=output,
    )
    if predictions.labels is not None:
        print_scores({split: score_predictions(predictions)})
    typer.echo(f"predictions of {len(predictions)} examples: {path}")


@app.command()
def ensemble(
    members: Annotated[list[Path], typer.Argument(help="Prediction files, or folders of runs.")],
    weights: Annotated[
        str | None, typer.Option(help="One a member, separated by commas; equal when not given.")
    ] = None,
    split: Annotated[str, typer.Option(help="Which predictions of a run's folder.")] = "test",
    output: Annotated[Path | None, typer.Option(help="Write the ensemble's predictions here.")] = None,
    as_json: Json = False,
) -> None:
    """Combine predictions and score every member and the ensemble."""
    from .ensembling.combine import combine_predictions
    from .evaluation.metrics import score_predictions
    from .evaluation.predictions import load_predictions, save_predictions
    from .recipes.run_folder import RunFolder
    from .tables import print_scores

    files = [RunFolder(path).predictions(split) if path.is_dir() else path for path in members]
    loaded = [load_predictions(file) for file in files]
    combined = combine_predictions(loaded, None if weights is None else _parse_weights(weights))
    if output is not None:
        save_predictions(output, combined)
    if combined.labels is None:
        typer.echo(f"combined {len(loaded)} members over {len(combined)} unlabelled examples")
    else:
        labelled = [m for m in loaded if m.labels is not None]
        scores = {f"{i}: {m.source}": score_predictions(m) for i, m in enumerate(labelled, 1)}
        scores["ensemble"] = score_predictions(combined)
        if as_json:
            typer.echo(json.dumps({name: s.as_dict() for name, s in scores.items()}, indent=1))
        else:
            print_scores(scores)
    if output is not None:
        typer.echo(f"predictions: {output}", err=as_json)


def _choice(field: str, value: str, expected: tuple[str, ...]) -> Any:
    if value not in expected:
        raise ConfigurationError(f"Expected one of: {', '.join(expected)}. Received: {field}={value!r}")
    return value


def _parse_weights(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise ConfigurationError(
            f"Weights are numbers separated by commas, such as 0.3,0.7. Received: {text!r}"
        ) from None
