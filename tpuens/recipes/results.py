"""What a run leaves of a part of its data: predictions, and pictures of them."""

from ..data.examples import Examples
from ..evaluation.pictures import draw_confusion_matrix, draw_prediction_grid
from ..evaluation.predictions import Predictions, save_predictions
from .run_folder import RunFolder


def write_predictions(folder: RunFolder, part: str, examples: Examples, predictions: Predictions) -> None:
    """Writes predictions of a part, its confusion matrix where it has labels, and of a test part its grid.

    Args:
        folder: The run's.
        part: ``"validation"`` or ``"test"``.
        examples: What was predicted.
        predictions: In the order of the examples.
    """
    save_predictions(folder.predictions(part), predictions)
    if examples.labels is not None and not examples.is_multi_label:
        draw_confusion_matrix(
            examples.labels,
            predictions.probabilities,
            examples.class_names,
            folder.path / f"confusion-{part}.png",
        )
    if part == "test":
        draw_prediction_grid(examples, predictions.probabilities, folder.path / "predictions.png")
