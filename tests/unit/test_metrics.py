"""Scores of examples with any number of classes, intervals and confusion."""

import numpy as np
import pytest
from scipy.stats import binomtest

from tpuens.errors import RunError
from tpuens.evaluation.metrics import accuracy_interval, compute_scores, confusion_matrix, find_right

LABELS = np.array([[1, 0], [1, 1], [0, 0], [0, 1]])
PROBABILITIES = np.array([[0.9, 0.1], [0.62, 0.38], [0.7, 0.18], [0.1, 0.82]], np.float32)


def test_multi_label_scores_are_what_their_definitions_say() -> None:
    scores = compute_scores(LABELS, PROBABILITIES)
    assert scores.top_1_accuracy == 0.5  # rows 1 and 4: both columns right
    right = np.where(LABELS == 1, PROBABILITIES, 1 - PROBABILITIES)
    assert scores.log_loss == pytest.approx(-np.log(right).mean(), rel=1e-6)
    assert scores.macro_f1 == pytest.approx((4 / 5 + 2 / 3) / 2)
    # Of the four pairs of a yes and a no, three are in order in the first column, all in the second.
    assert scores.macro_roc_auc == pytest.approx((3 / 4 + 1) / 2)
    # Right of those with equal confidence: 3 of 3 at 0.9, 1 of 2 at 0.62, 0 of 1 at 0.7, 2 of 2 at 0.82.
    gaps = abs(3 - 2.7) + abs(1 - 1.24) + abs(0 - 0.7) + abs(2 - 1.64)
    assert scores.expected_calibration_error == pytest.approx(gaps / 8)


def test_an_example_is_right_whose_every_class_is() -> None:
    assert find_right(LABELS, PROBABILITIES).tolist() == [True, False, False, True]
    assert find_right(np.array([0, 1, 1]), PROBABILITIES[:3]).tolist() == [True, False, False]


def test_multi_label_rows_need_not_sum_to_one() -> None:
    sure = np.array([[1.0, 1.0], [0.0, 0.0]], np.float32)
    scores = compute_scores(np.array([[1, 1], [0, 0]]), sure)
    assert scores.top_1_accuracy == scores.macro_f1 == scores.macro_roc_auc == 1
    assert scores.log_loss == pytest.approx(0, abs=1e-12)
    assert scores.expected_calibration_error == 0


def test_a_sure_and_wrong_answer_has_a_finite_log_loss() -> None:
    assert np.isfinite(
        compute_scores(np.array([[1, 0], [0, 1]]), np.array([[0.0, 1.0], [1.0, 0.0]])).log_loss
    )


def test_a_column_of_one_kind_has_no_area_under_its_curve() -> None:
    assert compute_scores(np.array([[1, 0], [1, 1]]), PROBABILITIES[:2]).macro_roc_auc is None
    assert compute_scores(np.array([[1, 0], [0, 0]]), PROBABILITIES[:2]).macro_roc_auc is None


def test_multi_label_probabilities_that_are_not_finite_are_refused() -> None:
    with pytest.raises(RunError, match="1 of 4"):
        compute_scores(LABELS, np.where([[True, False]] + 3 * [[False] * 2], np.nan, PROBABILITIES))


@pytest.mark.parametrize(("right", "n"), [(0, 5), (5, 5), (990, 1000), (1, 3), (3400, 3712)])
def test_the_interval_of_an_accuracy_is_wilsons(right: int, n: int) -> None:
    expected = binomtest(right, n).proportion_ci(0.95, method="wilson")
    assert accuracy_interval(right, n) == pytest.approx((expected.low, expected.high))


def test_a_confusion_matrix_has_the_truth_in_its_rows() -> None:
    probabilities = np.array([[0.8, 0.1, 0.1], [0.2, 0.1, 0.7], [0.1, 0.8, 0.1], [0.6, 0.3, 0.1]])
    matrix = confusion_matrix(np.array([0, 0, 1, 1]), probabilities)
    assert matrix.tolist() == [[1, 0, 1], [1, 1, 0], [0, 0, 0]]
