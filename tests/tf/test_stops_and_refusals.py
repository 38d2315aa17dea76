"""What a run leaves when it is refused, stopped at its end, or asked to go on with something else."""

import json
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from tpuens.cli import app
from tpuens.commands import train as train_command
from tpuens.errors import ConfigurationError, DataError, InterruptedRunError, TpuensError
from tpuens.hardware.strategies import open_strategy
from tpuens.recipes import recipe, sweep
from tpuens.recipes.config import PhaseConfig, SplitConfig, TrainConfig
from tpuens.recipes.options import RecipeOptions, make_recipe
from tpuens.recipes.parts import load_parts
from tpuens.recipes.phases import Observer
from tpuens.recipes.run import resume, train
from tpuens.recipes.run_folder import RunFolder
from tpuens.training.losses import LossConfig

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


def test_a_signal_in_the_last_moments_of_a_run_stops_what_would_come_after_it(tmp_path: Path) -> None:
    def on_status(text: str) -> None:
        if text.startswith("predicting"):
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(InterruptedRunError, match="This run was just finished"):
        train(SMALL, tmp_path / "run", strategy=CPU, observer=Observer(on_status=on_status))
    assert (tmp_path / "run" / "model.keras").exists()
    assert (tmp_path / "run" / "predictions" / "test.npz").exists()
    for arguments, message in (
        (["--resume", str(tmp_path / "run"), "--learning-rate", "5"], "Received: --learning-rate"),
        (["--epochs", "3", "cifar10"], "Received: --epochs before cifar10"),
    ):
        answer = CliRunner().invoke(app, ["train", *arguments])
        assert isinstance(answer.exception, ConfigurationError), answer.output
        assert message in str(answer.exception)
    with pytest.raises(ConfigurationError, match="never back"):
        resume(tmp_path / "run", epochs=0, strategy=CPU)


@pytest.mark.parametrize(
    "bad",
    [
        {"augment": ("mixup",)},
        {"phases": (PhaseConfig(trainable="top:99"),)},
        {"phases": (PhaseConfig(weight_decay=0.1),)},
        {"dropout": 1.0},
        {"seed": 2**32},
        {"split": SplitConfig(seed=-1)},
        {"loss": LossConfig(name="binary_crossentropy")},
    ],
)
def test_a_call_that_is_refused_claims_no_folder(bad: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError):
        train(replace(SMALL, **bad), tmp_path / "run", strategy=CPU)
    assert not (tmp_path / "run").exists() or not any((tmp_path / "run").iterdir())


def test_a_data_set_that_was_converted_is_trained_on_without_a_validation_part(tmp_path: Path) -> None:
    answer = CliRunner().invoke(app, ["data", "convert", "digits", "--output", str(tmp_path / "records")])
    assert answer.exit_code == 0, answer.output
    config = replace(SMALL, dataset="flowers", data_dir=str(tmp_path / "records"))
    converted, _ = load_parts(config)
    original, _ = load_parts(SMALL)
    for part in ("train", "validation", "test"):
        assert sorted(converted[part].class_counts) == sorted(original[part].class_counts)
    with pytest.raises(ConfigurationError, match="comes without a validation part"):
        load_parts(replace(config, split=SplitConfig(kind="given")))


def test_a_recipe_that_never_got_to_a_run_may_be_asked_for_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def find_nothing(*_: object) -> None:
        raise DataError("no such data")

    monkeypatch.setattr(recipe.RunSeries, "finish", find_nothing)
    for epochs in (1, 2):
        with pytest.raises(DataError):
            recipe.run_recipe(small_recipe(epochs=epochs), tmp_path)
    (tmp_path / "members" / "one" / "fold-0").mkdir(parents=True)
    (tmp_path / "members" / "one" / "fold-0" / "config.json").write_text("{}")
    with pytest.raises(ConfigurationError, match="other settings want another --output"):
        recipe.run_recipe(small_recipe(epochs=3), tmp_path)


def test_three_members_are_weighed_by_a_search_that_weighs_three() -> None:
    two = make_recipe("flowers", "kaggle")
    three = make_recipe("flowers", "kaggle", RecipeOptions(members=(*two.members, "resnet152v2")))
    assert (two.ensemble.search, three.ensemble.search) == ("alpha", "macro_f1")
    with pytest.raises(ConfigurationError, match="'alpha' weighs two members"):
        recipe.run_recipe(replace(three, ensemble=two.ensemble), Path("never"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--fold", "1"], "--fold means something with --split fold or shuffle alone"),
        (["--folds", "3", "--split", "holdout"], "--folds means"),
        (["--validation-fraction", "0.5", "--split", "fold"], "--validation-fraction means"),
        (["--head-learning-rate", "0.1"], "--head-learning-rate means something with --freeze-epochs"),
        (["--focal-gamma", "1"], "--focal-gamma means something with --loss categorical_focal"),
        (["fuse", "a", "b", "--output", "c", "--epochs", "9"], "Received: --epochs with train=None"),
        (["fuse", "a", "b", "--output", "c", "--train", "weights", "--learning-rate", "1"], "--train all"),
    ],
)
def test_an_option_that_nothing_would_heed_is_refused(arguments: list[str], message: str) -> None:
    command = [] if arguments[0] == "fuse" else ["train", "--data", "digits"]
    answer = CliRunner().invoke(app, [*command, *arguments])
    assert isinstance(answer.exception, ConfigurationError), answer.output
    assert message in str(answer.exception)


def test_a_file_of_weights_is_the_same_from_another_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for given, kept in (("w.weights.h5", str(tmp_path / "w.weights.h5")), ("imagenet", "imagenet")):
        seen: list[TrainConfig] = []
        monkeypatch.setattr(
            train_command, "_train_one", lambda config, output, seen=seen: seen.append(config)
        )
        answer = CliRunner().invoke(app, ["train", "--data", "digits", "--weights", given])
        assert answer.exit_code == 0, answer.output
        assert seen[0].weights == kept


def test_a_shuffle_has_a_number_among_the_folds() -> None:
    answer = CliRunner().invoke(
        app, ["train", "--data", "digits", "--split", "shuffle", "--fold", "9", "--folds", "3"]
    )
    assert isinstance(answer.exception, TpuensError), answer.output
    assert "means something with" not in str(answer.exception)  # it got further than that


def test_a_run_that_was_begun_on_other_replicas_is_not_gone_on_with(tmp_path: Path) -> None:
    train(SMALL, tmp_path / "run", strategy=CPU)
    folder = tmp_path / "run"
    assert json.loads((folder / "batch.json").read_text()) == {"replicas": 1, "global_batch_size": 128}
    (folder / "batch.json").write_text('{"replicas": 2, "global_batch_size": 256}')
    before = (folder / "config.json").read_text()
    with pytest.raises(ConfigurationError, match="resume it on 2 replicas"):
        resume(folder, epochs=3, strategy=CPU)
    assert (folder / "config.json").read_text() == before


def test_a_fold_without_folds_is_one_of_five_and_none_is_trained_twice(tmp_path: Path) -> None:
    assert small_recipe(run_folds=(3,)).split == SplitConfig(kind="fold", folds=5, fraction=0.1)
    with pytest.raises(ConfigurationError, match=r"trained once.*0, 0"):
        recipe.run_recipe(small_recipe(run_folds=(0, 0)), tmp_path)


def small_recipe(**options: Any) -> recipe.RecipeConfig:
    return make_recipe("cifar10", "cpu-demo", RecipeOptions(strategy="cpu", **options))


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
