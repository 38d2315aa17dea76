"""What predictions come to: metrics, and which examples were right, one by one."""

import hashlib
import json
from collections.abc import Mapping

from tpuens.evaluation.metrics import find_right, score_predictions
from tpuens.evaluation.predictions import Predictions

from ..records.record import Metric, Outcomes, Parameter


def make_metrics(predictions: Predictions, parameters: Mapping[str, Parameter]) -> list[Metric]:
    """Returns the scores of labelled predictions, by name."""
    return [
        Metric(name=name, value=value, parameters=dict(parameters))
        for name, value in score_predictions(predictions).as_dict().items()
    ]


def make_outcomes(predictions: Predictions, parameters: Mapping[str, Parameter]) -> Outcomes:
    """Returns which of the examples are right, in their own order."""
    assert predictions.labels is not None, "scenarios predict what is labelled"
    right = find_right(predictions.labels, predictions.probabilities)
    ids = json.dumps(predictions.ids.tolist())
    return Outcomes(
        parameters=dict(parameters),
        right="".join("1" if one else "0" for one in right),
        examples_fingerprint=hashlib.sha256(ids.encode()).hexdigest()[:16],
    )
