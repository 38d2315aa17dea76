"""Pictures of a run: that each is drawn whole, tells what it should, and is the same every time."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from PIL import Image

from tpuens.data.examples import ArrayImages, Examples
from tpuens.errors import ConfigurationError, DataError
from tpuens.evaluation import pictures
from tpuens.evaluation.drawing import drawing
from tpuens.evaluation.pictures import (
    draw_confusion_matrix,
    draw_history,
    draw_prediction_grid,
    draw_sweep,
)

NAMES = ("oak", "fir", "elm")
HISTORY = [
    {
        "epoch": str(epoch),
        "phase": "head" if epoch < 2 else "all",
        "loss": str(1 / (epoch + 1)),
        "accuracy": str(1 - 0.5 / (epoch + 1)),
        "learning_rate": "0.001",
        "validation_log_loss": "" if epoch == 1 else str(1.2 / (epoch + 1)),
        "validation_top_1_accuracy": str(1 - 0.6 / (epoch + 1)),
    }
    for epoch in range(4)
]


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The figures that were drawn in the test, which are written as ever."""
    drawn: list[Any] = []

    @contextmanager
    def watch(*arguments: Any, **options: Any) -> Iterator[Any]:
        with drawing(*arguments, **options) as figure:
            yield figure
            drawn.append(figure)

    monkeypatch.setattr(pictures, "drawing", watch)
    return drawn


def make_examples(labels: Any = (0, 1, 2), *, channels: int = 3) -> Examples:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 8, 8, channels), dtype=np.uint8)
    return Examples(
        dataset="trees",
        split="test",
        ids=np.array(["a", "b", "c"]),
        labels=None if labels is None else np.array(labels),
        class_names=NAMES,
        images=ArrayImages(pixels=pixels),
    )


def captions(figure: Any) -> set[tuple[str, str]]:
    return {(axes.get_xlabel(), axes.xaxis.label.get_color()) for axes in figure.axes if axes.get_visible()}


def pixels_of(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB"))


def test_a_history_has_a_panel_for_each_quantity_and_marks_its_phases(
    figures: list[Any], tmp_path: Path
) -> None:
    draw_history(HISTORY, tmp_path / "history.png")
    loss, accuracy, rate = figures[0].axes
    assert [axes.get_title(loc="left") for axes in (loss, accuracy, rate)] == [
        "Loss",
        "Accuracy",
        "Learning rate",
    ]
    training, validation = loss.lines[:2]
    assert training.get_xdata().tolist() == [1, 2, 3, 4]
    assert validation.get_ydata().tolist() == pytest.approx([1.2, np.nan, 0.4, 0.3], nan_ok=True)
    assert [text.get_text() for text in loss.get_legend().get_texts()] == ["training", "validation"]
    assert {text.get_text() for text in loss.texts} == {"", "head", "all"}
    assert all(2.5 in [line.get_xdata()[0] for line in axes.lines] for axes in (loss, accuracy, rate))


def test_a_history_without_phases_or_rates_has_neither(figures: list[Any], tmp_path: Path) -> None:
    rows = [{key: row[key] for key in ("epoch", "loss", "accuracy")} for row in HISTORY]
    draw_history(rows[:1], tmp_path / "history.png")
    assert len(figures[0].axes) == 2
    assert not figures[0].axes[0].texts
    with pytest.raises(DataError, match="one epoch or more"):
        draw_history([], tmp_path / "nothing.png")
    assert [path.name for path in tmp_path.iterdir()] == ["history.png"]


def test_a_confusion_matrix_counts_truth_by_rows(figures: list[Any], tmp_path: Path) -> None:
    labels = np.array([0, 0, 0, 1, 1])
    probabilities = np.eye(3)[[0, 0, 2, 1, 0]]
    draw_confusion_matrix(labels, probabilities, NAMES, tmp_path / "confusion.png")
    axes = figures[0].axes[0]
    assert {(text.get_position(), text.get_text()) for text in axes.texts} == {
        ((0, 0), "2"),
        ((2, 0), "1"),
        ((1, 1), "1"),
        ((0, 1), "1"),
    }
    shares = np.array([[2 / 3, 0, 1 / 3], [0.5, 0.5, 0], [0, 0, 0]])
    np.testing.assert_allclose(axes.images[0].get_array(), shares)
    assert [label.get_text() for label in axes.get_yticklabels()] == list(NAMES)
    assert axes.get_title(loc="left") == "60.0% of 5 right"


def test_a_confusion_matrix_of_many_classes_has_every_name_and_no_counts(
    figures: list[Any], tmp_path: Path
) -> None:
    names = [f"class {number}" for number in range(29)] + ["a name that no picture has room for"]
    labels = np.arange(30)
    draw_confusion_matrix(labels, np.eye(30), names, tmp_path / "confusion.png")
    axes = figures[0].axes[0]
    assert not axes.texts
    shown = [label.get_text() for label in axes.get_xticklabels()]
    assert shown[:29] == names[:29]
    assert shown[29] == "a name that no picture …"
    boxes = [label.get_window_extent() for label in axes.get_yticklabels()]
    assert all(above.y0 >= below.y1 - 1 for above, below in pairwise(boxes))


def test_a_grid_says_what_is_right_and_wrong_in_signs_and_colours(figures: list[Any], tmp_path: Path) -> None:
    probabilities = np.array([[0.9, 0.1, 0.0], [0.7, 0.2, 0.1], [0.1, 0.1, 0.8]])
    draw_prediction_grid(make_examples(), probabilities, tmp_path / "grid.png")
    texts = dict(captions(figures[0]))
    assert set(texts) == {"✓ oak (90%)\n", "✗ oak (70%)\nis fir", "✓ elm (80%)\n"}
    assert texts["✓ oak (90%)\n"] == texts["✓ elm (80%)\n"] != texts["✗ oak (70%)\nis fir"]


def test_a_grid_of_unlabelled_examples_tells_the_prediction_alone(figures: list[Any], tmp_path: Path) -> None:
    draw_prediction_grid(make_examples(None, channels=1), np.eye(3), tmp_path / "grid.png", count=2)
    assert len(captions(figures[0])) == 2
    assert {text for text, _ in captions(figures[0])} <= {"oak (100%)", "fir (100%)", "elm (100%)"}


def test_a_grid_of_several_labels_asks_for_the_very_same_ones(figures: list[Any], tmp_path: Path) -> None:
    examples = make_examples([[1, 1, 0], [0, 0, 0], [0, 1, 1]])
    probabilities = np.array([[0.9, 0.6, 0.1], [0.1, 0.2, 0.3], [0.9, 0.9, 0.2]])
    draw_prediction_grid(examples, probabilities, tmp_path / "grid.png")
    assert {text for text, _ in captions(figures[0])} == {
        "✓ oak + fir\n",
        "✓ none\n",
        "✗ oak + fir\nis fir + elm",
    }


def test_a_grid_of_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="at least one image"):
        draw_prediction_grid(make_examples(), np.eye(3), tmp_path / "grid.png", count=0)


