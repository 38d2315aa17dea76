"""Temperatures and stacks: what is learnt from labels beside weights."""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from tpuens.ensembling.calibration import apply_temperature, fit_temperature, from_logits, to_logits
from tpuens.ensembling.combine import geometric_mean
from tpuens.ensembling.stacking import fit_stack
from tpuens.evaluation.scoring import log_loss


def draw(seed: int, *, sharpness: float, n: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    """Returns probabilities of a model whose logits are `sharpness` times the true ones, and labels."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n, 4)) * 2
    truth = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = (rng.random(n)[:, None] > truth.cumsum(axis=1)).sum(axis=1)
    return from_logits(sharpness * logits, multi_label=False), labels


@pytest.mark.parametrize("sharpness", [0.5, 1.0, 3.0])
def test_the_temperature_undoes_too_much_or_too_little_confidence(sharpness: float) -> None:
    probabilities, labels = draw(0, sharpness=sharpness)
    assert fit_temperature(probabilities, labels) == pytest.approx(sharpness, rel=0.06)


@pytest.mark.parametrize("multi_label", [False, True])
def test_no_other_temperature_has_a_lower_log_loss(multi_label: bool) -> None:
    rng = np.random.default_rng(1)
    if multi_label:
        labels = (rng.random((200, 3)) < 0.4).astype(np.int64)
        probabilities = from_logits(4 * labels - 2 + 6 * rng.normal(size=(200, 3)), multi_label=True)
    else:
        probabilities, labels = draw(1, sharpness=2.0, n=200)

    def loss(temperature: float) -> float:
        return log_loss(labels, apply_temperature(probabilities, temperature, multi_label=multi_label))

    best = minimize_scalar(loss, bounds=(0.1, 19), method="bounded", options={"xatol": 1e-6})
    assert fit_temperature(probabilities, labels) == pytest.approx(best.x, rel=1e-3)


def test_a_model_that_is_never_wrong_keeps_a_finite_temperature() -> None:
    labels = np.array([0, 1, 0, 1])
    sure = np.eye(2, dtype=np.float32)[labels]
    for probabilities in (sure, 0.5 * sure + 0.25):
        temperature = fit_temperature(probabilities, labels)
        assert 0.05 <= temperature <= 20
        assert np.isfinite(apply_temperature(probabilities, temperature)).all()


def test_temperature_one_changes_nothing_and_rows_stay_probabilities() -> None:
    probabilities, _ = draw(2, sharpness=1.0, n=50)
    assert apply_temperature(probabilities, 1.0) == pytest.approx(probabilities, abs=1e-6)
    assert apply_temperature(probabilities, 2.0).sum(axis=1) == pytest.approx(np.ones(50), abs=1e-6)


def test_logits_of_certain_predictions_are_finite_and_lead_back() -> None:
    certain = np.array([[0.0, 1.0], [0.3, 0.7]], np.float32)
    for multi_label in (False, True):
        logits = to_logits(certain, multi_label=multi_label)
        assert np.isfinite(logits).all()
        assert from_logits(logits, multi_label=multi_label) == pytest.approx(certain, abs=1e-6)


def test_a_stack_learns_whom_to_trust_and_mends_a_class_that_is_named_too_often() -> None:
    good, labels = draw(3, sharpness=1.0)
    bad = draw(4, sharpness=1.0)[0]  # about other examples
    shifted = good * np.array([4, 1, 1, 1], np.float32)
    shifted /= shifted.sum(axis=1, keepdims=True)
    fit, new = slice(0, 2000), slice(2000, None)
    stack = fit_stack([shifted[fit], bad[fit]], labels[fit])
    assert abs(stack.coefficients[1]) < 0.1
    assert stack.intercepts[0] < stack.intercepts[1:].min() - 0.5
    combined = stack([shifted[new], bad[new]])
    assert combined.sum(axis=1) == pytest.approx(np.ones(2000), abs=1e-5)
    assert log_loss(labels[new], combined) < log_loss(labels[new], shifted[new]) - 0.05


def test_a_stack_that_has_learnt_nothing_is_the_geometric_mean() -> None:
    a, labels = draw(5, sharpness=1.0, n=20)
    b = draw(6, sharpness=1.0, n=20)[0]
    stack = fit_stack([a[:0], b[:0]], labels[:0])
    assert stack([a, b]) == pytest.approx(geometric_mean([a, b], np.array([0.5, 0.5])), abs=1e-4)


def test_a_stack_of_multi_label_predictions_gives_each_class_its_own_probability() -> None:
    rng = np.random.default_rng(7)
    labels = (rng.random((600, 3)) < [0.1, 0.5, 0.9]).astype(np.int64)
    members = [
        from_logits(3 * labels - 1.5 + 3 * rng.normal(size=(600, 3)), multi_label=True) for _ in range(2)
    ]
    stack = fit_stack([member[:400] for member in members], labels[:400])
    combined = stack([member[400:] for member in members])
    assert combined.shape == (200, 3)
    assert log_loss(labels[400:], combined) < min(log_loss(labels[400:], m[400:]) for m in members) - 0.1
