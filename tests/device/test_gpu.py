"""What only a real GPU can show. Each test runs in a process of its own, since devices have to be set up
before TensorFlow starts, and skips with the reason where there is no GPU: ``pytest -m gpu tests/device``.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(600)]

TRAINER = """
import json
import keras
import numpy as np
import tensorflow as tf
from tpuens.models.classifier import build_classifier
from tpuens.training.loop import Trainer
from tpuens.training.optimizers import make_optimizer
from tpuens.training.step import share_among_replicas

def make_trainer(strategy, per_replica_batch_size, dtype_policy="float32", learning_rate=1e-3):
    with strategy.scope():
        keras.utils.set_random_seed(0)
        model = build_classifier(
            backbone="cifar_cnn", num_classes=4, image_shape=(32, 32, 3), dtype_policy=dtype_policy)
        optimizer = make_optimizer("adam", learning_rate=learning_rate, dtype_policy=dtype_policy)
        return Trainer(model=model, optimizer=optimizer, strategy=strategy,
                       per_replica_batch_size=per_replica_batch_size)

def make_batch(examples):
    generator = np.random.default_rng(1)
    labels = generator.integers(0, 4, examples)
    # Each class has a brightness of its own, so that there is something to learn.
    images = generator.integers(0, 64, (examples, 32, 32, 3)) + 48 * labels[:, None, None, None]
    return tf.constant(images, tf.uint8), tf.constant(labels, tf.int32)
"""


def run_child(code: str, *arguments: str) -> Any:
    """Runs code in a child process and returns the JSON of the last line that it printed."""
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={"TF_CPP_MIN_LOG_LEVEL": "2"} | os.environ,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.strip().splitlines()[-1])


@pytest.fixture(scope="session")
def gpus() -> list[str]:
    """The strategies gpu:0, gpu:1, … of this machine; skips where there is none.

    TensorFlow is asked only where the machine shows a GPU: its start takes seconds.
    """
    if not list(Path("/dev").glob("nvidia[0-9]*")) and not Path("/dev/dxg").exists():
        pytest.skip("no GPU: the machine has no /dev/nvidia* (nor /dev/dxg, as WSL 2 has)")
    code = "from tpuens.hardware.strategies import list_strategies; print(json.dumps(list_strategies()))"
    strategies: dict[str, str | None] = run_child("import json; " + code)
    if "gpu" in strategies:
        pytest.skip(f"no GPU: {strategies['gpu']}")
    return [name for name in strategies if name.startswith("gpu:")]


# Large products, so that ten steps are much work for the device and few kernels for the host to start.
FENCE = """
import json, statistics, sys, time
import keras, numpy as np, tensorflow as tf
from tpuens.hardware.strategies import open_strategy
strategy = open_strategy(sys.argv[1])
from tpuens.training.losses import LossConfig, make_loss
from tpuens.training.optimizers import make_optimizer
from tpuens.training.step import TrainStep, share_among_replicas

width, batch_size = int(sys.argv[2]), int(sys.argv[3])
with strategy.scope():
    images = keras.Input((32, 32, 3), dtype="uint8")
    x = keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(images))
    for _ in range(4):
        x = keras.layers.Dense(width, "relu")(x)
    step = TrainStep(
        model=keras.Model(images, keras.layers.Dense(10)(x)),
        loss=make_loss(LossConfig()),
        optimizer=make_optimizer("sgd", learning_rate=1e-6),
        strategy=strategy,
        global_batch_size=batch_size,
    )
batch = share_among_replicas(
    strategy, (tf.zeros((batch_size, 32, 32, 3), tf.uint8), tf.zeros(batch_size, tf.int32)))

sync = tf.test.experimental.sync_devices

def seconds(wait):
    start = time.perf_counter()
    wait()
    return time.perf_counter() - start

def queue():
    for _ in range(10):
        step(batch)

def queue_and(wait):
    start = time.perf_counter()
    queue()
    waited = seconds(wait)
    return waited, time.perf_counter() - start

rounds = []
for _ in range(7):
    sync_seconds, with_sync = queue_and(sync)
    idle_sync = seconds(sync)
    fence_seconds, with_fence = queue_and(step.fence)
    sync_after_fence = seconds(sync)
    idle_fence = seconds(step.fence)
    rounds.append({
        "sync": sync_seconds, "with_sync": with_sync, "idle_sync": idle_sync,
        "fence": fence_seconds, "with_fence": with_fence, "idle_fence": idle_fence,
        "sync_after_fence": sync_after_fence,
    })
steady = rounds[2:]  # the first two trace, and choose kernels
print(json.dumps({name: statistics.median(one[name] for one in steady) for name in steady[0]}))
"""


def test_the_fence_agrees_with_tensorflow_s_own_synchronisation(gpus: list[str]) -> None:
    seconds = run_child(FENCE, gpus[0], "4096", "8192")
    # The host must have run ahead, or every fence would look right: this is what a missing one would miss.
    assert seconds["sync"] > 10 * seconds["idle_sync"] + 0.01, seconds
    assert seconds["fence"] > 0.9 * seconds["sync"], seconds
    assert seconds["sync_after_fence"] < 0.02 * seconds["sync"] + 2 * seconds["idle_sync"], seconds
    assert seconds["with_fence"] == pytest.approx(
        seconds["with_sync"], rel=0.1, abs=2 * seconds["idle_fence"]
    ), seconds


STEP = (
    TRAINER
    + """
