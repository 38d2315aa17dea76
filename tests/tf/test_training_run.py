"""`tpuens train`, `predict` and `ensemble` as a user runs them: real images, real processes."""

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
SMALL = [
    "--data",
    "digits",
    "--image-size",
    "8",
    "--colour",
    "grey",
    "--strategy",
    "cpu",
    "--learning-rate",
    "0.003",
]


def environment(**variables: str) -> dict[str, str]:
    return os.environ | {"CUDA_VISIBLE_DEVICES": "-1"} | variables


def call(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*START, *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env=environment(),
        timeout=200,
    )


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two finished runs of another seed, and one that was interrupted and resumed."""
    folder = tmp_path_factory.mktemp("runs")
    for seed in "0", "1":
        answer = call("train", *SMALL, "--epochs", "2", "--seed", seed, "--output", f"run{seed}", cwd=folder)
        assert answer.returncode == 0, answer.stderr
        assert "examples/s" in answer.stderr
    return folder


def test_a_run_leaves_everything_behind_that_explains_it(runs: Path) -> None:
    run = runs / "run0"
    config = json.loads((run / "config.json").read_text())
    assert (config["dataset"], config["phases"][0]["epochs"], config["colour"]) == ("digits", 2, "grey")
    split = json.loads((run / "split.json").read_text())
    assert len(set(split["train"]) | set(split["validation"]) | set(split["test"])) == 1797
    with (run / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["0", "1"]
    assert rows[0]["first_step_seconds"]
    assert not rows[1]["first_step_seconds"]
    assert float(rows[1]["loss"]) < float(rows[0]["loss"])
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["test"]["top_1_accuracy"] > 0.5
    assert (run / "model.keras").exists()
    assert len(load_predictions(run / "predictions" / "test.npz")) == 360
    assert split["skipped"] == []
    assert not list(run.glob("*part*"))


def test_predicting_again_gives_what_training_left(runs: Path) -> None:
    answer = call("predict", "run0", "--strategy", "cpu", "--output", "again.npz", cwd=runs)
    assert answer.returncode == 0, answer.stderr
    again = load_predictions(runs / "again.npz")
    before = load_predictions(runs / "run0" / "predictions" / "test.npz")
    assert again.ids.tolist() == before.ids.tolist()
    np.testing.assert_allclose(again.probabilities, before.probabilities, atol=1e-5)


def test_runs_combine_into_an_ensemble(runs: Path) -> None:
    answer = call(
        "ensemble", "run0", "run1", "--weights", "0.4,0.6", "--output", "both.npz", "--json", cwd=runs
    )
    assert answer.returncode == 0, answer.stderr
    assert list(json.loads(answer.stdout)) == ["1: run0", "2: run1", "ensemble"]
    assert len(load_predictions(runs / "both.npz")) == 360


def test_an_interrupted_run_resumes_to_the_same_weights_as_one_that_was_not(runs: Path) -> None:
    """The interrupted one takes several steps a call, and stops between two calls."""
    steps = ["--steps-per-execution", "3"]
    process = subprocess.Popen(
        [*START, "train", *SMALL, "--epochs", "2", "--batch-size", "4", "--output", "stopped", *steps],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=runs,
        env=environment(),
    )
    wait_for(lambda: (runs / "stopped" / "history.csv").exists(), process)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "tpuens train --resume" in errors
    assert "Traceback" not in errors

    answer = call("train", "--resume", "stopped", cwd=runs)
    assert answer.returncode == 0, answer.stderr
    whole = call("train", *SMALL, "--epochs", "2", "--batch-size", "4", "--output", "whole", *steps, cwd=runs)
    assert whole.returncode == 0, whole.stderr
    one, other = (load_predictions(runs / run / "predictions" / "test.npz") for run in ("stopped", "whole"))
    np.testing.assert_allclose(one.probabilities, other.probabilities, atol=1e-5)  # dropout drew the same
    with (runs / "stopped" / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["0", "1"]
    assert not rows[0]["blocked_seconds"]  # inside a call nothing tells


def test_a_killed_run_resumes_from_its_last_checkpoint(runs: Path) -> None:
    process = subprocess.Popen(
        [*START, "train", *SMALL, "--epochs", "2", "--batch-size", "4", "--output", "killed"],
        stderr=subprocess.DEVNULL,
        cwd=runs,
        env=environment(),
    )
    wait_for(lambda: (runs / "killed" / "checkpoints" / "1-train" / "checkpoint").exists(), process)
    process.kill()
    process.wait()
    answer = call("train", "--resume", "killed", cwd=runs)
    assert answer.returncode == 0, answer.stderr
    assert "epoch 2" in answer.stderr
    assert "epoch 1:" not in answer.stderr


def test_a_broken_checkpoint_gives_way_to_the_one_before_and_none_is_taken_for_a_start(
    runs: Path, tmp_path: Path
) -> None:
    broken = shutil.copytree(runs / "run0", tmp_path / "broken")
    (broken / "checkpoints" / "1-train" / "ckpt-2.index").write_bytes(b"broken")
    answer = call("train", "--resume", "broken", cwd=tmp_path)
    assert answer.returncode == 0, answer.stderr
    assert "ckpt-2 cannot be read" in answer.stderr.replace("\n", "")
    assert "epoch 2:" in answer.stderr
    assert "epoch 1:" not in answer.stderr

    for path in (broken / "checkpoints" / "1-train").glob("ckpt-*.index"):
        path.write_bytes(b"broken")
    answer = call("train", "--resume", "broken", cwd=tmp_path)
    assert answer.returncode == 2
    assert "No checkpoint in broken/checkpoints/1-train can be restored" in answer.stderr


def test_corrupt_images_that_were_left_out_stand_in_the_split_and_may_not_change(
    tmp_path: Path,
) -> None:
    for split, count in (("train", 8), ("test", 4)):
        for label in "ab":
            folder = tmp_path / "images" / split / label
            folder.mkdir(parents=True)
            for number in range(count):
                Image.new("RGB", (8, 8), (number * 20, 90 * (label == "a"), 0)).save(folder / f"{number}.png")
    (tmp_path / "images" / "train" / "a" / "0.png").write_bytes(b"no image")
    arguments = ["train", "--data", "image_folder", "--data-dir", "images", "--on-corrupt", "skip"]
    options = ["--strategy", "cpu", "--image-size", "8", "--epochs", "1", "--batch-size", "2"]
    answer = call(*arguments, *options, "--output", "run", cwd=tmp_path)
    assert answer.returncode == 0, answer.stderr
    assert "left out 1 corrupt images" in answer.stderr
    (left_out,) = json.loads((tmp_path / "run" / "split.json").read_text())["skipped"]
    assert "a/0" in left_out

    shutil.copy(tmp_path / "images" / "train" / "b" / "1.png", tmp_path / "images" / "train" / "b" / "9.png")
    answer = call("train", "--resume", "run", "--epochs", "2", cwd=tmp_path)
    assert answer.returncode == 2
    assert "start a new run" in answer.stderr
    assert "1 new examples" in answer.stderr


def test_a_run_that_diverges_says_so_and_ends_with_exit_code_1(tmp_path: Path) -> None:
    answer = call("train", *SMALL[:-1], "1e30", "--epochs", "2", "--output", "x", cwd=tmp_path)
    assert answer.returncode == 1, answer.stderr
    assert "training diverged" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_a_folder_that_holds_a_run_is_not_overwritten(runs: Path) -> None:
    answer = call("train", *SMALL, "--output", "run0", cwd=runs)
    assert answer.returncode == 2
    assert "--resume run0" in answer.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "--data", "digit"], "Did you mean 'digits'"),
        (["train"], "--data"),
        (["train", "--data", "digits", "--backbone", "resnet"], "resnet50"),
        (["train", *SMALL, "--batch-size", "0", "--output", "x"], "at least one example"),
        (["train", *SMALL, "--epochs", "0", "--output", "x"], "at least one epoch"),
        (["train", *SMALL, "--learning-rate", "0", "--output", "x"], "above 0"),
        (["train", *SMALL, "--steps-per-execution", "0", "--output", "x"], "one step or more"),
        (["predict", "nowhere"], "config.json"),
    ],
    ids=lambda value: " ".join(value[:4]) if isinstance(value, list) else "",
)
def test_a_call_that_cannot_be_used_ends_with_one_message(
    arguments: list[str], message: str, refusal: Callable[..., str]
) -> None:
    assert message in refusal(*arguments)


def test_a_batch_larger_than_the_data_is_refused(tmp_path: Path) -> None:
    answer = call("train", *SMALL, "--batch-size", "5000", "--output", "x", cwd=tmp_path)
    assert answer.returncode == 2
    assert "choose a smaller batch" in answer.stderr
    assert "Traceback" not in answer.stderr


def wait_for(condition: object, process: "subprocess.Popen[str] | subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 120
    while not condition():  # type: ignore[operator]
        assert process.poll() is None, "it ended before it could be stopped"
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_deterministic_run_gives_the_same_result_again(tmp_path: Path) -> None:
    for name in ("one", "other"):
        answer = call(
            *("train", *SMALL, "--epochs", "1", "--deterministic", "--augment", "flip-horizontal,shift"),
            *("--output", name),
            cwd=tmp_path,
        )
        assert answer.returncode == 0, answer.stderr
    one, other = (load_predictions(tmp_path / name / "predictions" / "test.npz") for name in ("one", "other"))
    np.testing.assert_array_equal(one.probabilities, other.probabilities)
