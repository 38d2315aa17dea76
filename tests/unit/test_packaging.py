"""What pyproject.toml promises, and what an installed wheel holds of it."""

import importlib.metadata
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
SHIPPED = {".py", ".typed", ".toml", ".html", ".css"}


def distribution_name(requirement: str) -> str:
    found = re.match(r"[\w.-]+", requirement)
    assert found, requirement
    return found[0]


@pytest.fixture(scope="module")
def wheel() -> importlib.metadata.Distribution:
    found = importlib.metadata.distributions(name="tpuens")
    distribution = next((one for one in found if one.read_text("RECORD") is not None), None)
    if distribution is None:
        pytest.skip("tpuens is not installed: it runs from the source tree")
    origin = json.loads(distribution.read_text("direct_url.json") or "{}")
    if origin.get("dir_info", {}).get("editable"):
        pytest.skip("tpuens is installed editable: its files are those of the source tree")
    return distribution


def installed_files(wheel: importlib.metadata.Distribution) -> set[str]:
    """Returns the wheel's own files: no byte code, no metadata, no scripts outside site-packages."""
    paths = [path for path in wheel.files or () if "__pycache__" not in path.parts]
    return {
        path.as_posix()
        for path in paths
        if path.parts[0] != ".." and not path.parts[0].endswith(".dist-info")
    }


def test_the_tpu_group_is_the_dependencies_with_tensorflow_tpu_in_tensorflow_s_place() -> None:
    here = {distribution_name(text): text for text in PROJECT["project"]["dependencies"]}
    there = {distribution_name(text): text for text in PROJECT["dependency-groups"]["tpu"]}
    assert "tensorflow" in here
    assert "tensorflow-tpu" in there
    assert list(there) == ["tensorflow-tpu" if name == "tensorflow" else name for name in here]
    del here["tensorflow"], there["tensorflow-tpu"]
    assert there == here


def test_every_command_leads_to_a_function() -> None:
    scripts = PROJECT["project"]["scripts"]
    assert set(scripts) == {"tpuens", "tpuens-bench"}
    for name, value in scripts.items():
        entry = importlib.metadata.EntryPoint(name=name, value=value, group="console_scripts")
        assert callable(entry.load())


def test_the_wheel_declares_the_commands(wheel: importlib.metadata.Distribution) -> None:
    declared = {entry.name: entry.value for entry in wheel.entry_points if entry.group == "console_scripts"}
    assert declared == PROJECT["project"]["scripts"]


def test_the_wheel_holds_both_packages_and_nothing_else(wheel: importlib.metadata.Distribution) -> None:
    tree = {
        path.relative_to(ROOT).as_posix()
        for package in ("tpuens", "bench")
        for path in (ROOT / package).rglob("*")
        if path.suffix in SHIPPED
    }
    assert installed_files(wheel) == tree, "install tpuens again if the tree has changed since"


def test_the_wheel_holds_what_is_not_python(wheel: importlib.metadata.Distribution) -> None:
    assert installed_files(wheel) >= {
        "tpuens/py.typed",
        "bench/py.typed",
        "tpuens/hardware/catalogue.toml",
        "bench/reporting/report.html",
        "bench/reporting/report.css",
    }
