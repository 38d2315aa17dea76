"""`tpuens predict`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from ..quiet import import_tensorflow_quietly
from .options import DataDir, choose, resolve_data_dir, split_names


def predict(
    run: Annotated[Path, typer.Argument(help="The folder of a finished run.")],
    split: Annotated[str, typer.Option(help="train, validation or test.")] = "test",
    data_dir: DataDir = None,
    strategy: Annotated[str, typer.Option(help="As for `tpuens train`.")] = "auto",
    batch_size: Annotated[int, typer.Option(help="Examples on each replica.")] = 32,
    views: Annotated[
        str, typer.Option(help="Views to predict the mean over (default those of the run).")
    ] = "",
    output: Annotated[
        Path | None, typer.Option(help="The file to write (default in the run's folder).")
    ] = None,
) -> None:
    """Write a trained model's probabilities, with example ids, to a file."""
    import_tensorflow_quietly()
    from ..evaluation.metrics import score_predictions
    from ..evaluation.predictions import load_predictions
    from ..recipes.predict import predict_run
    from ..tables import print_scores

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(f"predicting the {split} part", total=None)
        path, examples = predict_run(
            run,
            split=choose("split", split, ("train", "validation", "test")),
            data_dir=resolve_data_dir(data_dir),
            strategy=strategy,
            batch_size=batch_size,
            views=split_names(views),
            output=output,
            on_progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    if examples.labels is not None:
        print_scores({split: score_predictions(load_predictions(path))})
    typer.echo(f"predictions of {len(examples)} examples: {path}")
