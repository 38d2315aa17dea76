"""Weights are found exactly where that is possible, and are never worse than what anyone would try."""

from collections.abc import Callable

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score, roc_auc_score
from sklearn.metrics import log_loss as log_loss_of_sklearn

from tpuens.ensembling import contest, weights
from tpuens.ensembling.contest import Contest
from tpuens.ensembling.mixture import GAP, fit_mixture
from tpuens.ensembling.weights import METRICS, search_alpha, search_weights
from tpuens.errors import ConfigurationError, DataError
from tpuens.evaluation.scoring import (
    LEAST_PROBABILITY,
    accuracy_of,
    decide,
    example_losses,
    log_loss,
    macro_f1_of,
    mean_roc_auc,
)


def simulate(
    seed: int, *, n: int = 120, classes: int = 5, members: int = 3, decimals: int | None = None
) -> tuple[list[np.ndarray], np.ndarray]:
    """Returns members that are right more often than not, and the labels; rounded ones tie often."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, n)
    shared = rng.normal(size=(n, classes)) + 2 * np.eye(classes)[labels]
    found = []
    for member in range(members):
        logits = shared + rng.normal(size=(n, classes)) * (1 + member / 2)
        rows = np.exp(logits)
        rows /= rows.sum(axis=1, keepdims=True)
        found.append(np.round(rows, decimals or 7).astype(np.float32))
    return found, labels


def simulate_multi_label(seed: int) -> tuple[list[np.ndarray], np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = (rng.random((90, 4)) < 0.3).astype(np.int64)
    members = [1 / (1 + np.exp(-(3 * labels - 1.5 + rng.normal(size=(90, 4)) * 2))) for _ in range(3)]
    return [member.astype(np.float32) for member in members], labels


def gap_of(right: np.ndarray, weights: np.ndarray) -> float:
    """Returns by how much the loss can still fall at most: Frank and Wolfe's bound."""
    return float((right / (right @ weights)[:, None]).mean(axis=0).max() - 1)


@pytest.mark.parametrize("members", [2, 4, 30])
def test_mixture_weights_are_the_optimum_to_a_certified_gap(members: int) -> None:
    for seed in range(10):
        right = np.random.default_rng(seed).random((200, members)) ** 3
        weights = fit_mixture(right)
        assert weights.min() >= 0
        assert weights.sum() == pytest.approx(1)
        assert gap_of(right, weights) <= 2 * GAP


def test_no_weights_of_two_members_have_a_lower_log_loss_than_those_found() -> None:
    right = np.random.default_rng(3).random((80, 2))
    found = -np.log(right @ fit_mixture(right)).mean()
    grid = np.linspace(0, 1, 10_001)
    assert found <= (-np.log(right @ np.stack([grid, 1 - grid])).mean(axis=0)).min() + GAP


@pytest.mark.parametrize(
    "right",
    [
        np.tile(np.random.default_rng(0).random((50, 1)), 4),  # four members that say the same
        np.stack([np.ones(50), np.full(50, 0.5), np.zeros(50)], axis=1),  # one always right, one never
        np.random.default_rng(1).random((3, 12)),  # more members than examples
        np.eye(6),  # each alone knows one example
        np.zeros((5, 3)),  # nobody knows anything
        np.where(np.random.default_rng(2).random((200, 5)) < 0.5, 0.0, 1.0),  # certain, right or wrong
    ],
    ids=["equal", "perfect", "few examples", "experts", "hopeless", "certain"],
)
def test_degenerate_members_have_optimal_weights_too(right: np.ndarray) -> None:
    weights = fit_mixture(right)
    assert np.isfinite(weights).all()
    assert weights.sum() == pytest.approx(1)
    assert gap_of(np.maximum(right, LEAST_PROBABILITY), weights) <= 2 * GAP


def test_a_member_that_is_always_right_gets_all_the_weight() -> None:
    right = np.stack([np.ones(50), np.full(50, 0.5)], axis=1)
    assert fit_mixture(right) == pytest.approx([1, 0], abs=1e-6)


