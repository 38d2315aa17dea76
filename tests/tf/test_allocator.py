"""The allocator's settings hold in a process that trains."""

import os
import subprocess
import sys

import pytest

FAULTS = """
import resource, sys
import tensorflow as tf
from tpuens.hardware.strategies import open_strategy
open_strategy("cpu")
next(iter(tf.data.Dataset.range(8).map(lambda i: tf.zeros([512, 512]) + tf.cast(i, tf.float32), 2)))
image = tf.ones([8, 128, 128, 32])
step = tf.function(lambda x: tf.reduce_sum(tf.nn.elu(x * 2.0) * tf.exp(-x) + tf.sqrt(x)))
for _ in range(40):
    step(image)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    step(image)
print("FAULTS", (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / 20)
"""


def count_faults(**variables: str) -> float:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    answer = subprocess.run(
        [sys.executable, "-c", FAULTS],
        capture_output=True,
        text=True,
        check=False,
        # oneDNN, on by default on some processors, brings an allocator of its own.
        env=environment | {"CUDA_VISIBLE_DEVICES": "-1", "TF_ENABLE_ONEDNN_OPTS": "0"} | variables,
        timeout=120,
    )
    assert answer.returncode == 0, answer.stderr
    return float(answer.stdout.split("FAULTS")[1])


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator is Linux's")
def test_a_step_faults_no_pages_in_again_unless_the_user_has_settings_of_their_own() -> None:
    # How many faults are left without the user's settings varies with what else the process does meanwhile.
    assert count_faults() < count_faults(MALLOC_MMAP_THRESHOLD_="131072") / 5
