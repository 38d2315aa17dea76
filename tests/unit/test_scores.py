"""Predictions become metrics and outcomes of single examples."""

import numpy as np

from bench.records.record import Outcomes
from bench.scenarios.scores import make_metrics, make_outcomes
from tpuens.evaluation.predictions import Predictions


def predictions(*ids: str) -> Predictions:
    return Predictions(
        ids=np.array(ids),
        probabilities=np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]], np.float32),
        labels=np.array([0, 1, 1]),
        class_names=("cat", "dog"),
        source="a run",
    )


def test_outcomes_say_of_each_example_whether_it_was_right() -> None:
    outcomes = make_outcomes(predictions("a", "b", "c"), {"arm": "jit"})
    assert outcomes == Outcomes(
        parameters={"arm": "jit"}, right="101", examples_fingerprint=outcomes.examples_fingerprint
    )
    metrics = {metric.name: metric.value for metric in make_metrics(predictions("a", "b", "c"), {})}
    assert metrics["top_1_accuracy"] == 2 / 3


def test_other_examples_or_another_order_have_another_fingerprint() -> None:
    prints = [
        make_outcomes(predictions(*ids), {}).examples_fingerprint for ids in ("abc", "abc", "abd", "acb")
    ]
    assert prints[0] == prints[1]
    assert len(set(prints)) == 3
    assert len(prints[0]) == 16