import sys
from tpuens.hardware.strategies import open_strategy
strategy = open_strategy(sys.argv[1])
trainer = make_trainer(strategy, 16)
images, labels = make_batch(trainer.global_batch_size)
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
)


def check_step(answer: dict[str, Any]) -> None:
    assert all("GPU" in device for device in answer["devices"])
    assert answer["moved"] > 0
    assert 0 < answer["loss"] < 100
    assert answer["examples"] == 16 * answer["replicas"]
    assert answer["shape"] == [answer["examples"], 4]
    assert answer["sums"] == pytest.approx([1.0] * answer["examples"], abs=1e-4)


def test_the_first_gpu_trains_a_step_and_predicts(gpus: list[str]) -> None:
    check_step(run_child(STEP, "gpu"))


def test_every_gpu_trains_a_step_and_predicts_by_its_number(gpus: list[str]) -> None:
    for name in gpus:
        answer = run_child(STEP, name)
        assert answer["replicas"] == 1
        check_step(answer)


def test_all_gpus_mirrored_train_a_step_and_predict(gpus: list[str]) -> None:
    answer = run_child(STEP, "gpu-mirrored")
    assert answer["replicas"] == len(gpus)
    check_step(answer)


MIXED = (
    TRAINER
    + """
from tpuens.hardware.strategies import open_strategy
import sys
strategy = open_strategy(sys.argv[1])
trainer = make_trainer(strategy, 32, dtype_policy="mixed_float16")
batch = share_among_replicas(strategy, make_batch(32))
losses = []
for _ in range(60):
    trainer.step.reset_totals()
    trainer.step(batch)
    losses.append(trainer.step.read_totals()[0])
model = trainer.model
print(json.dumps({
    "losses": losses,
    "weights": sorted({variable.dtype for variable in model.trainable_variables}),
    "computes_in": model.get_layer("backbone").layers[-1].compute_dtype,
}))
"""
)


def test_mixed_float16_trains(gpus: list[str]) -> None:
    answer = run_child(MIXED, gpus[0])
    assert answer["computes_in"] == "float16"
    assert answer["weights"] == ["float32"]
    assert all(0 <= loss < 100 for loss in answer["losses"])  # false for NaN too
    assert sum(answer["losses"][-10:]) < 0.5 * sum(answer["losses"][:10])


# A single GPU is split in two. NCCL cannot reduce between the halves of one device, but nothing is reduced.
SHARE = """
import json, sys
import tensorflow as tf
from tpuens.training.step import share_among_replicas
kind = sys.argv[1]
physical = tf.config.list_physical_devices(kind)
if len(physical) == 1:
    half = tf.config.LogicalDeviceConfiguration(**({"memory_limit": 1024} if kind == "GPU" else {}))
    tf.config.set_logical_device_configuration(physical[0], [half] * 2)
count = len(tf.config.list_logical_devices(kind))
strategy = tf.distribute.MirroredStrategy(
    [f"/{kind}:{index}" for index in range(count)], cross_device_ops=tf.distribute.ReductionToOneDevice())
images = tf.reshape(tf.range(count * 3), (count * 3, 1))
shared = share_among_replicas(strategy, (images, images[:, 0]))
print(json.dumps({
    "devices": list(strategy.extended.worker_devices),
    "pieces": [
        [[piece.device, piece.numpy().ravel().tolist()] for piece in pieces]
        for pieces in map(strategy.experimental_local_results, shared)
    ],
}))
"""


def test_every_piece_of_a_shared_batch_lies_on_its_own_device(gpus: list[str]) -> None:
    answer = run_child(SHARE, "GPU")
    devices = answer["devices"]
    assert len(set(devices)) == len(devices) >= 2
    for pieces in answer["pieces"]:
        assert pieces == [
            [device, list(range(3 * index, 3 * index + 3))] for index, device in enumerate(devices)
        ]


PEAK = (
    TRAINER
    + """
from tpuens.hardware.devices import peak_device_memory
from tpuens.hardware.strategies import open_strategy
import sys
strategy = open_strategy(sys.argv[1])
trainer = make_trainer(strategy, 256)
batch = share_among_replicas(strategy, make_batch(256))
before = peak_device_memory()
trainer.step(batch)
trainer.step.fence()
print(json.dumps({"before": before, "after": peak_device_memory()}))
"""
)


def test_the_peak_of_device_memory_counts_what_a_step_took(gpus: list[str]) -> None:
    answer = run_child(PEAK, gpus[0])
    assert set(answer["after"]) == {"GPU:0"}
    # The outputs of the first two convolutions alone, which the gradients need: float32, 32×32×32 an image.
    assert answer["after"]["GPU:0"] - answer["before"]["GPU:0"] > 2 * 256 * 32 * 32 * 32 * 4