def test_a_sweep_joins_numbers_and_not_names_and_has_its_intervals(
    figures: list[Any], tmp_path: Path
) -> None:
    rows = [{"rate": x, "f1": 0.5 + x, "f1_low": 0.4, "f1_high": 0.9} for x in (0.1, 0.001, 0.01)]
    draw_sweep(rows, tmp_path / "numbers.png", x="rate", metric="f1")
    draw_sweep(
        [{"loss": "focal", "f1": 0.5}, {"loss": "plain", "f1": 0.6}],
        tmp_path / "names.png",
        x="loss",
        metric="f1",
    )
    numbers, names = (figure.axes[0] for figure in figures)
    assert numbers.get_xscale() == "log"
    assert numbers.lines[-1].get_xdata().tolist() == [0.001, 0.01, 0.1]
    (interval,) = numbers.collections
    assert (
        sorted(segment[:, 1].tolist() for segment in interval.get_segments())
        == [pytest.approx([0.4, 0.9])] * 3
    )
    assert names.lines[0].get_linestyle() == "None"
    assert [label.get_text() for label in names.get_xticklabels()] == ["focal", "plain"]
    assert not names.collections


def test_the_same_input_gives_the_same_bytes_whatever_the_users_settings(tmp_path: Path) -> None:
    draw_prediction_grid(make_examples(), np.eye(3), tmp_path / "one.png", count=2, seed=3)
    with matplotlib.rc_context({"font.size": 30, "savefig.dpi": 40}):
        draw_prediction_grid(make_examples(), np.eye(3), tmp_path / "two.png", count=2, seed=3)
        assert matplotlib.rcParams["font.size"] == 30
    draw_prediction_grid(make_examples(), np.eye(3), tmp_path / "other.png", count=2, seed=4)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    assert (tmp_path / "one.png").read_bytes() != (tmp_path / "other.png").read_bytes()


def test_nothing_is_cut_off_at_the_edge(tmp_path: Path) -> None:
    draw_history(HISTORY[:3], tmp_path / "1.png")
    draw_confusion_matrix(np.arange(25), np.eye(25), [*map(str, range(24)), "oak" * 8], tmp_path / "2.png")
    draw_prediction_grid(make_examples(), np.eye(3), tmp_path / "3.png")
    draw_sweep(
        [{"a name": name * 9, "f1": 0.5} for name in NAMES], tmp_path / "4.png", x="a name", metric="f1"
    )
    for number in range(1, 5):
        page = pixels_of(tmp_path / f"{number}.png")
        for edge in (page[0], page[-1], page[:, 0], page[:, -1]):
            assert (edge == 255).all(), number


def test_a_picture_that_cannot_be_written_is_one_message_and_no_half_file(tmp_path: Path) -> None:
    rows = [{"rate": 1, "f1": 0.5}]
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="make room or choose another file"):
        draw_sweep(rows, tmp_path / "file" / "sweep.png", x="rate", metric="f1")
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(DataError, match="make room or choose another file"):
        draw_sweep(rows, tmp_path / "folder.png", x="rate", metric="f1")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.png"]
    draw_sweep(rows, tmp_path / "new" / "sweep.png", x="rate", metric="f1")
    assert (tmp_path / "new" / "sweep.png").exists()


def test_a_thousand_classes_are_drawn_without_their_names(figures: list[Any], tmp_path: Path) -> None:
    labels = np.arange(1000)
    names = [f"class {number}" for number in labels]
    draw_confusion_matrix(labels, np.eye(1000, dtype=np.float32), names, tmp_path / "many.png")
    (axes, _) = figures[0].axes
    assert not any("class" in label.get_text() for label in axes.get_xticklabels())
    with Image.open(tmp_path / "many.png") as picture:
        assert max(picture.size) < 2500
