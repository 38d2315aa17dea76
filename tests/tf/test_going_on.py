"""Runs and sweeps that are stopped and gone on with, and what their folders say meanwhile."""

import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tpuens.errors import ConfigurationError, InterruptedRunError
from tpuens.hardware.strategies import open_strategy
from tpuens.recipes import sweep
from tpuens.recipes.config import PhaseConfig, TrainConfig
from tpuens.recipes.phases import Observer
from tpuens.recipes.run import resume, train
from tpuens.recipes.run_folder import RunFolder

CPU = open_strategy("cpu")
SMALL = TrainConfig(
    dataset="digits",
    image_size=8,
    colour="grey",
    batch_size=128,
    strategy="cpu",
    phases=(PhaseConfig(epochs=1),),
)


# Sends Ctrl-C when an epoch is over: a run stops in the next one's first step, or at its end.
STOPS = Observer(on_epoch=lambda report, scores: os.kill(os.getpid(), signal.SIGINT))


def test_a_run_that_was_stopped_within_an_epoch_does_not_end_before_it(tmp_path: Path) -> None:
    config = replace(SMALL, phases=(PhaseConfig(epochs=3),))
    with pytest.raises(InterruptedRunError, match="Stopped in epoch 2"):
        train(config, tmp_path / "run", strategy=CPU, observer=STOPS)
    with pytest.raises(ConfigurationError, match="give 2 epochs or more"):
        resume(tmp_path / "run", epochs=1, strategy=CPU)
    resume(tmp_path / "run", epochs=2, strategy=CPU)
    assert len(RunFolder(tmp_path / "run").read_history()) == 2


def test_a_finished_run_that_is_trained_on_is_unfinished_until_it_is_through(tmp_path: Path) -> None:
    train(SMALL, tmp_path / "run", strategy=CPU)
    model = RunFolder(tmp_path / "run").model
    with pytest.raises(InterruptedRunError):
        resume(tmp_path / "run", epochs=3, strategy=CPU, observer=STOPS)
    assert not model.exists()
    resume(tmp_path / "run", strategy=CPU)
    assert model.exists()


def test_a_stopped_sweep_goes_on_by_the_same_call(tmp_path: Path) -> None:
    train(SMALL, tmp_path / "run", strategy=CPU)

    def call(observer: Observer | None = None) -> list[dict[str, float]]:
        values, output = (0.0, 0.3), tmp_path / "sweep"
        return sweep.sweep_field(
            tmp_path / "run", "dropout", values, output, seeds=2, metric="log_loss", observer=observer
        )

    with pytest.raises(InterruptedRunError, match=r"Stopped at dropout 0, seed 0.*The same call goes on"):
        call(STOPS)
    rows = call()
    assert [row["dropout"] for row in rows] == [0.0, 0.3]
    assert all(row["log_loss_low"] < row["log_loss"] < row["log_loss_high"] for row in rows)
    assert (tmp_path / "sweep" / "sweep.png").exists()
    assert len((tmp_path / "sweep" / "sweep.csv").read_text().splitlines()) == 3


def test_one_class_alone_is_refused(tmp_path: Path, write_png: Callable[[Path], None]) -> None:
    for name in "abcd":
        write_png(tmp_path / "images" / "cats" / f"{name}.png")
    config = replace(SMALL, dataset="image_folder", data_dir=str(tmp_path / "images"))
    with pytest.raises(ConfigurationError, match=r"two at least.*only class is cats"):
        train(config, tmp_path / "run", strategy=CPU)


@pytest.fixture
def write_png() -> Callable[[Path], None]:
    from PIL import Image

    def write(path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(ord(path.stem)).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)

    return write
