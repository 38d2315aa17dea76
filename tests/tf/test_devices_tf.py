import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest
import tensorflow as tf

import tpuens
from bench.measuring.environment import collect_environment
from bench.measuring.memory import collect_memory
from bench.records.record import Environment
from tpuens.hardware.accelerators import collect_accelerators
from tpuens.hardware.devices import collect_devices, collect_host, peak_device_memory


def test_listing_the_devices_does_not_start_tensorflow():
    code = (
        "from tpuens.hardware.devices import collect_devices; collect_devices()\n"
        "import tensorflow as tf\n"
        # Once TensorFlow has started, this raises RuntimeError.
        "cpu = tf.config.list_physical_devices('CPU')[0]\n"
        "tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)\n"
        "assert len(tf.config.list_logical_devices('CPU')) == 2\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(tpuens.__file__).parents[1])


def test_the_report_lists_what_tensorflow_lists():
    report = collect_devices()
    assert report.host == collect_host()
    kinds = [one.kind for one in report.accelerators]
    assert kinds.count("gpu") == len(tf.config.list_physical_devices("GPU"))
    assert report.versions["tensorflow"] == tf.__version__
    assert report.versions["keras"] == tf.keras.__version__
    assert ("cuda" in report.versions) == tf.test.is_built_with_cuda()
    json.dumps(dataclasses.asdict(report))


def test_a_tpu_that_this_process_has_initialised_is_found(tmp_path):
    # What initialize_tpu_system leaves behind; no public function tells it later.
    from tensorflow.python.tpu import tpu_strategy_util

    topology = tf.tpu.experimental.Topology(
        mesh_shape=[1, 1, 1, 2], device_coordinates=[[[0, 0, 0, 0], [0, 0, 0, 1]]]
    )
    tpu_strategy_util._INITIALIZED_TPU_SYSTEMS["planted"] = topology
    try:
        listing = collect_accelerators(tmp_path, {"TPU_ACCELERATOR_TYPE": "v3-8"})
    finally:
        del tpu_strategy_util._INITIALIZED_TPU_SYSTEMS["planted"]
    tpus = [one for one in listing.accelerators if one.kind == "tpu"]
    assert [tpu.model for tpu in tpus] == ["TPU v3", "TPU v3"]
    assert tpus[0].details == {"accelerator_type": "v3-8", "mesh_shape": "1x1x1x2", "num_hosts": 1}


def test_a_tensorflow_that_misbehaves_becomes_a_note(tmp_path, monkeypatch):
    def fail(kind):
        raise RuntimeError("CUDA error: unknown")

    broken = SimpleNamespace(config=SimpleNamespace(list_physical_devices=fail))
    monkeypatch.setitem(sys.modules, "tensorflow", broken)
    listing = collect_accelerators(tmp_path, {})
    assert listing.accelerators == ()
    assert listing.notes == ("TensorFlow did not list its devices: CUDA error: unknown",)


def test_an_environment_with_real_devices_survives_json():
    environment = collect_environment(
        seed=0, dataset_fingerprint=None, variables=os.environ, load_before=None, frequency_before=None
    )
    assert msgspec.json.decode(msgspec.json.encode(environment), type=Environment) == environment
    assert environment.versions["tensorflow"] == tf.__version__


def test_devices_without_memory_statistics_are_absent():
    peaks = peak_device_memory()
    assert "CPU:0" not in peaks
    assert set(peaks) == {
        device.name.removeprefix("/device:")
        for device in tf.config.list_logical_devices()
        if device.device_type in ("GPU", "TPU")
    }
    memory = collect_memory()
    assert memory.device_peak_bytes == peaks
    assert memory.peak_resident_bytes > 10**8  # TensorFlow alone takes more


@pytest.mark.gpu
@pytest.mark.skipif(not tf.config.list_physical_devices("GPU"), reason="needs a GPU")
def test_the_peak_of_a_gpu_grows_with_what_is_put_on_it():
    before = peak_device_memory()["GPU:0"]
    with tf.device("/gpu:0"):
        tf.zeros([2**28 + before // 4]).numpy().sum()
    assert peak_device_memory()["GPU:0"] > before
