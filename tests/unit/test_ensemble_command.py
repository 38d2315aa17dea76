"""`tpuens ensemble` as it is called: what it writes and says, and which calls it refuses."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from tpuens.commands.ensemble import ensemble
from tpuens.errors import TpuensError
from tpuens.evaluation.predictions import Predictions, load_predictions, save_predictions

app = typer.Typer()
app.command()(ensemble)


def call(*arguments: str | Path) -> Any:
    return CliRunner(env={"COLUMNS": "200"}).invoke(app, [str(one) for one in arguments])


def refusal(*arguments: str | Path) -> str:
    result = call(*arguments)
    assert isinstance(result.exception, TpuensError), result.output
    assert result.exception.exit_code == 2
    return str(result.exception)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The folders of two runs: 120 validation, 80 test and 40 unlabelled "kaggle" examples."""
    rng = np.random.default_rng(0)
    root = tmp_path_factory.mktemp("runs")
    for part, count in (("validation", 120), ("test", 80), ("kaggle", 40)):
        labels = rng.integers(0, 3, count)
        for run in ("one", "two"):
            logits = 2 * np.eye(3)[labels] + rng.normal(size=(count, 3))
            rows = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
            predictions = Predictions(
                ids=np.array([f"{part}_{index}" for index in range(count)]),
                probabilities=rows.astype(np.float32),
                labels=None if part == "kaggle" else labels,
                class_names=("x", "y", "z"),
                source=run,
            )
            save_predictions(root / run / "predictions" / f"{part}.npz", predictions)
    return [root / "one", root / "two"]


def test_weights_are_fitted_on_validation_and_scored_on_test(runs: list[Path], tmp_path: Path) -> None:
    result = call(*runs, "--search", "log_loss", "--output", tmp_path / "both.npz")
    assert result.exit_code == 0, result.output
    assert "method: weighted, weights searched by log_loss" in result.output
    assert "fitted on: 120 validation examples" in result.output
    assert "scored on: 80 test examples, which the fit has not seen" in result.output
    assert len(load_predictions(tmp_path / "both.npz")) == 80


def test_json_holds_weights_scores_intervals_and_what_they_rest_on(runs: list[Path]) -> None:
    report = json.loads(call(*runs, "--search", "alpha", "--temperature", "--json").stdout)
    assert list(report) == ["1: one", "2: two", "ensemble"]
    assert report["1: one"]["weight"] + report["2: two"]["weight"] == pytest.approx(1)
    assert report["1: one"]["temperature"] > 0
    low, high = report["ensemble"]["accuracy_interval"]
    assert low < report["ensemble"]["top_1_accuracy"] < high
    gain = report["ensemble"]["log_loss_gain"]
    best = min("1: one", "2: two", key=lambda name: report[name]["log_loss"])
    assert gain["over"] == best
    assert gain["mean"] == pytest.approx(report[best]["log_loss"] - report["ensemble"]["log_loss"], abs=1e-5)


def test_files_are_cross_fitted_on_themselves(runs: list[Path]) -> None:
    files = [run / "predictions" / "test.npz" for run in runs]
    for method in (["--search", "macro_f1"], ["--method", "stack"], ["--temperature"]):
        result = call(*files, *method)
        assert result.exit_code == 0, result.output
        assert "scored on: the same 80 given examples, cross-fitted" in result.output


def test_one_part_to_fit_and_score_is_cross_fitted(runs: list[Path]) -> None:
    result = call(*runs, "--search", "log_loss", "--split", "validation")
    assert "scored on: the same 120 validation examples, cross-fitted" in result.output


def test_an_unlabelled_part_is_predicted_and_scored_by_what_is_labelled(
    runs: list[Path], tmp_path: Path
) -> None:
    result = call(*runs, "--search", "accuracy", "--split", "kaggle", "--output", tmp_path / "k.npz")
    assert "scored on: the same 120 validation examples, cross-fitted" in result.output
    assert len(load_predictions(tmp_path / "k.npz")) == 40
    plain = call(*runs, "--split", "kaggle")
    assert "scored on: nothing (there are no labels)" in plain.output


