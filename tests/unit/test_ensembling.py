from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tpuens.ensembling.combine import METHODS, combine_predictions, geometric_mean, rank_average
from tpuens.errors import ConfigurationError, DataError, RunError
from tpuens.evaluation.metrics import compute_calibration_error, compute_scores, score_predictions
from tpuens.evaluation.predictions import Predictions, check_predictions, load_predictions, save_predictions


def predictions(rows: list[list[float]], ids: str = "abc", source: str = "one") -> Predictions:
    return Predictions(
        ids=np.array(list(ids)),
        probabilities=np.array(rows, np.float32),
        labels=np.array([0, 1, 2])[: len(ids)],
        class_names=("x", "y", "z"),
        source=source,
    )


SURE = [[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.1, 0.1, 0.8]]
FLAT = [[0.2, 0.4, 0.4], [0.4, 0.2, 0.4], [0.4, 0.4, 0.2]]


def test_the_mean_weighs_every_member_alike() -> None:
    combined = combine_predictions([predictions(SURE), predictions(FLAT)])
    assert combined.probabilities == pytest.approx(np.array(SURE) / 2 + np.array(FLAT) / 2)
    assert combined.source == "ensemble"


def test_weights_are_scaled_to_sum_to_one() -> None:
    combined = combine_predictions([predictions(SURE), predictions(FLAT)], [3, 1])
    assert combined.probabilities == pytest.approx(np.array(SURE) * 0.75 + np.array(FLAT) * 0.25)


def test_members_in_another_order_are_aligned_by_id() -> None:
    turned = Predictions(
        ids=np.array(["c", "a", "b"]),
        probabilities=np.array([SURE[2], SURE[0], SURE[1]], np.float32),
        labels=np.array([2, 0, 1]),
        class_names=("x", "y", "z"),
        source="turned",
    )
    assert combine_predictions([predictions(SURE), turned]).probabilities == pytest.approx(np.array(SURE))


def test_members_about_other_examples_are_refused_with_the_first_that_differ() -> None:
    with pytest.raises(DataError, match=r"only there: b\).*only there: d\)"):
        combine_predictions([predictions(SURE), predictions(SURE, ids="adc", source="two")])


def test_members_with_other_classes_are_refused() -> None:
    other = replace(predictions(SURE), class_names=("x", "q", "z"))
    with pytest.raises(DataError, match="'y' and 'q'"):
        combine_predictions([predictions(SURE), other])


def test_members_that_disagree_on_labels_are_refused() -> None:
    other = replace(predictions(SURE), labels=np.array([0, 2, 2]))
    with pytest.raises(DataError, match="differ at ids b"):
        combine_predictions([predictions(SURE), other])


@pytest.mark.parametrize("weights", [[1.0], [1.0, -1.0], [0.0, 0.0], [float("nan"), 1.0]])
def test_weights_that_make_no_mean_are_refused(weights: list[float]) -> None:
    with pytest.raises(ConfigurationError):
        combine_predictions([predictions(SURE), predictions(FLAT)], weights)


@pytest.mark.parametrize("name", [name for name, row in METHODS.items() if not row.learns])
def test_every_method_gives_probabilities_and_keeps_members_that_agree(name: str) -> None:
    weights = [0.3, 0.7] if METHODS[name].takes_weights else None
    combined = combine_predictions([predictions(SURE), predictions(SURE)], weights, method=name)
    assert combined.probabilities.dtype == np.float32
    check_predictions(combined)
    assert combined.ranks == METHODS[name].gives_ranks
    assert combined.ranks or combined.probabilities.sum(axis=1) == pytest.approx(np.ones(3))
    assert combined.probabilities.argmax(axis=1).tolist() == [0, 1, 2]


def test_the_geometric_mean_is_that_of_logarithms() -> None:
    combined = combine_predictions([predictions(SURE), predictions(FLAT)], [1, 3], method="geometric")
    expected = np.array(SURE) ** 0.25 * np.array(FLAT) ** 0.75
    assert combined.probabilities == pytest.approx(expected / expected.sum(axis=1, keepdims=True), abs=1e-6)


def test_the_geometric_mean_of_multi_label_predictions_is_that_of_odds() -> None:
    a, b = np.array([[0.9, 0.2]], np.float32), np.array([[0.6, 0.5]], np.float32)
    odds = np.sqrt(a / (1 - a) * b / (1 - b))
    combined = geometric_mean([a, b], np.array([0.5, 0.5]), multi_label=True)
    assert combined == pytest.approx(odds / (1 + odds), abs=1e-6)


def test_a_member_that_rules_a_class_out_leaves_the_geometric_mean_finite() -> None:
    certain = np.array([[1.0, 0.0], [0.0, 1.0]], np.float32)
    for multi_label in (False, True):
        combined = geometric_mean([certain, certain[::-1]], np.array([0.5, 0.5]), multi_label=multi_label)
        assert combined == pytest.approx(np.full((2, 2), 0.5), abs=1e-3)


