"""Losses by name. What they compute is in `tpuens.training.loss_functions`, so that listing them is quick."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ..errors import ConfigurationError
from ..registry import Row, Table

Targets = Literal["index", "vector"]
Activation = Literal["softmax", "sigmoid"]


@dataclass(frozen=True, kw_only=True)
class LossRow(Row):
    """One loss; its factory is the function ``(targets, logits, config) -> (batch,)`` itself.

    Attributes:
        targets: What an example's target is: ``"index"``, the number of its class, int32 (batch,); or
            ``"vector"``, a share of each class, float32 (batch, classes).
        activation: What makes probabilities of the logits: ``"softmax"``, one class an example; or
            ``"sigmoid"``, each class by itself, any number of them an example.
        smooths: Whether it takes label smoothing.
    """

    targets: Targets = "vector"
    activation: Activation = "softmax"
    smooths: bool = True


LOSSES: Table[LossRow] = Table(
    "loss",
    (
        LossRow(
            name="sparse_categorical_crossentropy",
            factory="tpuens.training.loss_functions:sparse_categorical_crossentropy",
            summary="cross-entropy with class numbers; one class an example",
            targets="index",
            smooths=False,
        ),
        LossRow(
            name="categorical_crossentropy",
            factory="tpuens.training.loss_functions:categorical_crossentropy",
            summary="cross-entropy with one-hot or mixed targets, label smoothing; one class an example",
        ),
        LossRow(
            name="categorical_focal",
            factory="tpuens.training.loss_functions:categorical_focal",
            summary="cross-entropy that looks away from the easy (Lin et al. 2017); one class an example",
        ),
        LossRow(
            name="binary_crossentropy",
            factory="tpuens.training.loss_functions:binary_crossentropy",
            summary="a yes or no for every class (sigmoid); any number of classes an example",
            activation="sigmoid",
        ),
    ),
)


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    """Which loss, and how it weighs.

    Attributes:
        name: A name in `LOSSES`.
        label_smoothing: The share of a target that is spread: evenly over the classes under softmax
            [Szegedy et al. 2016], between yes and no under sigmoid. 0 or more and less than 1; not for the
            sparse loss, whose targets are numbers.
        focal_gamma: How fast the focal loss loses interest in an example as its probability grows; 0 is
            cross-entropy. The other losses leave it alone, and `focal_alpha` too.
        focal_alpha: A factor on the whole focal loss, above 0 up to 1; None for 1. What differs from class
            to class is `class_weights`.
        class_weights: A factor, 0 or more, for every class: on the loss of its examples under softmax, on
            its own term under sigmoid. A target of several classes has the mean of their factors, each by
            its share. None for 1.
    """

    name: str = "sparse_categorical_crossentropy"
    label_smoothing: float = 0.0
    focal_gamma: float = 2.0
    focal_alpha: float | None = None
    class_weights: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        row = LOSSES[self.name]
        if not 0 <= self.label_smoothing < 1:
            raise ConfigurationError(
                f"Label smoothing is 0 or more and less than 1. Received: {self.label_smoothing}"
            )
        if self.label_smoothing and not row.smooths:
            smoothing = ", ".join(name for name in LOSSES if LOSSES[name].smooths)
            raise ConfigurationError(
                f"Label smoothing needs targets that are vectors: choose one of {smoothing}. "
                f"Received: label_smoothing={self.label_smoothing} with loss={self.name!r}"
            )
        if not 0 <= self.focal_gamma < np.inf:
            raise ConfigurationError(
                f"The focal loss's gamma is 0 or more; 2 is usual. Received: focal_gamma={self.focal_gamma}"
            )
        if self.focal_alpha is not None and not 0 < self.focal_alpha <= 1:
            raise ConfigurationError(
                f"The focal loss's alpha is above 0 and at most 1. Received: focal_alpha={self.focal_alpha}"
            )
        weights = self.class_weights
        if weights is not None and (
            not all(0 <= weight < np.inf for weight in weights) or not any(weight > 0 for weight in weights)
        ):
            raise ConfigurationError(
                "Class weights are finite numbers of 0 or more, one a class, and not all of them 0. "
                f"Received: class_weights={weights}"
            )


def make_loss(config: LossConfig) -> Callable[[Any, Any], Any]:
    """Returns the loss, from logits and without reduction: (targets, logits) -> (batch,), float32.

    Called with logits of another number of classes than it has weights, it raises ConfigurationError.
    """
    return functools.partial(LOSSES[config.name].load(), config=config)


def targets_of(name: str) -> Targets:
    """Returns what targets the loss of that name takes; see `LossRow`.

    Raises:
        ConfigurationError: The name is unknown.
    """
    return LOSSES[name].targets


def activation_of(name: str) -> Activation:
    """Returns what makes probabilities of the logits that the loss of that name trained; see `LossRow`.

    Raises:
        ConfigurationError: The name is unknown.
    """
    return LOSSES[name].activation


def balanced_class_weights(labels: npt.NDArray[np.integer[Any]], num_classes: int) -> tuple[float, ...]:
    """Returns the weights n / (classes · count) that make all classes weigh the same.

    The formula is scikit-learn's "balanced" [King & Zeng 2001]; n and count are of labels, so an example of
    several classes counts for each of them.

    Args:
        labels: (n,) of 0 … num_classes-1, or multi-label (n, num_classes) of 0 and 1.
        num_classes: How many weights.

    Raises:
        ConfigurationError: A class has no example.
    """
    counts = labels.sum(axis=0) if labels.ndim == 2 else np.bincount(labels, minlength=num_classes)
    if not counts.all():
        raise ConfigurationError(
            "Balanced class weights need at least one training example of every class: give the weights, or "
            f"leave them out. Received: no example of class number {np.flatnonzero(counts == 0)[0]}"
        )
    return tuple(float(weight) for weight in counts.sum() / (num_classes * counts))
