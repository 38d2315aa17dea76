"""Which losses there are, what they refuse, and class weights: all without TensorFlow."""

import numpy as np
import pytest
from sklearn.utils.class_weight import compute_class_weight

from tpuens.errors import ConfigurationError
from tpuens.training.losses import LOSSES, LossConfig, activation_of, balanced_class_weights, targets_of


def test_only_the_sparse_loss_takes_class_numbers_and_only_the_binary_one_is_a_sigmoid() -> None:
    assert {name: (targets_of(name), activation_of(name)) for name in LOSSES} == {
        "sparse_categorical_crossentropy": ("index", "softmax"),
        "categorical_crossentropy": ("vector", "softmax"),
        "categorical_focal": ("vector", "softmax"),
        "binary_crossentropy": ("vector", "sigmoid"),
    }


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "binary_crossentropi"}, "Did you mean 'binary_crossentropy'"),
        ({"name": "categorical_crossentropy", "label_smoothing": 1.0}, "less than 1"),
        ({"name": "categorical_crossentropy", "label_smoothing": float("nan")}, "less than 1"),
        ({"label_smoothing": 0.1}, "choose one of categorical_crossentropy, categorical_focal"),
        ({"name": "categorical_focal", "focal_gamma": -1.0}, "gamma"),
        ({"name": "categorical_focal", "focal_alpha": 0.0}, "alpha"),
        ({"class_weights": (1.0, -1.0)}, "Class weights"),
        ({"class_weights": (0.0, 0.0)}, "Class weights"),
        ({"class_weights": (1.0, float("inf"))}, "Class weights"),
        ({"class_weights": ()}, "Class weights"),
    ],
)
def test_what_no_loss_can_use_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        LossConfig(**options)  # type: ignore[arg-type]


def test_balanced_weights_are_those_of_scikit_learn() -> None:
    labels = np.array([0, 0, 0, 1, 2, 2, 0, 1])
    expected = compute_class_weight("balanced", classes=np.arange(3), y=labels)
    assert balanced_class_weights(labels, 3) == pytest.approx(expected.tolist())
    assert balanced_class_weights(np.eye(3, dtype=int)[labels], 3) == pytest.approx(expected.tolist())


def test_balanced_weights_of_several_classes_an_example_count_labels() -> None:
    labels = np.array([[1, 1], [1, 0], [1, 0], [0, 0]])
    assert balanced_class_weights(labels, 2) == pytest.approx((4 / 6, 4 / 2))


def test_balanced_weights_want_an_example_of_every_class() -> None:
    with pytest.raises(ConfigurationError, match="class number 2"):
        balanced_class_weights(np.array([0, 1, 0]), 4)
