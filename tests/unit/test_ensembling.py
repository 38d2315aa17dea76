from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tpuens.ensembling.combine import combine_predictions
from tpuens.errors import ConfigurationError, DataError, RunError
from tpuens.evaluation.metrics import compute_calibration_error, compute_scores, score_predictions
from tpuens.evaluation.predictions import Predictions, load_predictions, save_predictions


def predictions(rows: list[list[float]], ids: str = "abc", source: str = "one") -> Predictions:
    return Predictions(
        ids=np.array(list(ids)),
        probabilities=np.array(rows, np.float32),
        labels=np.array([0, 1, 2])[: len(ids)],
        class_names=("x", "y", "z"),
        source=source,
    )


SURE = [[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.1, 0.1, 0.8]]
FLAT = [[0.2, 0.4, 0.4], [0.4, 0.2, 0.4], [0.4, 0.4, 0.2]]


def test_the_mean_weighs_every_member_alike() -> None:
    combined = combine_predictions([predictions(SURE), predictions(FLAT)])
    assert combined.probabilities == pytest.approx(np.array(SURE) / 2 + np.array(FLAT) / 2)
    assert combined.source == "ensemble"


def test_weights_are_scaled_to_sum_to_one() -> None:
    combined = combine_predictions([predictions(SURE), predictions(FLAT)], [3, 1])
    assert combined.probabilities == pytest.approx(np.array(SURE) * 0.75 + np.array(FLAT) * 0.25)


def test_members_in_another_order_are_aligned_by_id() -> None:
    turned = Predictions(
        ids=np.array(["c", "a", "b"]),
        probabilities=np.array([SURE[2], SURE[0], SURE[1]], np.float32),
        labels=np.array([2, 0, 1]),
        class_names=("x", "y", "z"),
        source="turned",
    )
    assert combine_predictions([predictions(SURE), turned]).probabilities == pytest.approx(np.array(SURE))


def test_members_about_other_examples_are_refused_with_the_first_that_differ() -> None:
    with pytest.raises(DataError, match=r"only there: b\).*only there: d\)"):
        combine_predictions([predictions(SURE), predictions(SURE, ids="adc", source="two")])


def test_members_with_other_classes_are_refused() -> None:
    other = replace(predictions(SURE), class_names=("x", "q", "z"))
    with pytest.raises(DataError, match="'y' and 'q'"):
        combine_predictions([predictions(SURE), other])


def test_members_that_disagree_on_labels_are_refused() -> None:
    other = replace(predictions(SURE), labels=np.array([0, 2, 2]))
    with pytest.raises(DataError, match="differ at ids b"):
        combine_predictions([predictions(SURE), other])


@pytest.mark.parametrize("weights", [[1.0], [1.0, -1.0], [0.0, 0.0], [float("nan"), 1.0]])
def test_weights_that_make_no_mean_are_refused(weights: list[float]) -> None:
    with pytest.raises(ConfigurationError):
        combine_predictions([predictions(SURE), predictions(FLAT)], weights)


def test_a_single_member_is_no_ensemble() -> None:
    with pytest.raises(ConfigurationError, match="at least two"):
        combine_predictions([predictions(SURE)])


def test_scores_are_those_computed_by_hand() -> None:
    scores = score_predictions(predictions([SURE[0], SURE[1], [0.5, 0.3, 0.2]]))
    assert scores.top_1_accuracy == pytest.approx(2 / 3)
    assert scores.log_loss == pytest.approx(-(2 * np.log(0.8) + np.log(0.2)) / 3, rel=1e-5)
    assert scores.macro_f1 == pytest.approx((2 / 3 + 1 + 0) / 3)
    # x against the rest and y against the rest are told apart, z is too: 0.2 is above both 0.1s.
    assert scores.macro_roc_auc == pytest.approx(1.0)


def test_calibration_error_is_the_gap_between_confidence_and_accuracy() -> None:
    sure_and_half_right = np.array([[0.9, 0.1]] * 10)
    labels = np.array([0] * 5 + [1] * 5)
    assert compute_calibration_error(labels, sure_and_half_right) == pytest.approx(0.4)
    spread = np.array([[0.9, 0.1]] * 10 + [[0.4, 0.6]] * 10)
    labels = np.array([0] * 9 + [1] + [1] * 6 + [0] * 4)
    assert compute_calibration_error(labels, spread) == pytest.approx(0.0, abs=1e-9)


def test_auc_is_left_out_where_a_class_has_no_example() -> None:
    scores = compute_scores(np.array([0, 0, 1]), np.array(SURE))
    assert scores.macro_roc_auc is None
    assert "macro_roc_auc" not in scores.as_dict()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_predictions_of_a_model_that_diverged_are_not_scored(bad: float) -> None:
    probabilities = np.array(SURE)
    probabilities[1] = bad
    with pytest.raises(RunError, match=r"lower learning rate.*1 of 3 examples") as caught:
        compute_scores(np.array([0, 1, 2]), probabilities)
    assert caught.value.exit_code == 1


def test_predictions_are_read_back_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "p.npz"
    save_predictions(path, predictions(SURE))
    read = load_predictions(path)
    assert read.ids.tolist() == ["a", "b", "c"]
    assert read.probabilities == pytest.approx(np.array(SURE))
    assert read.labels is not None
    assert read.labels.tolist() == [0, 1, 2]
    assert (read.class_names, read.source) == (("x", "y", "z"), "one")
    assert [file.name for file in path.parent.iterdir()] == ["p.npz"]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([[float("nan"), 0.5, 0.5], SURE[1], SURE[2]], "first ids a"),
        ([SURE[0], [0.5, 0.6, 0.5], SURE[2]], "first ids b"),
        ([SURE[0], SURE[1]], "one row an id"),
    ],
)
def test_a_file_without_probabilities_is_refused(
    rows: list[list[float]], message: str, tmp_path: Path
) -> None:
    save_predictions(tmp_path / "p.npz", predictions(rows))
    with pytest.raises(DataError, match=message):
        load_predictions(tmp_path / "p.npz")


def test_a_file_that_is_no_prediction_file_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "p.npz").write_text("not a zip")
    with pytest.raises(DataError, match=r"p\.npz"):
        load_predictions(tmp_path / "p.npz")
    with pytest.raises(DataError, match="No such prediction file"):
        load_predictions(tmp_path / "q.npz")
