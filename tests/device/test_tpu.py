"""What only a real TPU can show. The test runs in a process of its own, since one process at a time holds
a TPU, and skips with the reason where there is none: ``pytest -m tpu tests/device``.
"""

import json
import os
import subprocess
import sys
from typing import Any

import pytest

pytestmark = [pytest.mark.tpu, pytest.mark.timeout(900)]


def run_child(code: str) -> Any:
    """Runs code in a child process and returns the JSON of the last line that it printed."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={"TF_CPP_MIN_LOG_LEVEL": "2"} | os.environ,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.strip().splitlines()[-1])


@pytest.fixture(scope="session")
def tpu() -> None:
    """Skips where there is no TPU. A child is asked: this process must not take hold of one itself."""
    code = "import json; from tpuens.hardware.strategies import tpu_reason; print(json.dumps(tpu_reason()))"
    reason = run_child(code)
    if reason is not None:
        pytest.skip(f"no TPU: {reason}")


STEP = """
import json
from tpuens.hardware.strategies import open_strategy
strategy = open_strategy("tpu")
import keras, numpy as np, tensorflow as tf
from tpuens.models.classifier import build_classifier
from tpuens.training.loop import Trainer
from tpuens.training.optimizers import make_optimizer
from tpuens.training.step import share_among_replicas
with strategy.scope():
    keras.utils.set_random_seed(0)
    trainer = Trainer(
        model=build_classifier(backbone="cifar_cnn", num_classes=4, image_shape=(32, 32, 3)),
        optimizer=make_optimizer("adam", learning_rate=1e-3),
        strategy=strategy,
        per_replica_batch_size=16,
    )
generator = np.random.default_rng(1)
images = tf.constant(generator.integers(0, 256, (trainer.global_batch_size, 32, 32, 3)), tf.uint8)
labels = tf.constant(generator.integers(0, 4, trainer.global_batch_size), tf.int32)
head = trainer.model.get_layer("head").kernel
before = head.numpy()
trainer.step(share_among_replicas(strategy, (images, labels)))
trainer.step.fence()
loss, _, examples = trainer.step.read_totals()
probabilities = trainer.predict_step(images)
print(json.dumps({
    "devices": list(strategy.extended.worker_devices),
    "replicas": strategy.num_replicas_in_sync,
    "moved": float(np.abs(head.numpy() - before).max()),
    "loss": loss,
    "examples": examples,
    "shape": probabilities.shape,
    "sums": probabilities.sum(axis=1).tolist(),
}))
"""


def test_a_tpu_trains_a_step_and_predicts(tpu: None) -> None:
    answer = run_child(STEP)
    assert all("TPU" in device for device in answer["devices"])
    assert answer["moved"] > 0
    assert 0 < answer["loss"] < 100
    assert answer["examples"] == 16 * answer["replicas"]
    assert answer["shape"] == [answer["examples"], 4]
    assert answer["sums"] == pytest.approx([1.0] * answer["examples"], abs=1e-3)
