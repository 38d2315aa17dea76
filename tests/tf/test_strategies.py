"""Strategies, each in a process of its own, since devices have to be set up before TensorFlow starts."""

import json
import os
import random
import socket
import subprocess
import sys
from pathlib import Path

import pytest


def call(code: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
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
        ("{", "no JSON"),
        ('{"cluster": {"worker": ["secret:1"]}}', "without 'task'"),
        ('{"cluster": {"worker": "secret:1"}, "task": {"type": "worker", "index": 0}}', "no list of workers"),
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
    answer = call(code, TF_CONFIG=config).stdout
    assert message in answer
    assert "secret" not in answer


def test_a_slurm_task_finds_its_own_address_among_nodes_that_slurm_does_not_sort() -> None:
    code = """
import tensorflow as tf
from tpuens.hardware.clusters import make_slurm_resolver
resolver = make_slurm_resolver(tf.distribute.cluster_resolver)
print(resolver.cluster_spec().as_dict()["worker"], resolver.task_id, resolver.num_accelerators())
"""
    answer = call(
        code,
        SLURM_PROCID="1",
        SLURM_LOCALID="1",
        SLURM_JOB_ID="20007",
        SLURMD_NODENAME="n2",
        SLURM_STEP_NUM_TASKS="4",
        SLURM_STEP_NODELIST="n[2,10]",
        SLURM_STEP_TASKS_PER_NODE="2(x2)",
    )
    addresses = "['n10:10007', 'n10:10008', 'n2:10007', 'n2:10008']"
    assert answer.stdout.strip() == f"{addresses} 3 {{'GPU': 0}}", answer.stderr


def test_a_slurm_step_of_one_task_trains_on_the_cpu() -> None:
    code = """
from tpuens.hardware.strategies import is_chief, open_strategy
strategy = open_strategy("multi-worker")
print(strategy.num_replicas_in_sync, strategy.extended.worker_devices, is_chief(strategy))
"""
    with socket.socket() as one:
        while True:  # a free port of those that the job's number gives
            job = random.randrange(20_000)
            try:
                one.bind(("localhost", 10_000 + job))
            except OSError:
                continue
            break
    answer = call(
        code,
        SLURM_PROCID="0",
        SLURM_LOCALID="0",
        SLURM_JOB_ID=str(job),
        SLURMD_NODENAME="localhost",
        SLURM_STEP_NUM_TASKS="1",
        SLURM_STEP_NODELIST="localhost",
        SLURM_STEP_TASKS_PER_NODE="1",
    )
    assert answer.stdout.startswith("1 ('/job:worker/replica:0/task:0/device:CPU:0',) True"), answer.stderr


KUBERNETES = """
import sys
from types import SimpleNamespace as Named
import tensorflow as tf
from tpuens.errors import DeviceError
from tpuens.hardware.clusters import make_kubernetes_resolver

def answer(*hosts):
    def list_pods(label_selector):  # the last one first, as the API may list them
        assert label_selector == "job-name=digits"
        return Named(items=[
            Named(metadata=Named(name=f"digits-{index}-x"), status=Named(phase="Running", host_ip=host))
            for index, host in reversed(list(enumerate(hosts)))])

    sys.modules["kubernetes"] = hosts and Named(
        client=Named(CoreV1Api=lambda: Named(list_pod_for_all_namespaces=list_pods)),
        config=Named(load_incluster_config=lambda: None)) or None
    try:
        resolver = make_kubernetes_resolver(tf.distribute.cluster_resolver)
        print(resolver.cluster_spec().as_dict()["worker"], resolver.task_id, resolver.num_accelerators())
    except DeviceError as error:
        print(error)

answer()
answer("a", "b")
answer("a", "a")
answer(*"abcdefghijk")
"""


def test_a_kubernetes_pod_finds_its_address_or_says_why_it_cannot() -> None:
    answer = call(KUBERNETES, JOB_COMPLETION_INDEX="1", TPUENS_KUBERNETES_JOB="digits")
    without_client, two_nodes, one_node, too_many = answer.stdout.strip().splitlines()
    assert "pip install kubernetes" in without_client
    assert two_nodes == "['a:8470', 'b:8470'] 1 {'GPU': 0}"
    assert "2 pods of the job 'digits' on 1 nodes" in one_node
    assert "11 pods" in too_many


def test_vfio_devices_alone_are_no_tpu(tmp_path: Path) -> None:
    vfio = tmp_path / "dev" / "vfio" / "7"
    vfio.parent.mkdir(parents=True)
    vfio.touch()
    code = "import sys; from pathlib import Path; from tpuens.hardware.strategies import tpu_reason\n"
    answer = call(code + "print(tpu_reason(Path(sys.argv[1])))", str(tmp_path))
    assert "no TPU VM" in answer.stdout, answer.stderr


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


def test_auto_does_not_train_on_the_cpu_beside_a_tpu_that_it_cannot_use() -> None:
    code = """
from tpuens.errors import DeviceError
from tpuens.hardware import strategies
strategies.tpu_reason = lambda: "TPU chips show, but TensorFlow lists none: end it"
try:
    strategies.open_strategy("auto")
except DeviceError as error:
    print(error)
"""
    said = call(code).stdout
    assert "end it. To go without the TPU, name another strategy" in said


def test_images_are_not_sent_to_a_tpu_over_the_network() -> None:
    code = """
from types import SimpleNamespace as Object
from tpuens.errors import DeviceError
from tpuens.training.workers import check_reachable
for device in "/job:localhost/device:TPU:0", "/job:worker/device:GPU:0", "/job:worker/device:TPU:0":
    try:
        print(check_reachable(Object(extended=Object(worker_devices=(device,)))))
    except DeviceError as error:
        print(error)
"""
    local, worker, remote = call(code).stdout.strip().splitlines()
    assert (local, worker) == ("None", "None")
    assert "run this on the TPU VM itself" in remote


def test_auto_takes_the_cpu_where_there_is_nothing_else() -> None:
    code = """
from tpuens.hardware.strategies import open_strategy
print(open_strategy("auto").extended.worker_devices)
"""
    assert "CPU:0" in call(code).stdout