def test_ranks_are_shares_of_the_examples_and_ties_share_theirs() -> None:
    column = np.array([[0.1], [0.4], [0.4], [0.9]], np.float32)
    ranks = rank_average([column, column**9], np.array([0.5, 0.5]), multi_label=True)
    assert ranks[:, 0] == pytest.approx([1 / 4, 2.5 / 4, 2.5 / 4, 1])


def test_ranks_keep_the_order_of_every_column_through_file_and_score(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    labels = generator.permutation(np.repeat([0, 1, 2, 3], [300, 300, 30, 370]))
    logits = 3.0 * np.eye(4)[labels]

    def member() -> Predictions:
        rows = np.exp(logits + generator.normal(0, 1.2, logits.shape))
        probabilities = (rows / rows.sum(axis=1, keepdims=True)).astype(np.float32)
        return replace(predictions(probabilities), ids=np.arange(1000).astype(str), labels=labels,
                       class_names=("a", "b", "c", "d"))  # fmt: skip

    members = [member() for _ in range(3)]
    save_predictions(tmp_path / "ranks.npz", combine_predictions(members, method="rank"))
    ranked = score_predictions(load_predictions(tmp_path / "ranks.npz")).macro_roc_auc
    mean = score_predictions(combine_predictions(members)).macro_roc_auc
    alone = max(score_predictions(one).macro_roc_auc or 0 for one in members)
    assert ranked is not None
    assert mean is not None
    assert ranked > alone
    with pytest.raises(ConfigurationError, match="Ranks are no probabilities"):
        combine_predictions([members[0], load_predictions(tmp_path / "ranks.npz")])
    assert ranked == pytest.approx(mean, abs=0.002)


def test_the_methods_that_learn_or_take_no_weights_say_so() -> None:
    members = [predictions(SURE), predictions(FLAT)]
    with pytest.raises(ConfigurationError, match="learns from labels"):
        combine_predictions(members, method="stack")
    with pytest.raises(ConfigurationError, match="takes weights"):
        combine_predictions(members, [1, 2], method="mean")
    with pytest.raises(ConfigurationError, match="Did you mean 'geometric'"):
        combine_predictions(members, method="geometrc")


def multi_label(labels: list[list[int]] | None, **fields: object) -> Predictions:
    rows = np.array([[0.9, 0.8, 0.1], [0.2, 0.1, 0.0], [0.5, 0.5, 1.0]], np.float32)
    known = None if labels is None else np.array(labels)
    return replace(predictions(SURE), probabilities=rows, labels=known, **fields)  # type: ignore[arg-type]


MANY = [[1, 1, 0], [0, 0, 0], [0, 1, 1]]


def test_multi_label_predictions_are_kept_and_combined(tmp_path: Path) -> None:
    save_predictions(tmp_path / "p.npz", multi_label(MANY))
    read = load_predictions(tmp_path / "p.npz")
    assert read.is_multi_label
    assert read.labels is not None
    assert read.labels.tolist() == MANY
    combined = combine_predictions([read, replace(read, labels=None, sigmoid=True)])
    assert combined.probabilities == pytest.approx(read.probabilities)


def test_unlabelled_multi_label_predictions_need_to_be_told_from_wrong_ones(tmp_path: Path) -> None:
    save_predictions(tmp_path / "p.npz", multi_label(None, sigmoid=True))
    assert load_predictions(tmp_path / "p.npz").is_multi_label
    save_predictions(tmp_path / "q.npz", multi_label(None))
    with pytest.raises(DataError, match=r"sum to 1.*q\.npz"):
        load_predictions(tmp_path / "q.npz")


def test_members_whose_classes_may_meet_are_not_combined_with_others() -> None:
    with pytest.raises(DataError, match="labels of one kind"):
        combine_predictions([predictions(SURE), multi_label(MANY)])
    with pytest.raises(DataError, match="differ at ids b"):
        combine_predictions([multi_label(MANY), multi_label([MANY[0], [0, 0, 1], MANY[2]])])


def test_labels_of_unlabelled_first_members_are_still_compared() -> None:
    unlabelled = replace(predictions(SURE), labels=None)
    other = replace(predictions(SURE), labels=np.array([0, 2, 2]))
    with pytest.raises(DataError, match="differ at ids b"):
        combine_predictions([unlabelled, predictions(SURE), other])


def test_a_single_member_is_no_ensemble() -> None:
    with pytest.raises(ConfigurationError, match="at least two"):
        combine_predictions([predictions(SURE)])


def test_scores_are_those_computed_by_hand() -> None:
    scores = score_predictions(predictions([SURE[0], SURE[1], [0.5, 0.3, 0.2]]))
    assert scores.top_1_accuracy == pytest.approx(2 / 3)
    assert scores.log_loss == pytest.approx(-(2 * np.log(0.8) + np.log(0.2)) / 3, rel=1e-5)
    assert scores.macro_f1 == pytest.approx((2 / 3 + 1 + 0) / 3)
    # x against the rest and y against the rest are told apart, z is too: 0.2 is above both 0.1s.
    assert scores.macro_roc_auc == pytest.approx(1.0)


def test_calibration_error_is_the_gap_between_confidence_and_accuracy() -> None:
    sure_and_half_right = np.array([[0.9, 0.1]] * 10)
    labels = np.array([0] * 5 + [1] * 5)
    assert compute_calibration_error(labels, sure_and_half_right) == pytest.approx(0.4)
    spread = np.array([[0.9, 0.1]] * 10 + [[0.4, 0.6]] * 10)
    labels = np.array([0] * 9 + [1] + [1] * 6 + [0] * 4)
    assert compute_calibration_error(labels, spread) == pytest.approx(0.0, abs=1e-9)


def test_auc_is_left_out_where_a_class_has_no_example() -> None:
    scores = compute_scores(np.array([0, 0, 1]), np.array(SURE))
    assert scores.macro_roc_auc is None
    assert "macro_roc_auc" not in scores.as_dict()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_predictions_of_a_model_that_diverged_are_not_scored(bad: float) -> None:
    probabilities = np.array(SURE)
    probabilities[1] = bad
    with pytest.raises(RunError, match=r"lower learning rate.*1 of 3 examples") as caught:
        compute_scores(np.array([0, 1, 2]), probabilities)
    assert caught.value.exit_code == 1


def test_predictions_are_read_back_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "p.npz"
    save_predictions(path, predictions(SURE))
    read = load_predictions(path)
    assert read.ids.tolist() == ["a", "b", "c"]
    assert read.probabilities == pytest.approx(np.array(SURE))
    assert read.labels is not None
    assert read.labels.tolist() == [0, 1, 2]
    assert (read.class_names, read.source) == (("x", "y", "z"), "one")
    assert [file.name for file in path.parent.iterdir()] == ["p.npz"]


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (predictions([[float("nan"), 0.5, 0.5], SURE[1], SURE[2]]), "finite.*first ids a"),
        (predictions([SURE[0], [0.5, 0.6, 0.5], SURE[2]]), "sum to 1.*first ids b"),
        (predictions([SURE[0], SURE[1], [1.5, -0.5, 0.0]]), "between 0 and 1.*first ids c"),
        (predictions([SURE[0], SURE[1]]), "one row an id"),
        (predictions(SURE, ids="aba"), "only once.*Received: a more than once"),
        (replace(predictions(SURE), labels=np.array([0, 3, 1])), r"in 0\.\.2.*first ids b"),
        (replace(predictions(SURE), labels=np.array([0, 1])), "one label an id"),
        (multi_label([[1, 1, 0], [0, 0, 2], [0, 1, 1]]), r"in 0\.\.1.*first ids b"),
        (multi_label([[1, 1], [0, 0], [0, 1]]), "a 0 or 1 for every id and class"),
    ],
    ids=["nan", "sum", "range", "rows", "twice", "label", "labels", "labels of 2", "labels of 2 classes"],
)
def test_a_file_with_what_cannot_be_predictions_is_refused_by_name(
    broken: Predictions, message: str, tmp_path: Path
) -> None:
    save_predictions(tmp_path / "p.npz", broken)
    with pytest.raises(DataError, match=rf"{message}.*p\.npz") as caught:
        load_predictions(tmp_path / "p.npz")
    assert caught.value.exit_code == 2


def test_compressed_files_of_earlier_versions_are_read(tmp_path: Path) -> None:
    np.savez_compressed(
        tmp_path / "old.npz",
        ids=np.array(["a", "b", "c"]),
        probabilities=np.array(SURE, np.float32),
        class_names=np.array(["x", "y", "z"]),
        source=np.array("old"),
        labels=np.array([0, 1, 2]),
    )
    read = load_predictions(tmp_path / "old.npz")
    assert (len(read), read.is_multi_label, read.source) == (3, False, "old")


def test_a_truncated_prediction_file_is_refused_by_name(tmp_path: Path) -> None:
    save_predictions(tmp_path / "p.npz", predictions(SURE))
    whole = (tmp_path / "p.npz").read_bytes()
    (tmp_path / "p.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"cannot be read.*p\.npz"):
        load_predictions(tmp_path / "p.npz")


def test_a_file_that_is_no_prediction_file_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "p.npz").write_text("not a zip")
    with pytest.raises(DataError, match=r"p\.npz"):
        load_predictions(tmp_path / "p.npz")
    with pytest.raises(DataError, match="No such prediction file"):
        load_predictions(tmp_path / "q.npz")
