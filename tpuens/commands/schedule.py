"""`tpuens schedule`: learning rates as a picture."""

from pathlib import Path
from typing import Annotated

import typer

from .options import choose, split_names


def schedule(
    names: Annotated[str, typer.Argument(help="Schedules, separated by commas: constant, cosine, kaggle, …")],
    output: Annotated[Path, typer.Option(help="The .svg or .png to write.")],
    epochs: Annotated[int, typer.Option(help="How many epochs to draw.")] = 40,
    steps_per_epoch: Annotated[int, typer.Option(help="Steps of each.")] = 100,
    learning_rate: Annotated[float, typer.Option(help="The peak.")] = 1e-4,
    start_learning_rate: Annotated[float, typer.Option(help="Where warm-up starts.")] = 1e-5,
    min_learning_rate: Annotated[float, typer.Option(help="What it falls to.")] = 1e-5,
    warmup_epochs: Annotated[float, typer.Option(help="How long it rises.")] = 5.0,
    sustain_epochs: Annotated[float, typer.Option(help="How long it stays at the peak.")] = 3.0,
    decay: Annotated[float, typer.Option(help="What kaggle leaves of the distance, each epoch.")] = 0.8,
    scale: Annotated[str, typer.Option(help="Multiply the peak: none, replicas, batch (over 256).")] = "none",
    replicas: Annotated[int, typer.Option(help="How many there are.")] = 1,
    global_batch_size: Annotated[int, typer.Option(help="Examples a step.")] = 256,
) -> None:
    """Draw learning-rate schedules over the epochs of a run."""
    from ..training.schedules import ScheduleConfig, draw_schedules

    shape = {
        "start_learning_rate": start_learning_rate,
        "min_learning_rate": min_learning_rate,
        "warmup_epochs": warmup_epochs,
        "sustain_epochs": sustain_epochs,
    }
    configs = {
        name: ScheduleConfig(
            name=name,
            learning_rate=learning_rate,
            decay=decay,
            scale=choose("scale", scale, ("none", "replicas", "batch")),
            **({} if name == "constant" else shape),
        )
        for name in split_names(names)
    }
    draw_schedules(
        configs,
        output,
        steps=epochs * steps_per_epoch,
        steps_per_epoch=steps_per_epoch,
        num_replicas=replicas,
        global_batch_size=global_batch_size,
    )
    typer.echo(f"schedules: {output}")
