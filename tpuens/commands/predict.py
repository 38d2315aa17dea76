"""`tpuens predict`."""

from pathlib import Path
from typing import Annotated

import typer

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
    from ..recipes.predict import predict_run
    from ..tables import print_scores

    path, predictions = predict_run(
        run,
        split=choose("split", split, ("train", "validation", "test")),
        data_dir=resolve_data_dir(data_dir),
        strategy=strategy,
        batch_size=batch_size,
        views=split_names(views),
        output=output,
    )
    if predictions.labels is not None:
        print_scores({split: score_predictions(predictions)})
    typer.echo(f"predictions of {len(predictions)} examples: {path}")
