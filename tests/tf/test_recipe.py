"""The recipes as a user runs them, on a small competition folder that is made here."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tpuens.evaluation.predictions import load_predictions

START = [sys.executable, "-c", "from tpuens.cli import main; main()"]
CLASSES = "rust", "healthy", "scab"
SMALL = [
    *("--members", "lite0,lite1", "--image-size", "32", "--epochs", "6", "--folds", "2", "--strategy", "cpu"),
    *("--batch-size", "8"),
]


def call(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*START, *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env=os.environ | {"CUDA_VISIBLE_DEVICES": "-1"},
        timeout=250,
    )


def write_csv(path: Path, rows: list[list[str]]) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)


@pytest.fixture(scope="module")
def competition(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as Plant Pathology 2020 has it: leaves of plain colours with noise, two of them the same."""
    folder = tmp_path_factory.mktemp("competition")
    (folder / "images").mkdir()
    generator = np.random.default_rng(0)
    colours = np.array([[180, 90, 40], [60, 160, 60], [110, 110, 110]])

    def write(name: str, number: int) -> None:
        noise = generator.normal(0, 12, (40, 48, 3))
        pixels = np.clip(colours[number] + noise, 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / "images" / f"{name}.jpg", quality=90)

    train = [["image_id", *sorted(CLASSES)]]
    for index in range(36):
        number = index % 3
        write(f"Train_{index}", number)
        truth = CLASSES[number]
        train.append([f"Train_{index}", *(str(int(name == truth)) for name in sorted(CLASSES))])
    twin = (folder / "images" / "Train_0.jpg").read_bytes()
    (folder / "images" / "Train_3.jpg").write_bytes(twin)
    for index in range(6):
        write(f"Test_{index}", index % 3)
    write_csv(folder / "train.csv", train)
    write_csv(folder / "test.csv", [["image_id"], *([f"Test_{index}"] for index in range(6))])
    sample = [[f"Test_{index}", *["0.33"] * 3] for index in reversed(range(6))]
    write_csv(folder / "sample_submission.csv", [["image_id", *CLASSES], *sample])
    return folder


