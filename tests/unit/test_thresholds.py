"""Thresholds: of the gate, of pyproject.toml, of the command line."""

from pathlib import Path

import pytest

from bench.analysis.thresholds import DEFAULTS, load_thresholds
from tpuens.errors import ConfigurationError

SCENARIOS = ("train-step", "inference")
FILE = """
[tool.tpuens-bench.check]
speed = 0.2
memory = 0.3
[tool.tpuens-bench.check.scenario.train-step]
speed = 0.1
"""


def test_defaults_hold_where_nothing_is_said(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'x'\n")
    thresholds = load_thresholds(tmp_path, scenarios=SCENARIOS)
    assert {gate: thresholds.of(gate, "train-step") for gate in DEFAULTS} == DEFAULTS


def test_the_nearest_file_is_read_and_a_scenario_goes_before_all(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(FILE)
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    thresholds = load_thresholds(inner, scenarios=SCENARIOS)
    assert thresholds.of("speed", "train-step") == 0.1
    assert thresholds.of("speed", "inference") == 0.2
    assert thresholds.of("memory", "train-step") == 0.3
    assert thresholds.of("compile", "train-step") == DEFAULTS["compile"]


def test_the_command_line_goes_before_the_file(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(FILE)
    told = ["speed=0.5", "inference.speed=0.6", "memory=0"]
    thresholds = load_thresholds(tmp_path, told, scenarios=SCENARIOS)
    assert thresholds.of("speed", "inference") == 0.6
    assert thresholds.of("speed", "train-step") == 0.1  # what is said of one goes before what is said of all
    assert thresholds.of("memory", "inference") == 0


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ("sped=0.1", "Did you mean 'speed'"),
        ("train-stop.speed=0.1", "Did you mean 'train-step'"),
        ("train-step.sped=0.1", "Did you mean 'speed'"),
        ("speed", "GATE=SHARE"),
        ("speed=5%", "0.05 is 5 %"),
        ("speed=-0.1", "0.05 is 5 %"),
        ("speed=nan", "0.05 is 5 %"),
    ],
)
def test_a_threshold_that_cannot_be_one_is_refused(told: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=message):
        load_thresholds(tmp_path, [told], scenarios=SCENARIOS)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[tool.tpuens-bench.check]\nacuracy = 0.1\n", "Did you mean 'accuracy'"),
        ("[tool.tpuens-bench.check]\nspeed = true\n", "speed=True"),
        ("[tool.tpuens-bench.check.scenario.train]\nspeed = 0.1\n", "Unknown scenario"),
        ("[tool.tpuens-bench.check.scenario.train-step]\nsped = 0.1\n", "Did you mean 'speed'"),
        ("[tool.tpuens-bench]\ncheck = 0.1\n", "names and shares"),
        ("[tool.tpuens-bench.check\n", "cannot be"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(text)
    with pytest.raises(ConfigurationError, match=message):
        load_thresholds(tmp_path, scenarios=SCENARIOS)
