"""`tpuens fuse`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import ConfigurationError
from ..quiet import import_tensorflow_quietly
from .options import DataDir, StrategyName, list_given, parse_numbers, resolve_data_dir


def fuse(
    context: typer.Context,
    runs: Annotated[list[Path], typer.Argument(help="Folders of finished runs over one split.")],
    output: Annotated[Path, typer.Option(help="The folder to write.")],
    train: Annotated[
        str | None,
        typer.Option(
            help="weights: fit them on the validation part (default); all: then train the members too, on "
            "the training part; nothing: equal weights, or those given."
        ),
    ] = None,
    weights: Annotated[str | None, typer.Option(help="One a run, separated by commas.")] = None,
    epochs: Annotated[int, typer.Option(help="Passes over the training part, for all.")] = 3,
    learning_rate: Annotated[float, typer.Option(help="Of Adam, constant, for all.")] = 1e-4,
    batch_size: Annotated[int, typer.Option(help="Examples on each replica.")] = 32,
    strategy: StrategyName = "auto",
    data_dir: DataDir = None,
) -> None:
    """Join finished runs in one network, with a weight for each, and export it."""
    unheeded = [name for name in list_given(context) if name in ("--epochs", "--learning-rate")]
    if unheeded and train != "all":
        raise ConfigurationError(
            "Members are trained on with --train all alone: add it, or leave these out. "
            f"Received: {', '.join(unheeded)} with train={train!r}"
        )
    shares = None if weights is None else parse_numbers(weights, "Weights")
    import_tensorflow_quietly()
    from ..progress import TrainProgress
    from ..recipes.fuse import fuse_runs
    from ..tables import print_scores

    trained: Any = train  # checked where it is used
    with TrainProgress() as progress:
        summary = fuse_runs(
            runs,
            output,
            train=trained,
            weights=shares,
            epochs=epochs,
            learning_rate=learning_rate,
            batch_size=batch_size,
            strategy=strategy,
            data_dir=resolve_data_dir(data_dir),
            observer=progress.observer,
        )
    shown = ", ".join(f"{name} {weight:.4f}" for name, weight in summary.weights.items())
    typer.echo(f"weights: {shown} ({summary.origin})")
    print_scores(
        {f"{part}: {name}": one for part, rows in summary.scores.items() for name, one in rows.items()}
    )
    typer.echo(f"network: {summary.folder}")
