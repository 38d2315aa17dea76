"""Leaves with several diseases at once: from a CSV with several ones a row to a submission."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from tpuens.cli import app
from tpuens.data.remote import make_path
from tpuens.errors import ConfigurationError
from tpuens.evaluation.predictions import load_predictions
from tpuens.evaluation.submissions import write_submission
from tpuens.hardware.strategies import open_strategy
from tpuens.recipes.config import PhaseConfig, TrainConfig
from tpuens.recipes.fuse import fuse_runs
from tpuens.recipes.run import train
from tpuens.training.losses import LossConfig
from tpuens.training.schedules import ScheduleConfig

CLASSES = "rust", "scab"
CPU = open_strategy("cpu")


@pytest.fixture(scope="module")
def competition(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Leaves whose red is rust and whose blue is scab; some have both, some neither."""
    folder = tmp_path_factory.mktemp("competition")
    (folder / "images").mkdir()
    generator = np.random.default_rng(0)

    def write(name: str, number: int) -> str:
        ones = number // 2 % 2, number % 2
        pixels = np.full((16, 16, 3), (60 + 150 * ones[0], 90, 60 + 150 * ones[1]))
        pixels = np.clip(pixels + generator.normal(0, 12, pixels.shape), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / "images" / f"{name}.jpg", quality=95)
        return f"{name},{ones[0]},{ones[1]}\n"

    rows = "".join(write(f"Train_{number}", number) for number in range(80))
    (folder / "train.csv").write_text(f"image_id,{','.join(CLASSES)}\n{rows}")
    for number in range(8):
        write(f"Test_{number}", number)
    ids = [f"Test_{number}\n" for number in range(8)]
    (folder / "test.csv").write_text("image_id\n" + "".join(ids))
    sample = "".join(f"{one.strip()},0.5,0.5\n" for one in reversed(ids))
    (folder / "sample_submission.csv").write_text(f"image_id,scab,rust\n{sample}")
    return folder


@pytest.fixture(scope="module")
def runs(competition: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("runs")
    for seed in range(2):
        config = TrainConfig(
            dataset="plant_pathology",
            data_dir=str(competition),
            image_size=16,
            batch_size=8,
            dropout=0.0,
            phases=(PhaseConfig(epochs=20, schedule=ScheduleConfig(learning_rate=3e-3)),),
            loss=LossConfig(name="binary_crossentropy"),
            class_weights="balanced",
            strategy="cpu",
            seed=seed,
        )
        train(config, folder / f"run{seed}", strategy=CPU)
    return [folder / "run0", folder / "run1"]


def test_every_label_is_learnt_for_itself_and_scored(runs: list[Path]) -> None:
    validation = load_predictions(runs[0] / "predictions" / "validation.npz")
    assert validation.is_multi_label
    assert validation.labels is not None
    assert ((validation.probabilities > 0.5) == validation.labels).mean() > 0.9
    both, neither = (
        validation.probabilities[(validation.labels == one).all(axis=1)].sum(axis=1).mean() for one in (1, 0)
    )
    assert both > 1.5 > 0.5 > neither  # no softmax over the classes


def test_an_ensemble_hands_in_what_the_sample_asks_for(
    runs: list[Path], competition: Path, tmp_path: Path
) -> None:
    answer = CliRunner().invoke(
        app,
        [
            *("ensemble", str(runs[0]), str(runs[1]), "--search", "log_loss"),
            *("--sample-submission", str(competition / "sample_submission.csv")),
            *("--submission", str(tmp_path / "submission.csv")),
        ],
    )
    assert answer.exit_code == 0, answer.output
    header, *rows = (tmp_path / "submission.csv").read_text().splitlines()
    assert header == "image_id,scab,rust"
    cells = [row.split(",") for row in rows]
    assert [row[0] for row in cells] == [f"Test_{number}" for number in reversed(range(8))]
    yes = [[float(value) > 0.5 for value in row[1:]] for row in cells]
    assert yes == [[number % 2 == 1, number // 2 % 2 == 1] for number in reversed(range(8))]


def test_runs_with_several_labels_become_one_network(runs: list[Path], tmp_path: Path) -> None:
    summary = fuse_runs(runs, tmp_path / "fused", strategy="cpu")
    assert summary.scores["validation"]["ensemble"].top_1_accuracy > 0.9
    said = load_predictions(tmp_path / "fused" / "predictions" / "test.npz")
    members = [load_predictions(run / "predictions" / "test.npz").probabilities for run in runs]
    weights = list(summary.weights.values())
    expected = weights[0] * members[0] + weights[1] * members[1]
    np.testing.assert_allclose(said.probabilities, expected, atol=1e-4)


def test_a_loss_in_which_classes_exclude_each_other_is_refused(competition: Path, tmp_path: Path) -> None:
    config = TrainConfig(dataset="plant_pathology", data_dir=str(competition), image_size=16, strategy="cpu")
    with pytest.raises(ConfigurationError, match=r"binary_crossentropy.*Train_0 .*no class"):
        train(config, tmp_path / "run", strategy=CPU)


def test_a_sample_on_a_bucket_is_heeded(runs: list[Path], competition: Path, tmp_path: Path) -> None:
    sample = make_path((competition / "sample_submission.csv").as_uri())
    predictions = load_predictions(runs[0] / "predictions" / "test.npz")
    write_submission(predictions, sample, tmp_path / "submission.csv")
    header, first, *_ = (tmp_path / "submission.csv").read_text().splitlines()
    assert header == "image_id,scab,rust"
    assert first.startswith("Test_7,")
