"""A fitted ensemble is scored only on examples that its fit never saw, and says which these are."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from tpuens.ensembling.calibration import apply_temperature
from tpuens.ensembling.ensemble import EnsembleConfig, fit_ensemble
from tpuens.ensembling.honesty import (
    compare_with_best_member,
    cross_fit,
    deal_folds,
    evaluate_ensemble,
)
from tpuens.errors import ConfigurationError, DataError
from tpuens.evaluation.predictions import Predictions

SEARCHED = EnsembleConfig(method="weighted", search="log_loss")


def make_members(seed: int = 0, *, n: int = 200, prefix: str = "test", count: int = 3) -> list[Predictions]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, n)
    members = []
    for member in range(count):
        logits = 2 * np.eye(3)[labels] + rng.normal(size=(n, 3)) * (1 + member)
        rows = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        members.append(
            Predictions(
                ids=np.array([f"{prefix}_{index}" for index in range(n)]),
                probabilities=rows.astype(np.float32),
                labels=labels,
                class_names=("x", "y", "z"),
                source=f"run{member}",
            )
        )
    return members


def unlabel(members: Sequence[Predictions]) -> list[Predictions]:
    return [replace(member, labels=None) for member in members]


def test_folds_are_stratified_and_of_nearly_equal_sizes() -> None:
    labels = np.array([0] * 50 + [1] * 23 + [2] * 4 + [3])
    place = deal_folds(labels, folds=5, seed=0)
    assert np.ptp(np.bincount(place, minlength=5)) <= 1
    for label in range(4):
        assert np.ptp(np.bincount(place[labels == label], minlength=5)) <= 1
    assert place.tolist() == deal_folds(labels, folds=5, seed=0).tolist()
    assert place.tolist() != deal_folds(labels, folds=5, seed=1).tolist()


def test_folds_of_multi_label_examples_are_stratified_by_their_rows() -> None:
    labels = np.array([[0, 0]] * 10 + [[1, 1]] * 10 + [[0, 1]] * 5)
    place = deal_folds(labels, folds=5, seed=0)
    assert np.bincount(place[:10]).tolist() == np.bincount(place[10:20]).tolist() == [2] * 5
    assert np.bincount(place[20:]).tolist() == [1] * 5


def test_no_fit_sees_the_examples_that_it_is_scored_on() -> None:
    labels = np.arange(20) % 2
    told = np.repeat(np.arange(20, dtype=np.float32)[:, None], 2, axis=1)  # the example's own number
    seen: list[set[float]] = []

    def fit(members: list[np.ndarray], labels: np.ndarray):  # type: ignore[no-untyped-def]
        seen.append(set(members[0][:, 0].tolist()))
        assert len(labels) == len(members[0])

        def pool(members: Sequence[np.ndarray]) -> np.ndarray:
            assert not seen[-1] & set(members[0][:, 0].tolist())
            return members[0] + 100

        return pool

    combined = cross_fit([told, told], labels, fit, folds=4)
    assert combined.tolist() == (told + 100).tolist()
    assert [len(one) for one in seen] == [15] * 4


def test_a_fit_that_learns_the_labels_by_heart_gains_nothing_when_cross_fitted() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 300)
    rows = rng.random((300, 1)).astype(np.float32)
    member = np.concatenate([rows, 1 - rows], axis=1)

    def learn_by_heart(members: list[np.ndarray], labels: np.ndarray):  # type: ignore[no-untyped-def]
        known = dict(zip(members[0][:, 0].tolist(), labels, strict=True))
        return lambda new: np.eye(2)[[known.get(value, 0) for value in new[0][:, 0].tolist()]]

    honest = cross_fit([member], labels, learn_by_heart).argmax(axis=1)
    assert (learn_by_heart([member], labels)([member]).argmax(axis=1) == labels).all()
    assert (honest == labels).mean() < 0.6


@pytest.mark.parametrize("folds", [1, 31])
def test_folds_that_cannot_be_dealt_are_refused(folds: int) -> None:
    members = make_members(n=30)
    with pytest.raises(ConfigurationError, match="two folds or more"):
        cross_fit([m.probabilities for m in members], members[0].labels, lambda *_: None, folds=folds)  # type: ignore


def test_weights_fitted_to_one_part_are_scored_on_the_other() -> None:
    validation, test = make_members(0, prefix="validation"), make_members(1, n=150)
    found = evaluate_ensemble(test, SEARCHED, fit_members=validation, part="test", fit_part="validation")
    assert found.ensemble.weights == fit_ensemble(validation, SEARCHED).weights
    assert found.scored is found.predictions
    assert len(found.predictions) == 150
    assert (found.fitted_on, found.scored_on) == (
        "200 validation examples",
        "150 test examples, which the fit has not seen",
    )


def test_an_unlabelled_part_gets_the_weights_and_the_scores_are_cross_fitted_on_the_labelled_one() -> None:
    validation, test = make_members(0, prefix="validation"), unlabel(make_members(1, n=150))
    found = evaluate_ensemble(test, SEARCHED, fit_members=validation, part="test", fit_part="validation")
    assert len(found.predictions) == 150
    assert found.scored is not None
    assert len(found.scored) == len(found.scored_members[0]) == 200
    assert found.scored_on.startswith("the same 200 validation examples, cross-fitted")
    in_sample = fit_ensemble(validation, SEARCHED).combine(validation)
    assert not np.array_equal(found.scored.probabilities, in_sample.probabilities)


def test_without_another_part_predictions_are_cross_fitted_and_weights_come_from_all() -> None:
    members = make_members(0)
    found = evaluate_ensemble(members, SEARCHED)
    assert found.ensemble.weights == fit_ensemble(members, SEARCHED).weights
    assert found.scored is found.predictions
    in_sample = found.ensemble.combine(members)
    difference = np.abs(found.predictions.probabilities - in_sample.probabilities).max()
    assert 0 < difference < 0.1
    assert "cross-fitted: each by a fit to the other 4 of 5 folds" in found.scored_on
    again = evaluate_ensemble(members, SEARCHED)
    assert np.array_equal(found.predictions.probabilities, again.predictions.probabilities)


def test_where_nothing_is_fitted_all_examples_are_scored() -> None:
    found = evaluate_ensemble(make_members(), EnsembleConfig())
    assert (found.fitted_on, found.scored_on) == ("nothing (all members weigh alike)", "200 given examples")
    given = EnsembleConfig(method="weighted", weights=(1, 1, 2))
    assert evaluate_ensemble(make_members(), given).ensemble.weights == (0.25, 0.25, 0.5)
    unlabelled = evaluate_ensemble(unlabel(make_members()), EnsembleConfig(method="geometric"))
    assert (unlabelled.scored, unlabelled.scored_members) == (None, ())


@pytest.mark.parametrize(
    "config",
    [
        SEARCHED,
        EnsembleConfig(method="weighted", search="roc_auc"),
        EnsembleConfig(temperature=True),
        EnsembleConfig(method="stack"),
    ],
    ids=lambda config: f"{config.method} {config.search}",
)
def test_labels_that_are_needed_and_missing_are_asked_for(config: EnsembleConfig) -> None:
    with pytest.raises(DataError, match=r"such as validation.*run0, run1, run2, all unlabelled"):
        evaluate_ensemble(unlabel(make_members()), config)


def test_parts_that_share_examples_are_refused() -> None:
    members = make_members()
    with pytest.raises(DataError, match="200 ids in both, the first test_0, test_1, test_10"):
        evaluate_ensemble(members, SEARCHED, fit_members=members)


def test_other_members_in_the_fit_are_refused() -> None:
    validation = make_members(prefix="validation")
    with pytest.raises(ConfigurationError, match="2 to fit to and 3 to combine"):
        evaluate_ensemble(make_members(), SEARCHED, fit_members=validation[:2])
    other = [replace(member, class_names=("x", "q", "z")) for member in validation]
    with pytest.raises(DataError, match="'q' and 'y'"):
        evaluate_ensemble(make_members(), SEARCHED, fit_members=other)


def test_temperatures_are_fitted_to_each_member_and_applied_before_combining() -> None:
    members = make_members()
    rows = members[0].probabilities ** 4
    sharp = replace(members[0], probabilities=rows / rows.sum(axis=1, keepdims=True))
    found = fit_ensemble([members[0], sharp], EnsembleConfig(temperature=True))
    assert found.temperatures is not None
    assert found.temperatures[1] == pytest.approx(4 * found.temperatures[0], rel=1e-3)
    # Scaled, both say the same, and so does their mean.
    scaled = apply_temperature(members[0].probabilities, found.temperatures[0])
    assert found.combine([members[0], sharp]).probabilities == pytest.approx(scaled, abs=1e-3)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"method": "weighted"}, "needs weights"),
        ({"method": "mean", "weights": (1, 2)}, "Methods that take weights: weighted, geometric, rank"),
        ({"method": "stack", "weights": (1, 2)}, "Methods that take weights"),
        ({"method": "geometric", "search": "log_loss"}, "method 'weighted'"),
        ({"method": "weighted", "weights": (1, 2), "search": "log_loss"}, "not both"),
        ({"method": "weighted", "search": "logloss"}, "Did you mean 'log_loss'"),
        ({"method": "stack", "temperature": True}, "leave temperature out"),
        ({"method": "men"}, "Did you mean 'mean'"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        EnsembleConfig(**fields)  # type: ignore[arg-type]


def test_alpha_is_for_two_members() -> None:
    config = EnsembleConfig(method="weighted", search="alpha")
    assert fit_ensemble(make_members(count=2), config).weights is not None
    with pytest.raises(ConfigurationError, match="3 members"):
        fit_ensemble(make_members(), config)


def test_the_gain_is_over_the_member_with_the_lowest_loss_and_has_students_interval() -> None:
    labels = np.array([0, 0, 0, 0])
    losses = {"best": [1.0, 2.0, 3.0, 4.0], "worse": [9.0, 9.0, 9.0, 9.0], "ensemble": [0.5, 1.0, 2.0, 3.0]}

    def predict(name: str) -> Predictions:
        right = np.exp(-np.array(losses[name]))
        rows = np.stack([right, 1 - right], axis=1)
        return replace(make_members(n=4)[0], labels=labels, probabilities=rows, class_names=("x", "y"))

    found = compare_with_best_member(predict("ensemble"), [predict("worse"), predict("best")])
    assert found.member == 1
    assert found.gain == pytest.approx(0.875)
    half = 3.182446 * np.std([0.5, 1, 1, 1], ddof=1) / 2  # t of 3 degrees of freedom
    assert [found.low, found.high] == pytest.approx([0.875 - half, 0.875 + half], 1e-5)
    assert found.verdict == "the ensemble beats its best member"


def test_the_verdict_says_when_the_interval_allows_none() -> None:
    members = make_members(n=2000)
    same = compare_with_best_member(members[0], members[:1])
    assert (same.gain, same.verdict) == (0, "too close to call")
    worse = compare_with_best_member(members[2], members)
    assert worse.verdict == "the best member beats the ensemble"
