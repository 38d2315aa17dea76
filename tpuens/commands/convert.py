"""`tpuens data convert`: any data set as TFRecords."""

from pathlib import Path
from typing import Annotated, Any

import typer

from ..quiet import import_tensorflow_quietly
from .options import DataDir


def convert(
    dataset: Annotated[str, typer.Argument(help="A name from `tpuens data list`.")],
    output: Annotated[Path, typer.Option(help="The folder to write to; the same call resumes.")],
    data_dir: DataDir = None,
    image_size: Annotated[
        int | None, typer.Option(help="Height and width to resize to (default: as they are).")
    ] = None,
    image_format: Annotated[
        str | None,
        typer.Option(
            "--format",
            help="jpeg, or png, which keeps every pixel; image files whose size stays are copied as they are "
            "(default: jpeg when resized, else png).",
        ),
    ] = None,
    quality: Annotated[int, typer.Option(help="JPEG quality, 1 to 100.")] = 95,
    shards: Annotated[int, typer.Option(help="Files of each split.")] = 16,
) -> None:
    """Write a data set as sharded, checksummed TFRecords that `--data flowers` reads."""
    import_tensorflow_quietly()
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from ..data.convert import convert_examples
    from ..data.datasets import load_splits
    from ..data.encode import Encoding

    chosen: Any = image_format  # what it may be is checked there
    encoding = Encoding(image_size=image_size, image_format=chosen, quality=quality)
    parts = list(load_splits(dataset, data_dir).values())
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("images", total=sum(map(len, parts)))
        conversion = convert_examples(
            parts,
            output,
            encoding=encoding,
            shards=shards,
            on_progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    kept = f", {conversion.shards_kept} of them kept" if conversion.shards_kept else ""
    total = conversion.shards_written + conversion.shards_kept
    typer.echo(f"{conversion.num_examples:,} images in {total} shards{kept}")
    typer.echo(f"records: {conversion.folder}")
