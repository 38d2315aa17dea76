"""Strategies, each in a process of its own, since devices have to be set up before TensorFlow starts."""

import json
import os
import subprocess
import sys

import pytest


def call(code: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"CUDA_VISIBLE_DEVICES": "-1"} | variables,
        timeout=120,
    )


REFUSALS = """
import json
from tpuens.errors import TpuensError
from tpuens.hardware.strategies import open_strategy
answers = {}
for name in ["gpu", "gpu:1", "gpu-mirrored", "tpu", "multi-worker", "multi-worker:slurm", "cpu-mirrored:1",
             "cpu-mirrored:x", "cpu:2", "gpu:", "cpux"]:
    try:
        open_strategy(name)
        answers[name] = "opened"
    except TpuensError as error:
        answers[name] = str(error)
print(json.dumps(answers))
"""


def test_what_cannot_be_opened_says_why() -> None:
    answer = call(REFUSALS)
    assert answer.returncode == 0, answer.stderr
    reasons = json.loads(answer.stdout)
    assert "sees no GPU" in reasons["gpu"]
    assert "gpu:1" in reasons["gpu:1"]
    assert "no TPU VM" in reasons["tpu"]
    assert "TF_CONFIG is not set" in reasons["multi-worker"]
    assert "slurm describes no cluster" in reasons["multi-worker:slurm"]
    assert "at least 2" in reasons["cpu-mirrored:1"]
    assert "whole number" in reasons["cpu-mirrored:x"]
    assert "takes no argument" in reasons["cpu:2"]
    assert "gpu:K" in reasons["gpu:"]
    assert "Did you mean 'cpu'" in reasons["cpux"]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("{", "must look like"),
        ('{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 3}}', "names 1 workers"),
    ],
)
def test_a_cluster_that_is_described_wrongly_is_refused(config: str, message: str) -> None:
    code = """
from tpuens.errors import DeviceError
from tpuens.hardware.clusters import find_cluster
try:
    find_cluster(None)
except DeviceError as error:
    print(error)
"""
    assert message in call(code, TF_CONFIG=config).stdout


def test_mirrored_over_logical_cpus_has_a_replica_each_and_opening_late_is_refused() -> None:
    code = """
import tensorflow as tf
from tpuens.errors import DeviceError
from tpuens.hardware.strategies import is_chief, open_strategy
strategy = open_strategy("cpu-mirrored:3")
print(strategy.num_replicas_in_sync, is_chief(strategy))
tf.constant(1)
try:
    open_strategy("cpu-mirrored:2")
except DeviceError as error:
    print(error)
"""
    first, second = call(code).stdout.strip().splitlines()
    assert first == "3 True"
    assert "fresh process" in second


def test_auto_takes_the_cpu_where_there_is_nothing_else() -> None:
    code = """
from tpuens.hardware.strategies import open_strategy
print(open_strategy("auto").extended.worker_devices)
"""
    assert "CPU:0" in call(code).stdout
