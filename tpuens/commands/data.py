"""`tpuens data`: list, show, convert and verify data sets, and look at augmentations."""

from pathlib import Path
from typing import Annotated

import typer

from .convert import convert
from .options import DataDir, split_names

data_app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="List, show, convert and verify data sets."
)
data_app.command("convert")(convert)

Name = Annotated[str, typer.Argument(help="A name from `tpuens data list`.")]


@data_app.command("list")
def list_data() -> None:
    """List the data sets by name."""
    from ..data.datasets import DATASETS
    from ..tables import print_datasets

    print_datasets(DATASETS.values())


@data_app.command("show")
def show_data(
    name: Name,
    data_dir: DataDir = None,
    contact_sheet: Annotated[
        Path | None, typer.Option(help="Write a sheet of sample images to this PNG.")
    ] = None,
) -> None:
    """Show a data set's counts, classes, shapes and balance, and draw a contact sheet."""
    from ..data.datasets import load_splits
    from ..data.describe import describe_examples, draw_contact_sheet
    from ..tables import print_descriptions

    parts = load_splits(name, data_dir)
    print_descriptions([describe_examples(examples) for examples in parts.values()])
    if contact_sheet is not None:
        draw_contact_sheet(parts["train"], contact_sheet)
        typer.echo(f"contact sheet: {contact_sheet}")


@data_app.command("verify")
def verify_data(
    folder: Annotated[Path, typer.Argument(help="A folder that `tpuens data convert` wrote.")],
) -> None:
    """Hold every shard of converted records against its checksum."""
    from ..data.checksums import verify_records

    typer.echo(f"{verify_records(folder)} shards are as they were written: {folder}")


@data_app.command("augment")
def augment_data(
    name: Name,
    output: Annotated[Path, typer.Option(help="The PNG to write.")],
    data_dir: DataDir = None,
    augment: Annotated[str, typer.Option(help="Augmentations, separated by commas (default all).")] = "",
    image_size: Annotated[int | None, typer.Option(help="Height and width shown to the network.")] = None,
    seed: Annotated[int, typer.Option(help="Of the images and of the augmentations.")] = 0,
) -> None:
    """Draw what augmentations make of some images, a row each."""
    from ..data.augment_sheet import draw_augmentations
    from ..data.datasets import DATASETS, load_examples
    from ..quiet import import_tensorflow_quietly

    import_tensorflow_quietly()
    size = image_size or DATASETS[name].default_image_size
    examples = load_examples(name, "train", data_dir)
    draw_augmentations(examples, split_names(augment) or None, output, image_shape=(size, size, 3), seed=seed)
    typer.echo(f"augmentations: {output}")