@pytest.fixture(scope="module")
def finished(competition: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished recipe."""
    folder = tmp_path_factory.mktemp("finished")
    answer = call(
        *("train", "plant-pathology", "--data-dir", str(competition), *SMALL, "--output", "leaves"),
        cwd=folder,
    )
    assert answer.returncode == 0, answer.stderr
    assert "submission: leaves/submission.csv" in answer.stdout
    return folder / "leaves"


def test_a_recipe_goes_from_images_to_a_submission_in_the_samples_own_order(finished: Path) -> None:
    with (finished / "submission.csv").open(newline="") as file:
        header, *rows = list(csv.reader(file))
    assert header == ["image_id", *CLASSES]
    assert [row[0] for row in rows] == [f"Test_{index}" for index in reversed(range(6))]
    answers = [CLASSES[int(np.argmax([float(cell) for cell in row[1:]]))] for row in rows]
    assert answers == [CLASSES[index % 3] for index in reversed(range(6))]


def test_every_labelled_example_is_predicted_by_a_network_that_never_saw_it(finished: Path) -> None:
    member = finished / "members" / "lite0"
    held_out = load_predictions(member / "held-out.npz")
    assert sorted(held_out.ids.tolist()) == sorted(f"Train_{index}" for index in range(36))
    for fold in range(2):
        split = json.loads((member / f"fold-{fold}" / "split.json").read_text())
        assert not set(split["train"]) & set(split["validation"])
        assert ("Train_0" in split["train"]) == ("Train_3" in split["train"])  # the twins
    scores = json.loads((finished / "metrics.json").read_text())["held-out"]
    assert list(scores) == ["lite0", "lite1", "ensemble"]
    assert scores["ensemble"]["top_1_accuracy"] > 0.9


def test_a_run_folder_explains_itself(finished: Path) -> None:
    run = finished / "members" / "lite1" / "fold-1"
    for name in (
        *("config.json", "split.json", "history.csv", "history.png", "model.keras", "metrics.json"),
        *("environment.json", "confusion-validation.png", "predictions.png"),
        *("predictions/validation.npz", "predictions/test.npz"),
    ):
        assert (run / name).stat().st_size > 0, name
    assert not (run / "checkpoints").exists()  # nobody goes on from them, and they take gigabytes
    answer = call("train", "--resume", str(run), cwd=finished)
    assert answer.returncode == 2
    assert "its checkpoints were removed" in answer.stderr
    report = (finished / "report.md").read_text()
    assert "cross-fitted" in report or "all members weigh alike" in report
    assert "| lite1 | 1 | 6 |" in report


def test_the_saved_model_says_what_its_features_said(finished: Path, competition: Path) -> None:
    run = finished / "members" / "lite0" / "fold-0"
    answer = call("predict", str(run), "--strategy", "cpu", "--output", "again.npz", cwd=finished)
    assert answer.returncode == 0, answer.stderr
    again = load_predictions(finished / "again.npz")
    before = load_predictions(run / "predictions" / "test.npz")
    np.testing.assert_allclose(again.probabilities, before.probabilities, atol=1e-4)


def test_a_finished_recipe_is_not_trained_again_and_another_one_is_refused(finished: Path) -> None:
    model = finished / "members" / "lite0" / "fold-0" / "model.keras"
    written = model.stat().st_mtime_ns
    answer = call("train", "--resume", "leaves", cwd=finished.parent)
    assert answer.returncode == 0, answer.stderr
    assert model.stat().st_mtime_ns == written
    other = call("train", "plant-pathology", "--epochs", "3", "--output", "leaves", cwd=finished.parent)
    assert other.returncode == 2
    assert "holds a recipe with other settings" in other.stderr
    assert "Traceback" not in other.stderr


def test_a_recipe_that_is_stopped_goes_on_and_keeps_its_features(
    competition: Path, tmp_path: Path, finished: Path
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    shutil.copytree(competition, here)
    process = subprocess.Popen(
        [
            *(*START, "train", "plant-pathology", "--data-dir", str(here), *SMALL),
            *("--fold", "0", "--output", "stopped"),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"CUDA_VISIBLE_DEVICES": "-1"},
    )
    deadline = time.monotonic() + 120
    while not (tmp_path / "stopped/members/lite0/fold-0/history.csv").exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=100)
    assert process.returncode == 130, errors
    assert errors.rstrip().endswith("tpuens train --resume stopped")
    written = {path: path.stat().st_mtime_ns for path in (tmp_path / "stopped/features").rglob("*.npz")}
    assert written
    here.rename(there)
    answer = call("train", "--resume", "stopped", "--data-dir", "there", cwd=tmp_path)
    assert answer.returncode == 0, answer.stderr
    assert all(path.stat().st_mtime_ns == before for path, before in written.items())
    ours, theirs = (
        load_predictions(folder / "members/lite1/fold-0/predictions/test.npz")
        for folder in (tmp_path / "stopped", finished)
    )
    np.testing.assert_allclose(ours.probabilities, theirs.probabilities, atol=0.1)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--members", "lite0"], "at least two members"),
        (["--members", "lite0,lite7"], "Unknown member"),
        (["--preset", "cpu"], "Expected one of: cpu-demo, kaggle"),
        (["--fold", "5"], "numbered from 0 to 4"),
        (["--fold", "first"], "separated by commas, or all"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_message(
    arguments: list[str], words: str, refusal: Callable[..., str], tmp_path: Path
) -> None:
    assert words in refusal("train", "plant-pathology", *arguments, "--output", "x")
    assert not (tmp_path / "x").exists()


def test_a_leaf_without_a_file_ends_the_recipe_before_anything_is_trained(
    competition: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "competition"
    (broken / "images").mkdir(parents=True)
    for file in competition.glob("**/*"):
        if file.is_file() and file.name != "Train_7.jpg":
            (broken / file.relative_to(competition)).write_bytes(file.read_bytes())
    answer = call(
        "train", "plant-pathology", "--data-dir", str(broken), *SMALL, "--output", "x", cwd=tmp_path
    )
    assert answer.returncode == 2
    assert "Train_7" in answer.stderr
    assert "Traceback" not in answer.stderr
