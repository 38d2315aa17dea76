"""Tables that the command line prints."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from .data.datasets import Dataset
from .data.describe import DatasetDescription
from .ensembling.describe import format_basis
from .evaluation.metrics import Scores

_SCORES = {
    "top_1_accuracy": "accuracy",
    "log_loss": "log loss",
    "macro_f1": "macro F1",
    "macro_roc_auc": "ROC AUC",
    "expected_calibration_error": "ECE",
}


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
        balance += ", any number of classes an image" if one.is_multi_label else ""
        balance += f", {one.num_duplicates} exact duplicates" if one.num_duplicates else ""
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
    table = Table("", *_SCORES.values())
    for name, row in scores.items():
        table.add_row(name, *(_format(getattr(row, column)) for column in _SCORES))
    Console().print(table)


def print_described(described: Mapping[str, Mapping[str, Any]], title: str = "") -> None:
    """Prints an evaluated ensemble and its members, and what the scores rest on.

    Args:
        described: From `describe_evaluation`.
        title: Stands above the names.
    """
    whole = described["ensemble"]
    scored = list(_SCORES) if any("log_loss" in row for row in described.values()) else []
    heads = [_SCORES[name] for name in scored]
    table = Table(title, *heads[:1], *(["95 %"] if scored else []), *heads[1:])
    for name, row in described.items():
        cells = [_format(row.get(column)) for column in scored]
        if scored:
            bounds = row.get("accuracy_interval")
            cells.insert(1, "–".join(f"{bound:.3f}" for bound in bounds) if bounds else "not defined")
        table.add_row(name, *cells)
    console = Console()
    console.print(table)
    lines = format_basis(whole)
    for kind in ("weight", "temperature"):
        fitted = {name: row[kind] for name, row in described.items() if kind in row}
        if fitted:
            lines.append(f"{kind}s: " + ", ".join(f"{name} {value:.3f}" for name, value in fitted.items()))
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def print_sweep(field: str, metric: str, rows: Sequence[Mapping[str, float]]) -> None:
    """Prints what a sweep found, a row a value."""
    table = Table(field, metric, "95 %")
    for row in rows:
        low, high = row.get(f"{metric}_low"), row.get(f"{metric}_high")
        interval = "one seed" if low is None else f"{low:.4f} to {high:.4f}"
        table.add_row(f"{row[field]:g}", f"{row[metric]:.4f}", interval)
    Console().print(table)


def _format(value: float | None) -> str:
    return "not defined" if value is None else f"{value:.4f}"