@pytest.mark.parametrize("decimals", [None, 1], ids=["smooth", "full of ties"])
@pytest.mark.parametrize("compact", [True, False], ids=["compact", "whole rows"])
def test_a_contest_has_the_winners_of_the_whole_matrices(
    compact: bool, decimals: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contest, "_COMPACT_SHARE", 2.0 if compact else 0.0)
    monkeypatch.setattr(contest, "_BLOCK_VALUES", 64)
    for seed in range(10):
        members, _ = simulate(seed, classes=11, decimals=decimals)
        ours = Contest(members)
        weights = np.random.default_rng(seed).random(3)
        total = weights[0] * members[0] + weights[1] * members[1] + weights[2] * members[2]
        assert ours.predict(weights.tolist()).tolist() == total.argmax(axis=1).tolist()
        first, second = ours.predict_each([2, 0, 1], [0, 2])
        assert first.tolist() == (2 * members[0] + members[2] + members[0]).argmax(axis=1).tolist()
        assert second.tolist() == (2 * members[0] + members[2] + members[2]).argmax(axis=1).tolist()


def test_confident_members_leave_few_classes_in_the_contest() -> None:
    sure = np.full((1000, 100), 0.001, np.float32)
    sure[:, 7] = 0.901
    (group,) = Contest([sure, sure])._groups
    assert group.values[0].shape == (1000, 1)


def plain_macro_f1(labels: np.ndarray, rows: np.ndarray) -> float:
    predicted, scores = rows.argmax(axis=1), []
    for one in range(rows.shape[1]):
        both = ((labels == one) & (predicted == one)).sum()
        scores.append(2 * both / max(1, (labels == one).sum() + (predicted == one).sum()))
    return float(np.mean(scores))


PLAIN: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "macro_f1": plain_macro_f1,
    "accuracy": lambda labels, rows: float((rows.argmax(axis=1) == labels).mean()),
    "log_loss": lambda labels, rows: -log_loss(labels, rows),
}


@pytest.mark.parametrize("points", [100, 101])
@pytest.mark.parametrize("decimals", [None, 1], ids=["smooth", "full of ties"])
@pytest.mark.parametrize(("metric", "cases"), [("macro_f1", 15), ("accuracy", 30), ("log_loss", 15)])
def test_the_two_model_search_is_never_worse_than_the_loop_over_alphas(
    metric: str, cases: int, decimals: int | None, points: int
) -> None:
    for seed in range(cases):
        (a, b), labels = simulate(seed, n=60, members=2, decimals=decimals)
        loop = max(PLAIN[metric](labels, x * a + (1 - x) * b) for x in np.linspace(0, 1, points))
        found = search_alpha(a, b, labels, metric)
        alpha, rest = np.array(found.weights)  # float64, as the loop's are
        reached = PLAIN[metric](labels, alpha * a + rest * b)
        assert reached >= loop - GAP
        assert found.score == pytest.approx(abs(reached))


def test_alpha_weighs_the_first_model() -> None:
    (a, b), labels = simulate(0, members=2)
    b = b[::-1]  # about other examples: good for nothing
    assert search_alpha(a, b, labels).weights[0] > 0.5
    assert search_alpha(b, a, labels).weights[0] < 0.5


def test_equal_alphas_are_told_apart_by_log_loss() -> None:
    a = np.array([[0.9, 0.1], [0.2, 0.8]], np.float32)
    b = np.array([[0.6, 0.4], [0.4, 0.6]], np.float32)
    found = search_alpha(a, b, np.array([0, 1]), "accuracy")
    assert (found.score, found.weights) == (1.0, (1.0, 0.0))  # every α is right; a is surer


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("simulated", [simulate, simulate_multi_label], ids=["one label", "multi-label"])
def test_searched_weights_are_no_worse_than_the_mean_or_any_member(
    metric: str, simulated: Callable[[int], tuple[list[np.ndarray], np.ndarray]]
) -> None:
    def score(rows: np.ndarray, labels: np.ndarray) -> float:
        if metric == "log_loss":
            return -log_loss(labels, rows)
        if metric == "roc_auc":
            return mean_roc_auc(labels, rows)
        of = {"accuracy": accuracy_of, "macro_f1": macro_f1_of}[metric]
        return of(labels, decide(labels, rows), rows.shape[1])

    for seed in range(5):
        members, labels = simulated(seed)
        found = search_weights(members, labels, metric)
        assert sum(found.weights) == pytest.approx(1)
        assert min(found.weights) >= 0
        reached = score(sum(w * m for w, m in zip(found.weights, members, strict=True)), labels)  # type: ignore[arg-type]
        others = [*members, np.asarray(sum(members)) / np.float32(3)]
        assert reached >= max(score(rows, labels) for rows in others) - 1e-6
        assert abs(found.score) == pytest.approx(abs(reached), rel=1e-5)


