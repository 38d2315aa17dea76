"""One more data set, scenario, backbone or strategy is one row and one module: the rest follows.

Each test writes a module and runs a command, or the library, in a child process whose table has one row
more. None of them starts TensorFlow.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

STRIPES = """
import numpy as np
from tpuens.data.examples import ArrayImages, Examples

def load_stripes(split, data_dir=None):
    count = {"train": 6, "test": 4}[split]
    labels = np.arange(count) % 2
    pixels = np.zeros((count, 12, 16, 3), np.uint8)
    pixels[labels == 0, ::2] = pixels[labels == 1, :, ::2] = 255
    return Examples(
        dataset="stripes",
        split=split,
        ids=np.array([f"{split}-{index}" for index in range(count)]),
        labels=labels,
        class_names=("lying", "standing"),
        images=ArrayImages(pixels=pixels),
    )
"""

MORE_DATA = """
from tpuens.data import datasets
from tpuens.registry import Table
row = datasets.Dataset(
    name="stripes",
    factory="stripes:load_stripes",
    summary="lying and standing stripes",
    classes="2",
    image_shape="12×16×3",
    source="drawn",
    needs_data_dir=False,
    default_image_size=32,
)
datasets.DATASETS = Table("dataset", (*datasets.DATASETS.values(), row))
"""

MORE_SCENARIOS = """
from bench.scenarios import table
from tpuens.registry import Table
row = table.ScenarioRow(name="blink", factory="blink:prepare", summary="open and shut")
table.SCENARIOS = Table("scenario", (*table.SCENARIOS.values(), row))
"""

MORE_BACKBONES = """
from tpuens.models import backbones
from tpuens.registry import Table
row = backbones.Backbone(
    name="pebble",
    factory="pebble:build_pebble",
    summary="one convolution",
    image_size=24,
    min_image_size=8,
    preprocessing="tf",
    imagenet_weights=False,
)
backbones.BACKBONES = Table("backbone", (*backbones.BACKBONES.values(), row))
"""

MORE_STRATEGIES = """
from tpuens.hardware import strategies
from tpuens.registry import Table
row = strategies.StrategyRow(name="abacus", factory="abacus:open_abacus", summary="by hand", argument="ROWS")
strategies.STRATEGIES = Table("strategy", (*strategies.STRATEGIES.values(), row))
"""

CORE = "from tpuens.cli import main; main()"
BENCH = "from tpuens.bench_command import main; main()"
NO_TENSORFLOW = "import sys; sys.modules['tensorflow'] = sys.modules['keras'] = None\n"


def call(folder: Path, code: str, *arguments: str) -> str:
    """Runs code in a child process that finds modules in the folder; returns what it printed."""
    paths = [str(folder), os.environ.get("PYTHONPATH", "")]
    variables = {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "COLUMNS": "160", "PYTHONUTF8": "1"}
    done = subprocess.run(
        [sys.executable, "-c", NO_TENSORFLOW + code, *arguments],
        capture_output=True,
        encoding="utf-8",
        check=False,
        env=os.environ | variables,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def stripes(tmp_path: Path) -> Path:
    (tmp_path / "stripes.py").write_text(STRIPES)
    return tmp_path


def test_a_new_data_set_loads_by_name_and_is_shown(stripes: Path) -> None:
    code = "train = datasets.load_examples('stripes', 'train'); print(len(train), train.images.shape(0))\n"
    loaded, shown = call(stripes, MORE_DATA + code + CORE, "data", "show", "stripes").split("\n", 1)
    assert loaded == "6 (12, 16, 3)"
    assert "stripes train: 6 images, 12×16×3, 2 classes" in shown
    assert "stripes test: 4 images" in shown


def test_a_new_data_set_is_listed(stripes: Path) -> None:
    assert "lying and standing stripes" in call(stripes, MORE_DATA + CORE, "data", "list")


def test_a_new_data_set_can_be_measured(stripes: Path) -> None:
    arguments = ("run", "train-epoch", "--dataset", "stripes", "--strategy", "cpu", "--dry-run")
    assert "1 runs" in call(stripes, MORE_DATA + BENCH, *arguments)


def test_a_new_scenario_is_listed(tmp_path: Path) -> None:
    assert "blink               open and shut" in call(tmp_path, MORE_SCENARIOS + BENCH, "list")


def test_a_new_scenario_can_be_run_by_name(tmp_path: Path) -> None:
    arguments = ("run", "blink", "--strategy", "cpu", "--dry-run")
    assert "blink on cpu" in call(tmp_path, MORE_SCENARIOS + BENCH, *arguments)


def test_a_new_backbone_can_be_measured_at_its_own_size(tmp_path: Path) -> None:
    arguments = ("run", "train-step", "--backbone", "pebble", "--strategy", "cpu", "--dry-run")
    assert "train-step pebble@24 on cpu" in call(tmp_path, MORE_BACKBONES + BENCH, *arguments)


def test_a_new_strategy_opens_by_name_with_its_argument(tmp_path: Path) -> None:
    (tmp_path / "abacus.py").write_text("def open_abacus(rows):\n    return f'{rows} rows'\n")
    code = "print(strategies.open_strategy('abacus:7'))"
    assert call(tmp_path, MORE_STRATEGIES + code) == "7 rows\n"


def test_a_new_strategy_can_be_measured(tmp_path: Path) -> None:
    arguments = ("run", "train-step", "--strategy", "abacus:7", "--dry-run")
    assert "on abacus:7" in call(tmp_path, MORE_STRATEGIES + BENCH, *arguments)
