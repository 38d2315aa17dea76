"""An evaluated ensemble in numbers and words, for tables and reports."""

from collections.abc import Mapping, Sequence
from typing import Any

from ..evaluation.metrics import accuracy_interval, score_predictions
from ..evaluation.predictions import Predictions
from .honesty import Evaluation, compare_with_best_member


def describe_evaluation(evaluation: Evaluation, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Returns a row for each member and one called ``"ensemble"``, which says what the scores rest on.

    A row holds, where there is one: ``weight``, ``temperature``, the scores by name, ``accuracy_interval``
    (95 %). The ensemble's has besides ``method``, ``search``, ``fitted_on``, ``scored_on``, and
    ``log_loss_gain``: the member it is compared with, the mean, its interval, and the verdict in words. An
    ensemble of ranks, which are no probabilities, has of all these scores the area under the ROC curve alone.

    Args:
        evaluation: From `evaluate_ensemble`.
        names: The members', each once.
    """
    fitted = evaluation.ensemble
    rows: dict[str, dict[str, Any]] = {}
    for index, name in enumerate(names):
        row: dict[str, Any] = {}
        if fitted.weights is not None:
            row["weight"] = fitted.weights[index]
        if fitted.temperatures is not None:
            row["temperature"] = fitted.temperatures[index]
        if evaluation.scored is not None:
            row |= _score(evaluation.scored_members[index])
        rows[name] = row
    whole: dict[str, Any] = {} if evaluation.scored is None else _score(evaluation.scored)
    whole |= {
        "method": fitted.config.method,
        "search": fitted.config.search,
        "fitted_on": evaluation.fitted_on,
        "scored_on": evaluation.scored_on,
    }
    if evaluation.scored is not None and len(evaluation.scored) > 1 and not evaluation.scored.ranks:
        gain = compare_with_best_member(evaluation.scored, evaluation.scored_members)
        whole["log_loss_gain"] = {
            "over": names[gain.member],
            "mean": gain.gain,
            "interval": [gain.low, gain.high],
            "verdict": gain.verdict,
        }
    return rows | {"ensemble": whole}


def format_basis(ensemble: Mapping[str, Any]) -> list[str]:
    """Returns in words how an ensemble was made, what its scores rest on, and whether it beats its members.

    Args:
        ensemble: The row ``"ensemble"`` of `describe_evaluation`.
    """
    how = f", weights searched by {ensemble['search']}" if ensemble["search"] else ""
    lines = [
        f"method: {ensemble['method']}{how}",
        f"fitted on: {ensemble['fitted_on']}",
        f"scored on: {ensemble['scored_on']}",
    ]
    if gain := ensemble.get("log_loss_gain"):
        low, high = gain["interval"]
        lines.append(
            f"log loss of the best member ({gain['over']}) less the ensemble's: {gain['mean']:+.4f} "
            f"({low:+.4f} to {high:+.4f}, 95 %): {gain['verdict']}"
        )
    return lines


def _score(predictions: Predictions) -> dict[str, Any]:
    scores = score_predictions(predictions)
    if predictions.ranks:
        area = scores.macro_roc_auc
        return {} if area is None else {"macro_roc_auc": area}
    right = round(scores.top_1_accuracy * len(predictions))
    return scores.as_dict() | {"accuracy_interval": list(accuracy_interval(right, len(predictions)))}
