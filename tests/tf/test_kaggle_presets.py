"""Every network of the `kaggle` presets builds, traces and takes three steps, at a reduced size."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "kaggle_presets.py"


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    "member", ["efficientnetb7", "efficientnetb6", "resnet152v2", "inceptionresnetv2", "densenet201"]
)
def test_a_member_takes_three_steps_in_every_phase(member: str) -> None:
    answer = subprocess.run(
        [sys.executable, str(SCRIPT), "--image-size", "96", "--member", member],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"CUDA_VISIBLE_DEVICES": "-1", "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert "GB" in answer.stdout