def test_a_submission_has_the_samples_columns_and_order(runs: list[Path], tmp_path: Path) -> None:
    sample = tmp_path / "sample_submission.csv"
    rows = "".join(f"kaggle_{index},0,0,0\n" for index in reversed(range(40)))
    sample.write_text(f"image_id,z,x,y\n{rows}")
    result = call(
        *(*runs, "--split", "kaggle", "--output", tmp_path / "k.npz"),
        *("--submission", tmp_path / "s.csv", "--sample-submission", sample),
    )
    assert result.exit_code == 0, result.output
    header, first, *_ = (tmp_path / "s.csv").read_text().splitlines()
    assert header == "image_id,z,x,y"
    name, *values = first.split(",")
    last = load_predictions(tmp_path / "k.npz").probabilities[-1]
    assert name == "kaggle_39"
    assert [np.float32(value) for value in values] == last[[2, 0, 1]].tolist()
    assert "name the file to write" in refusal(*runs, "--sample-submission", sample)


def test_weights_that_are_given_choose_the_weighted_mean(runs: list[Path]) -> None:
    report = json.loads(call(*runs, "--weights", "1,3", "--json").stdout)
    assert (report["ensemble"]["method"], report["2: two"]["weight"]) == ("weighted", 0.75)


def test_ranks_are_scored_by_the_area_under_the_curve_alone(runs: list[Path], tmp_path: Path) -> None:
    report = json.loads(call(*runs, "--method", "rank", "--json").stdout)
    assert {"top_1_accuracy", "log_loss"} <= set(report["1: one"])
    scores = {"top_1_accuracy", "log_loss", "macro_f1", "macro_roc_auc", "expected_calibration_error"}
    assert scores & set(report["ensemble"]) == {"macro_roc_auc"}
    (row,) = [line for line in call(*runs, "--method", "rank").output.splitlines() if "│ ensemble" in line]
    assert row.count("not defined") == 5
    sample = tmp_path / "sample.csv"
    sample.write_text("id,label\n" + "".join(f"kaggle_{number},0\n" for number in range(40)))
    wanted = "--submission", tmp_path / "s.csv", "--sample-submission", sample
    assert "tell no class" in refusal(*runs, "--method", "rank", "--split", "kaggle", *wanted)


def test_calls_that_cannot_be_used_are_refused(runs: list[Path]) -> None:
    file = runs[0] / "predictions" / "test.npz"
    assert "'0.5;0.5'" in refusal(*runs, "--weights", "0.5;0.5")
    assert "one weight for each of 2" in refusal(*runs, "--weights", "1,2,3")
    assert "Methods that take weights" in refusal(*runs, "--method", "mean", "--weights", "1,2")
    assert "nothing is to be fitted" in refusal(*runs, "--fit", "validation")
    assert "are prediction files" in refusal(file, file, "--fit", "test", "--search", "log_loss")
    assert "all folders of runs or all prediction files" in refusal(runs[0], file, "--search", "log_loss")
    assert "all unlabelled" in refusal(*runs, "--search", "log_loss", "--fit", "kaggle")
    assert "folds.npz" in refusal(*runs, "--search", "log_loss", "--fit", "folds")
    assert "at least two members" in refusal(file)
    assert "--split names a part of runs" in refusal(file, file, "--split", "validation")
    validation = runs[1] / "predictions" / "validation.npz"
    assert "only there: test_0, test_1, test_10" in refusal(file, validation)


def test_a_prediction_file_with_nan_is_refused_by_name(runs: list[Path], tmp_path: Path) -> None:
    file = runs[0] / "predictions" / "test.npz"
    arrays = dict(np.load(file))
    arrays["probabilities"][5] = np.nan
    np.savez(tmp_path / "nan.npz", **arrays)
    message = refusal(file, tmp_path / "nan.npz")
    assert "test_5" in message
    assert "nan.npz" in message
