"""`pytest bench` for real: a scenario in a worker of its own, shown by pytest-benchmark."""

import json
import os
import subprocess
import sys
from pathlib import Path

from bench.records.store import read_folder

ROOT = Path(__file__).parents[2]


def call(command: list[str]) -> "subprocess.CompletedProcess[str]":
    # Inside a worker of pytest-xdist pytest-benchmark would stand still.
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, env=environ)


def test_pytest_benchmark_shows_the_samples_of_the_record(tmp_path):
    out = tmp_path / "out.json"
    command = [sys.executable, "-m", "pytest", "bench", "-k", "train-step-compute", "-q"]
    command += [f"--benchmark-json={out}", f"--tpuens-results={tmp_path / 'run'}"]
    done = call(command)
    assert done.returncode == 0, done.stdout + done.stderr
    (benchmark,) = json.loads(out.read_text())["benchmarks"]
    (record,) = read_folder(tmp_path / "run")
    compute = record.series[0]
    assert compute.name == "compute"
    steps = [seconds / steps for seconds, steps in zip(compute.seconds, compute.steps, strict=True)]
    assert benchmark["stats"]["data"] == steps


def test_collecting_the_scenarios_imports_no_tensorflow():
    code = (
        "import pytest, sys\n"
        "code = pytest.main(['bench', '--collect-only', '-q', '-p', 'no:cacheprovider'])\n"
        "assert not {'tensorflow', 'keras'} & set(sys.modules)\n"
        "sys.exit(code)"
    )
    done = call([sys.executable, "-c", code])
    assert done.returncode == 0, done.stdout + done.stderr
    for scenario in ("train-step-compute", "time-to-accuracy-first", "ensemble-inference-throughput, fused"):
        assert f"test_scenario[{scenario}]" in done.stdout