def test_selection_begins_with_the_members_that_are_best_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "ROUNDS", 0)
    # Each is right of two examples in three; any two of them tie where they differ, and the tie is lost.
    right, wrong = [0.4, 0.6], [0.6, 0.4]
    rows = [[right, right, wrong], [wrong, right, right], [right, wrong, right]]
    members = [np.array(one, np.float32) for one in rows]
    assert search_weights(members, np.array([1, 1, 1]), "accuracy").score == 1.0


def test_the_same_search_gives_the_same_weights() -> None:
    members, labels = simulate(0)
    for metric in METRICS:
        assert search_weights(members, labels, metric) == search_weights(members, labels, metric)


def test_memory_maps_are_searched_like_arrays(tmp_path: object) -> None:
    members, labels = simulate(0)
    mapped = []
    for index, member in enumerate(members):
        np.save(f"{tmp_path}/{index}.npy", member)
        mapped.append(np.load(f"{tmp_path}/{index}.npy", mmap_mode="r"))
    assert search_weights(mapped, labels, "accuracy") == search_weights(members, labels, "accuracy")


@pytest.mark.parametrize(
    ("count", "labels", "metric", "error", "message"),
    [
        (2, [0, 1, 2], "logloss", ConfigurationError, "metric='logloss'"),
        (1, [0, 1, 2], "log_loss", ConfigurationError, "at least two"),
        (2, [0, 1], "log_loss", DataError, r"labels of \(2,\)"),
    ],
)
def test_searches_that_make_no_sense_are_refused(
    count: int, labels: list[int], metric: str, error: type[Exception], message: str
) -> None:
    members = [np.full((3, 3), 1 / 3, np.float32)] * count
    with pytest.raises(error, match=message):
        search_weights(members, np.array(labels), metric)


@pytest.mark.parametrize("metric", ["log_loss", "accuracy"])
def test_probabilities_that_are_not_finite_are_refused(metric: str) -> None:
    members, labels = simulate(0)
    members[1][3] = np.nan
    with pytest.raises(DataError, match="NaN"):
        search_weights(members, labels, metric)


def test_fast_scores_are_those_of_scikit_learn() -> None:
    for seed in range(10):
        (rows, coarse), labels = simulate(seed, members=2)
        labels[labels == 4] = 3  # a class without examples
        coarse = np.round(coarse, 1)  # many ties
        for one in (rows, coarse):
            predicted = decide(labels, one)
            assert accuracy_of(labels, predicted, 5) == pytest.approx(accuracy_score(labels, predicted))
            f1 = f1_score(labels, predicted, labels=range(5), average="macro", zero_division=0)
            assert macro_f1_of(labels, predicted, 5) == pytest.approx(f1)
            expected = roc_auc_score(labels[:, None] == np.arange(4), one[:, :4], average="macro")
            assert mean_roc_auc(labels, one) == pytest.approx(expected)
        scaled = rows / rows.sum(axis=1, keepdims=True)
        assert log_loss(labels, scaled) == pytest.approx(log_loss_of_sklearn(labels, scaled, labels=range(5)))


def test_fast_scores_of_multi_label_predictions_are_those_of_scikit_learn() -> None:
    (rows, _, _), labels = simulate_multi_label(0)
    predicted = decide(labels, rows)
    assert macro_f1_of(labels, predicted, 4) == pytest.approx(f1_score(labels, rows > 0.5, average="macro"))
    assert accuracy_of(labels, predicted, 4) == pytest.approx(((rows > 0.5) == labels).all(axis=1).mean())
    assert mean_roc_auc(labels, rows) == pytest.approx(roc_auc_score(labels, rows, average="macro"))
    by_hand = -np.where(labels == 1, np.log(rows), np.log(1 - rows)).mean(axis=1)
    assert example_losses(labels, rows) == pytest.approx(by_hand, rel=1e-4)


def test_the_area_under_the_curve_needs_two_kinds_of_examples() -> None:
    with pytest.raises(DataError, match="all alike"):
        mean_roc_auc(np.zeros(3, np.int64), np.full((3, 2), 0.5))
