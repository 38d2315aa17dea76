"""`tpuens sweep`."""

from pathlib import Path
from typing import Annotated

import typer

from ..quiet import import_tensorflow_quietly
from .options import parse_numbers


def sweep(
    run: Annotated[Path, typer.Argument(help="The folder of a run: its data, split, network and phases.")],
    field: Annotated[
        str, typer.Option(help="label_smoothing, focal_gamma, dropout, learning_rate or weight_decay.")
    ],
    values: Annotated[str, typer.Option(help="Separated by commas.")],
    output: Annotated[Path, typer.Option(help="The folder to write; the same call goes on.")],
    metric: Annotated[str, typer.Option(help="A score of the validation part to draw.")] = "log_loss",
    seeds: Annotated[int, typer.Option(help="Runs of each value, which give the interval.")] = 3,
) -> None:
    """Train a run again with other values of one field, and draw what they do."""
    import_tensorflow_quietly()
    from ..progress import TrainProgress
    from ..recipes.sweep import sweep_field
    from ..tables import print_sweep

    with TrainProgress() as progress:
        rows = sweep_field(
            run,
            field,
            parse_numbers(values, "Values"),
            output,
            metric=metric,
            seeds=seeds,
            observer=progress.observer,
        )
    print_sweep(field, metric, rows)
    typer.echo(f"chart: {output / 'sweep.png'}")
