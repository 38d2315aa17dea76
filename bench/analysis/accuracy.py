"""What the accuracy metrics of a record say: of a model at its end, of an ensemble and its members."""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..records.record import Metric, Parameter

Scores = dict[str, float]


@dataclass(frozen=True, kw_only=True)
class SeedAccuracy:
    """The top-1 accuracies of one seed: of each member by itself, and of the ensemble of them."""

    seed: Parameter
    members: tuple[float, ...]
    ensemble: float | None

    @property
    def gain(self) -> float | None:
        """Returns by how much the ensemble passes the mean of its own members, as a share of examples."""
        if self.ensemble is None or not self.members:
            return None
        return self.ensemble - statistics.fmean(self.members)


def final_accuracy(metrics: Iterable[Metric]) -> float | None:
    """Returns the top-1 accuracy that a run ended with; None where it recorded none of a whole model.

    That is the last epoch's, of test or validation examples rather than of training examples; the median
    where several seeds stand beside each other.
    """
    candidates = [
        metric for metric in metrics if metric.name == "top_1_accuracy" and "member" not in metric.parameters
    ]
    held_out = [metric for metric in candidates if metric.parameters.get("split") != "train"] or candidates
    last = max((_epoch(metric) for metric in held_out), default=None)
    values = [metric.value for metric in held_out if _epoch(metric) == last]
    return statistics.median(values) if values else None


def accuracies_by_seed(metrics: Iterable[Metric]) -> list[SeedAccuracy]:
    """Returns the top-1 accuracies of an ensemble run, seed by seed in the order of recording."""
    seeds: dict[Parameter, tuple[list[float], list[float]]] = {}
    for metric in metrics:
        if metric.name == "top_1_accuracy" and "of" in metric.parameters:
            ensembles, members = seeds.setdefault(metric.parameters.get("seed", 0), ([], []))
            (ensembles if metric.parameters["of"] == "ensemble" else members).append(metric.value)
    return [
        SeedAccuracy(seed=seed, members=tuple(members), ensemble=ensembles[0] if ensembles else None)
        for seed, (ensembles, members) in seeds.items()
    ]


def ensemble_scores(metrics: Iterable[Metric]) -> tuple[list[Scores], list[Scores]]:
    """Returns the scores of each seed's ensemble, and of each member of each seed."""
    groups: dict[bool, dict[tuple[object, object], Scores]] = {True: {}, False: {}}
    for metric in metrics:
        if "of" in metric.parameters:
            of_ensemble = metric.parameters["of"] == "ensemble"
            key = (metric.parameters.get("seed"), metric.parameters.get("member"))
            groups[of_ensemble].setdefault(key, {})[metric.name] = metric.value
    return list(groups[True].values()), list(groups[False].values())


def arm_scores(metrics: Iterable[Metric]) -> dict[str, Scores]:
    """Returns the scores of each arm of an agreement run, in the order of recording."""
    arms: dict[str, Scores] = {}
    for metric in metrics:
        if "arm" in metric.parameters:
            arms.setdefault(str(metric.parameters["arm"]), {})[metric.name] = metric.value
    return arms


def median_scores(scores: Sequence[Scores]) -> Scores:
    """Returns the median of each score over those that have it."""
    names = dict.fromkeys(name for one in scores for name in one)
    return {name: statistics.median(one[name] for one in scores if name in one) for name in names}


def _epoch(metric: Metric) -> float:
    """Returns the epoch of a metric; one without an epoch is of the whole run and counts as the last."""
    epoch = metric.parameters.get("epoch")
    return float(epoch) if epoch is not None else float("inf")
