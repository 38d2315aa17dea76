"""Tables that the command line prints."""

from collections.abc import Iterable, Mapping, Sequence

from rich.console import Console
from rich.table import Table

from .data.datasets import Dataset
from .data.describe import DatasetDescription
from .evaluation.metrics import Scores


def print_datasets(rows: Iterable[Dataset]) -> None:
    """Prints the data sets that there are."""
    table = Table("name", "what", "classes", "images", "from")
    for row in rows:
        table.add_row(row.name, row.summary, row.classes, row.image_shape, row.source)
    Console().print(table)


def print_descriptions(descriptions: Sequence[DatasetDescription]) -> None:
    """Prints the splits of one data set: shapes, and the counts of each class."""
    console = Console()
    for one in descriptions:
        small, large = ("×".join(map(str, shape)) for shape in (one.smallest_image, one.largest_image))
        shapes = small if small == large else f"{small} to {large} in {one.num_images_read} looked at"
        balance = "" if one.imbalance is None else f", largest class {one.imbalance:.1f} × the smallest"
        console.print(
            f"{one.dataset} {one.split}: {one.num_examples:,} images, {shapes}, "
            f"{len(one.class_names)} classes{balance}",
            highlight=False,
        )
    table = Table("class", *(one.split for one in descriptions))
    for index, name in enumerate(descriptions[0].class_names):
        counts = (
            "unlabelled" if one.class_counts is None else f"{one.class_counts[index]:,}"
            for one in descriptions
        )
        table.add_row(name, *counts)
    console.print(table)


def print_scores(scores: Mapping[str, Scores]) -> None:
    """Prints scores, a row each."""
    table = Table("", "accuracy", "log loss", "macro F1", "macro ROC AUC", "calibration error")
    for name, row in scores.items():
        values = (
            row.top_1_accuracy,
            row.log_loss,
            row.macro_f1,
            row.macro_roc_auc,
            row.expected_calibration_error,
        )
        table.add_row(name, *("not defined" if value is None else f"{value:.4f}" for value in values))
    Console().print(table)
