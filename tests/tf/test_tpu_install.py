"""The install that the README documents for a TPU VM, as pip resolves it. Nothing is installed.

It stands here and not in tests/unit because it asks the package registry and takes half a minute.
"""

import importlib.util
import json
import platform
import subprocess
import sys
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]

pytestmark = [
    pytest.mark.timeout(900),
    pytest.mark.skipif(
        (sys.platform, platform.machine()) != ("linux", "x86_64"),
        reason="tensorflow-tpu is published for Linux on x86_64 only, which is what TPU VMs are",
    ),
    pytest.mark.skipif(importlib.util.find_spec("pip") is None, reason="this environment has no pip"),
]


def resolve(report: Path, *requirements: str) -> subprocess.CompletedProcess[str]:
    """Resolves requirements as for an empty environment; pip's report of what it chose goes to a file."""
    options = ["--dry-run", "--ignore-installed", "--quiet", "--report", str(report)]
    return subprocess.run(
        [sys.executable, "-m", "pip", "install", *options, *requirements],
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_tpu_group_resolves_to_tensorflow_tpu_without_tensorflow(tmp_path: Path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    report = tmp_path / "report.json"
    # The requirements themselves: only pip 25.1 and later know --group, and an environment may hold an older.
    answer = resolve(report, *project["dependency-groups"]["tpu"])
    if answer.returncode and resolve(tmp_path / "probe.json", "--no-deps", "msgspec").returncode:
        pytest.skip("pip reaches no package registry from here")
    assert answer.returncode == 0, answer.stderr
    names = {
        item["metadata"]["name"].lower().replace("_", "-")
        for item in json.loads(report.read_text())["install"]
    }
    assert "tensorflow-tpu" in names
    assert "libtpu" in names
    assert "tensorflow" not in names
