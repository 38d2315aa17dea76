"""Pictures of a run as PNG: how it learnt, what it confuses, what it says of sixteen images, a sweep."""

from collections.abc import Mapping, Sequence
from math import ceil, sqrt
from pathlib import Path
from typing import Any

import numpy as np

from ..data.examples import Examples
from ..errors import ConfigurationError, DataError
from .drawing import drawing, shorten
from .metrics import confusion_matrix

# Okabe & Ito, Color Universal Design (2008).
_TRAIN, _VALIDATION, _RATE = "#0072B2", "#D55E00", "#009E73"
_RIGHT, _WRONG, _UNKNOWN = "#1A7F37", "#C62828", "#202020"

_COUNTED_CLASSES = 25  # with more, counts would be too small to read: colour alone tells
_NAMED_CLASSES = 110  # with more, a picture on which names can be read takes gigabytes to draw


def draw_history(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Writes a PNG of loss and accuracy against epochs, of the training and the validation part.

    Args:
        rows: A run's history, a row an epoch, as `RunFolder.read_history` gives it: ``epoch`` (from 0),
            ``loss``, ``accuracy``, ``validation_log_loss``, ``validation_top_1_accuracy``; where there are
            any, ``phase`` marks where another phase begins, and ``learning_rate`` is drawn below.
        path: The file to write.

    Raises:
        DataError: There are no rows, or the file cannot be written.
    """
    from matplotlib.ticker import MaxNLocator

    panels = [
        (
            "Loss",
            {"training": ("loss", _TRAIN, "-"), "validation": ("validation_log_loss", _VALIDATION, "--")},
        ),
        (
            "Accuracy",
            {
                "training": ("accuracy", _TRAIN, "-"),
                "validation": ("validation_top_1_accuracy", _VALIDATION, "--"),
            },
        ),
        ("Learning rate", {"": ("learning_rate", _RATE, "-")}),
    ]
    drawn = [panel for panel in panels if any(_column(rows, name).size for name, _, _ in panel[1].values())]
    if not drawn:
        raise DataError(f"A history has one epoch or more. Received: {len(rows)} rows for {path}")
    epochs = np.array([int(row["epoch"]) + 1 for row in rows])
    with drawing(path, width=7.5, height=0.7 + 2.3 * len(drawn)) as figure:
        every_axes = np.atleast_1d(figure.subplots(len(drawn), sharex=True))
        for axes, (title, lines) in zip(every_axes, drawn, strict=True):
            for label, (name, colour, dashes) in lines.items():
                values = _column(rows, name)
                if values.size:
                    axes.plot(epochs, values, dashes, color=colour, marker="o", markersize=3.5, label=label)
            axes.set_title(title)
            axes.grid(axis="y", alpha=0.3)
            if len(lines) > 1:
                axes.legend(loc="best")
        _mark_phases(every_axes, rows, epochs)
        every_axes[-1].set_xlabel("epoch")
        every_axes[-1].set_xlim(epochs[0] - 0.5, epochs[-1] + 0.5)
        every_axes[-1].xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


def draw_confusion_matrix(
    labels: np.ndarray, probabilities: np.ndarray, class_names: Sequence[str], path: Path
) -> None:
    """Writes a PNG of how often each class (rows) was taken for each class (columns).

    Colour is the share of the row's examples; up to 25 classes the counts stand in the cells, up to 110 the
    names beside them, and beyond that the numbers of some classes.

    Args:
        labels: (n,) int of 0 … classes-1.
        probabilities: (n, classes); the most probable class is what was predicted.
        class_names: One name a class.
        path: The file to write.

    Raises:
        DataError: The file cannot be written.
    """
    from matplotlib.colors import PowerNorm

    classes = len(class_names)
    counts = confusion_matrix(labels, probabilities)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    has_counts = classes <= _COUNTED_CLASSES
    has_names = classes <= _NAMED_CLASSES
    font = 9 if has_counts else 7
    names = [shorten(name) for name in class_names] if has_names else [str(classes)]
    side = max(3.0, min(classes, _NAMED_CLASSES) * (0.42 if has_counts else 0.145))
    beside = max(len(name) for name in names) * font * 0.0092 + 0.9
    with drawing(path, width=side + beside + 1.1, height=side + beside) as figure:
        axes = figure.subplots()
        # The square root lets a single mistake among many cells be seen where no count says it.
        image = axes.imshow(shares, cmap="Blues", norm=PowerNorm(1 if has_counts else 0.5, 0, 1))
        if has_names:
            upright = max(map(len, names)) < 4
            axes.set_xticks(range(classes), names, rotation=0 if upright else 90, fontsize=font)
            axes.set_yticks(range(classes), names, fontsize=font)
            axes.set_xticks(np.arange(classes + 1) - 0.5, minor=True)
            axes.set_yticks(np.arange(classes + 1) - 0.5, minor=True)
            axes.grid(which="minor", color="#E0E0E0", linewidth=0.4)
            axes.tick_params(which="minor", length=0)
        axes.spines[:].set_visible(False)
        axes.set_xlabel("predicted")
        axes.set_ylabel("truth")
        axes.set_title(f"{counts.trace() / len(labels):.1%} of {len(labels):,} right")
        if has_counts:
            for row, column in np.argwhere(counts).tolist():
                ink = "white" if shares[row, column] > 0.55 else "black"
                text = f"{counts[row, column]}"
                size = min(font, 26 / len(text))
                axes.text(column, row, text, ha="center", va="center", color=ink, fontsize=size)
        bar = figure.colorbar(image, ax=axes, shrink=min(1.0, 3 / side), aspect=14, pad=0.02)
        bar.set_label("share of the row")


def draw_prediction_grid(
    examples: Examples, probabilities: np.ndarray, path: Path, *, count: int = 16, seed: int = 0
) -> None:
    """Writes a PNG of some images, drawn at random, with what was predicted of each and what it is.

    What is right is green with a ✓, what is wrong red with a ✗ and the truth below; of unlabelled examples
    only the prediction is told. Of multi-label examples every class from a probability of 1/2 on counts as
    predicted, and only the very same classes are right.

    Args:
        examples: What was predicted.
        probabilities: (n, classes), in the order of the examples.
        path: The file to write.
        count: How many images.
        seed: Decides which ones.

    Raises:
        ConfigurationError: There is no image to draw.
        DataError: An image cannot be decoded, or the file cannot be written.
    """
    if count < 1 or not len(examples):
        raise ConfigurationError(
            f"A grid shows at least one image. Received: count={count} of {len(examples)} examples"
        )
    chosen = np.random.default_rng(seed).permutation(len(examples))[:count].tolist()
    columns = ceil(sqrt(len(chosen)))
    rows = ceil(len(chosen) / columns)
    with drawing(path, width=2.3 * columns, height=2.7 * rows) as figure:
        every_axes = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes in every_axes[len(chosen) :]:
            axes.set_visible(False)
        for axes, index in zip(every_axes, chosen, strict=False):
            text, colour = _caption(examples, probabilities[index], index)
            axes.imshow(_read(examples, index), cmap="gray", vmin=0, vmax=255)
            axes.set_xticks([])
            axes.set_yticks([])
            axes.spines[:].set(visible=True, color=colour, linewidth=2.5)
            axes.set_xlabel(text, color=colour)


def draw_sweep(rows: Sequence[Mapping[str, Any]], path: Path, *, x: str, metric: str) -> None:
    """Writes a PNG of a metric against the value that was swept.

    Args:
        rows: One a value of `x` (a number or a name), each with `metric` and, where they are known, the ends
            of its interval, ``METRIC_low`` and ``METRIC_high``.
        path: The file to write.
        x: The column that was swept.
        metric: The column that is drawn.

    Raises:
        DataError: There are no rows, or the file cannot be written.
    """
    if not rows:
        raise DataError(f"A sweep has one row or more. Received: none for {path}")
    values = _column(rows, metric)
    low, high = (_column(rows, f"{metric}_{end}") for end in ("low", "high"))
    has_intervals = bool(low.size and high.size)
    places, names = _places([row[x] for row in rows])
    order = np.argsort(places)
    with drawing(path, width=6.5, height=4.0) as figure:
        axes = figure.subplots()
        if has_intervals:
            ends = [values - low, high - values]
            axes.errorbar(places, values, yerr=ends, fmt="none", ecolor=_TRAIN, capsize=4)
        # Between names there is nothing to interpolate.
        axes.plot(places[order], values[order], "o" if names else "o-", color=_TRAIN, linewidth=1.2)
        if names:
            upright = sum(map(len, names)) <= 60
            axes.set_xticks(places, names, rotation=0 if upright else 30, ha="center" if upright else "right")
        else:
            _set_values(axes, places[order])
        axes.margins(x=0.08)
        axes.grid(axis="y", alpha=0.3)
        axes.set_xlabel(_spaced(x))
        axes.set_title(_spaced(metric) + (", with intervals" if has_intervals else ""))


def _column(rows: Sequence[Mapping[str, Any]], name: str) -> np.ndarray:
    """Returns a column as float64, NaN where a row has no value; empty where no row has one."""
    cells = [row.get(name) for row in rows]
    values = np.array([float("nan") if cell in (None, "") else float(cell) for cell in cells])  # type: ignore[arg-type]
    return values if np.isfinite(values).any() else values[:0]


def _mark_phases(every_axes: Any, rows: Sequence[Mapping[str, Any]], epochs: np.ndarray) -> None:
    """Draws a line where another phase begins, and the phases' names above the first axes."""
    phases = [str(row.get("phase") or "") for row in rows]
    if not any(phases):
        return
    starts = [index for index, phase in enumerate(phases) if not index or phase != phases[index - 1]]
    first = every_axes[0]
    line = {"color": "#606060", "linewidth": 1, "linestyle": ":"}
    for place, index in enumerate(starts):
        begin = epochs[index] - 0.5
        for axes in every_axes:
            axes.axvline(begin, **line)
        # Each name on a line of its own, since a phase may be shorter than its name; the dots lead there.
        first.annotate(
            phases[index],
            (begin, 1),
            xycoords=first.get_xaxis_transform(),
            xytext=(4, 3 + 13 * (len(starts) - 1 - place)),
            textcoords="offset points",
            fontsize=9,
        )
        first.annotate(
            "",
            (begin, 1),
            xycoords=first.get_xaxis_transform(),
            xytext=(0, 12 + 13 * (len(starts) - 1 - place)),
            textcoords="offset points",
            arrowprops={"arrowstyle": "-", "shrinkA": 0, "shrinkB": 0, **line},
        )
    first.set_title(first.get_title(loc="left"), pad=8 + 13 * len(starts))


def _caption(examples: Examples, probabilities: np.ndarray, index: int) -> tuple[str, str]:
    """Returns what stands below an image, and its colour."""
    predicted, confidence = {int(probabilities.argmax())}, f" ({probabilities.max():.0%})"
    truth = None
    if examples.labels is not None and examples.labels.ndim == 2:
        predicted, confidence = set(np.flatnonzero(probabilities >= 0.5).tolist()), ""
        truth = set(np.flatnonzero(examples.labels[index]).tolist())
    elif examples.labels is not None:
        truth = {int(examples.labels[index])}
    said = _class_names(examples, predicted) + confidence
    if truth is None:
        return said, _UNKNOWN
    if truth == predicted:
        return f"✓ {said}\n", _RIGHT
    return f"✗ {said}\nis {_class_names(examples, truth)}", _WRONG


def _class_names(examples: Examples, classes: set[int]) -> str:
    return shorten(" + ".join(examples.class_names[index] for index in sorted(classes)) or "none")


def _read(examples: Examples, index: int) -> np.ndarray:
    try:
        pixels = examples.images.read(index)
    except OSError as error:
        raise DataError(
            "Every image must be a whole JPEG, PNG, GIF or BMP file: mend it or remove it. "
            f"Received: {examples.ids[index]} of {examples.dataset!r}"
        ) from error
    return pixels[..., 0] if pixels.shape[-1] == 1 else pixels


def _places(values: Sequence[Any]) -> tuple[np.ndarray, list[str]]:
    """Returns where values stand on an axis, and their names where they are no numbers."""
    try:
        return np.array([float(value) for value in values]), []
    except (TypeError, ValueError):
        return np.arange(len(values), dtype=np.float64), [str(value) for value in values]


def _set_values(axes: Any, places: np.ndarray) -> None:
    """Marks the values, which ascend, on an x axis that is logarithmic over a factor of 100 or more."""
    from matplotlib.ticker import NullLocator

    is_wide = places[0] > 0 and places[-1] >= 100 * places[0]
    if is_wide:
        axes.set_xscale("log")
    shown = np.log(places) if is_wide else places
    if np.diff(shown).min(initial=np.inf) >= 0.08 * np.ptp(shown):  # far enough apart for their numbers
        axes.set_xticks(places, [f"{place:g}" for place in places])
        axes.xaxis.set_minor_locator(NullLocator())


def _spaced(column: str) -> str:
    return column.replace("_", " ")
