"""An ensemble as it was asked for, and as it was fitted: something that members go into."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import ConfigurationError, DataError, unknown_name_error
from ..evaluation.predictions import Predictions
from .calibration import apply_temperature, fit_temperature
from .combine import METHODS, align_predictions, as_ensemble, check_weights
from .weights import METRICS, search_alpha, search_weights

SEARCHES = (*METRICS, "alpha")

Pool = Callable[[Sequence[np.ndarray]], np.ndarray]


@dataclass(frozen=True, kw_only=True)
class EnsembleConfig:
    """How members are to be combined.

    Attributes:
        method: A name in `METHODS`.
        weights: One a member, for the methods that take weights.
        search: What weights are searched by, for ``"weighted"``: a metric of `search_weights`, or ``"alpha"``
            for the grid of two models by macro F1.
        temperature: Whether each member's confidence is scaled first.

    Raises:
        ConfigurationError: These do not go together.
    """

    method: str = "mean"
    weights: tuple[float, ...] | None = None
    search: str | None = None
    temperature: bool = False

    def __post_init__(self) -> None:
        row = METHODS[self.method]
        if self.search is not None and self.search not in SEARCHES:
            raise unknown_name_error("search", "search", self.search, SEARCHES)
        if self.weights is not None and self.search is not None:
            raise ConfigurationError(
                "Weights are given or searched, not both. "
                f"Received: weights={list(self.weights)} and search={self.search!r}"
            )
        if self.weights is not None and not row.takes_weights:
            able = ", ".join(name for name, one in METHODS.items() if one.takes_weights)
            raise ConfigurationError(
                f"Methods that take weights: {able}. Received: weights with method={self.method!r}"
            )
        if self.search is not None and self.method != "weighted":
            raise ConfigurationError(
                "Weights are searched for the weighted mean of probabilities: method 'weighted'. "
                f"Received: search={self.search!r} with method={self.method!r}"
            )
        if self.method == "weighted" and self.weights is None and self.search is None:
            raise ConfigurationError(
                "A weighted mean needs weights, one a member, or a search for them by one of: "
                f"{', '.join(SEARCHES)}. Received: method='weighted' with neither"
            )
        if self.temperature and row.learns:
            raise ConfigurationError(
                "A stacked regression scales log probabilities itself: leave temperature out. "
                f"Received: temperature with method={self.method!r}"
            )

    @property
    def is_fitted(self) -> bool:
        """Whether labels are needed: something is learnt from them."""
        return self.search is not None or self.temperature or METHODS[self.method].learns


@dataclass(frozen=True, kw_only=True)
class Ensemble:
    """What `fit_ensemble` found.

    Attributes:
        config: What was asked.
        weights: One a member; None where the method has none.
        temperatures: One a member; None where they are not scaled.
        pool: From the members' probabilities, each (n, classes), to the ensemble's.
    """

    config: EnsembleConfig
    weights: tuple[float, ...] | None
    temperatures: tuple[float, ...] | None
    pool: Pool

    def combine(self, members: Sequence[Predictions]) -> Predictions:
        """Returns the ensemble's predictions of what its members, in the order of the fit, predicted.

        Raises:
            DataError: The members are not about the same examples and classes.
        """
        aligned = align_predictions(members)
        pooled = self.pool([member.probabilities for member in aligned])
        return as_ensemble(aligned, pooled, self.config.method)


def fit_ensemble(members: Sequence[Predictions], config: EnsembleConfig) -> Ensemble:
    """Returns an ensemble fitted to labelled predictions; unlabelled ones do where nothing is fitted.

    Raises:
        ConfigurationError: Weights do not fit, or α is asked for other than two members.
        DataError: The members do not go together, or labels are needed and missing.
    """
    aligned = align_predictions(members)
    labels = known_labels(aligned) if config.is_fitted else None
    return fit_arrays(
        [member.probabilities for member in aligned], labels, config, multi_label=aligned[0].is_multi_label
    )


def fit_arrays(
    members: Sequence[np.ndarray], labels: np.ndarray | None, config: EnsembleConfig, *, multi_label: bool
) -> Ensemble:
    """Returns an ensemble fitted to members' probabilities, each (n, classes), of the same examples.

    Args:
        members: In the order in which `Ensemble.pool` will be given others.
        labels: As in `Predictions`; None where nothing is to be fitted.
        config: How they are combined.
        multi_label: Whether classes do not exclude each other.

    Raises:
        ConfigurationError: Weights do not fit, or α is asked for other than two members.
    """
    row = METHODS[config.method]
    if row.learns:
        pool = row.load()(members, labels)
        return Ensemble(config=config, weights=None, temperatures=None, pool=pool)
    temperatures = None
    if config.temperature:
        assert labels is not None
        temperatures = tuple(fit_temperature(member, labels) for member in members)
        members = _scale(members, temperatures, multi_label)
    weights = _find_weights(members, labels, config)
    combine = row.load()

    def pool_scaled(members: Sequence[np.ndarray]) -> np.ndarray:
        scaled = members if temperatures is None else _scale(members, temperatures, multi_label)
        return np.asarray(combine(scaled, weights, multi_label=multi_label))

    return Ensemble(
        config=config,
        weights=tuple(float(weight) for weight in weights),
        temperatures=temperatures,
        pool=pool_scaled,
    )


def known_labels(aligned: Sequence[Predictions]) -> np.ndarray:
    """Returns the labels of aligned members.

    Raises:
        DataError: None of them has any.
    """
    for member in aligned:
        if member.labels is not None:
            return member.labels
    raise DataError(
        "Weights, temperatures and stacked regressions are fitted to labelled examples: use predictions of a "
        "part that has labels, such as validation. "
        f"Received: {', '.join(member.source for member in aligned)}, all unlabelled"
    )


def _find_weights(
    members: Sequence[np.ndarray], labels: np.ndarray | None, config: EnsembleConfig
) -> np.ndarray:
    if config.search is None:
        return check_weights(config.weights, len(members))
    assert labels is not None
    if config.search != "alpha":
        return np.array(search_weights(members, labels, config.search).weights)
    if len(members) != 2:
        raise ConfigurationError(
            "The search 'alpha' weighs two members; for more, search by macro_f1. "
            f"Received: {len(members)} members"
        )
    return np.array(search_alpha(members[0], members[1], labels).weights)


def _scale(
    members: Sequence[np.ndarray], temperatures: Sequence[float], multi_label: bool
) -> list[np.ndarray]:
    return [
        apply_temperature(member, temperature, multi_label=multi_label)
        for member, temperature in zip(members, temperatures, strict=True)
    ]
