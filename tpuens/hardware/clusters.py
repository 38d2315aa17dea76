"""Where several workers find each other: TF_CONFIG, Slurm or Kubernetes, read from the environment."""

import json
import os
from typing import Any

from ..errors import ConfigurationError, DeviceError


def find_cluster(argument: str | None) -> str:
    """Returns which description of a cluster this process's environment holds.

    Args:
        argument: "tf-config", "slurm" or "kubernetes"; None takes the first that is there.

    Raises:
        ConfigurationError: The argument is none of these.
        DeviceError: Nothing describes a cluster, or TF_CONFIG is not right.
    """
    present = {
        "tf-config": "TF_CONFIG" in os.environ,
        "slurm": {"SLURM_STEP_NUM_TASKS", "SLURMD_NODENAME", "SLURM_LOCALID"} <= set(os.environ),
        "kubernetes": "KUBERNETES_SERVICE_HOST" in os.environ and "JOB_COMPLETION_INDEX" in os.environ,
    }
    if argument is not None and argument not in present:
        raise ConfigurationError(
            f"A cluster is described by one of: {', '.join(present)}. Received: 'multi-worker:{argument}'"
        )
    source = argument or next((name for name, here in present.items() if here), None)
    if source is None or not present[source]:
        raise DeviceError(
            "no cluster is described: TF_CONFIG is not set, and this is neither a Slurm step nor a pod of a "
            "Kubernetes Indexed Job"
            if source is None
            else f"{source} describes no cluster in this process's environment"
        )
    if source == "tf-config":
        _check_tf_config(os.environ["TF_CONFIG"])
    return source


def _check_tf_config(text: str) -> None:
    """Refuses a TF_CONFIG that is not right, unquoted, since reasons are published and it names hosts."""
    example = '{"cluster": {"worker": ["host0:2222", "host1:2222"]}, "task": {"type": "worker", "index": 0}}'
    try:
        config = json.loads(text)
    except ValueError as error:
        raise DeviceError(f"TF_CONFIG must look like {example}. Received: no JSON ({error})") from None
    try:
        workers, index = config["cluster"][config["task"]["type"]], int(config["task"]["index"])
    except KeyError as error:
        raise DeviceError(f"TF_CONFIG must look like {example}. Received: one without {error}") from None
    except (TypeError, ValueError):
        raise DeviceError(f"TF_CONFIG must look like {example}. Received: another form") from None
    if not isinstance(workers, list) or not 0 <= index < len(workers):
        count = len(workers) if isinstance(workers, list) else "no list of"
        raise DeviceError(f"TF_CONFIG names {count} workers, numbered from 0. Received: index={index}")


def make_slurm_resolver(resolvers: Any) -> Any:
    """Returns the resolver of this Slurm step, one worker a task, on CPUs or on its share of the GPUs.

    TensorFlow's own says which addresses there are. It cannot do without GPUs, and takes tasks to be
    numbered by the alphabet of their nodes, so which of them is this task's follows from its node here.

    Args:
        resolvers: The module `cluster_resolver` of TensorFlow.
    """
    tasks = int(os.environ["SLURM_STEP_NUM_TASKS"])
    # Jobs that share a node must not share ports.
    port_base = 10_000 + int(os.environ.get("SLURM_JOB_ID", "0")) % 20_000
    local_task = int(os.environ["SLURM_LOCALID"])
    cluster = resolvers.SlurmClusterResolver(
        port_base=port_base, gpus_per_node=tasks, gpus_per_task=1, auto_set_gpu=False
    ).cluster_spec()
    own = f"{os.environ['SLURMD_NODENAME']}:{port_base + local_task}"
    addresses = cluster.job_tasks("worker")
    if own not in addresses:
        raise DeviceError(
            "A Slurm step lists the node of every task: start the workers with srun. Received: a task whose "
            "node is not in SLURM_STEP_NODELIST"
        )
    local_tasks = sum(address.rpartition(":")[0] == os.environ["SLURMD_NODENAME"] for address in addresses)
    return _fixed_resolver(resolvers, cluster, addresses.index(own), _take_gpus(local_task, local_tasks))


def make_kubernetes_resolver(resolvers: Any) -> Any:
    """Returns the resolver of the Kubernetes Indexed Job named in $TPUENS_KUBERNETES_JOB.

    TensorFlow addresses a pod by its node and numbers pods by the alphabet of their names, which hold their
    index. So pods need ``hostNetwork: true``, a node each, an account that may list the pods, and there may
    be ten at most. Until all run, this fails, and the job's restartPolicy has to try again.

    Args:
        resolvers: The module `cluster_resolver` of TensorFlow.
    """
    try:
        from kubernetes import client, config  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        raise DeviceError("Kubernetes is asked with its Python client: pip install kubernetes") from None
    config.load_incluster_config()
    job = os.environ.get("TPUENS_KUBERNETES_JOB", "tensorflow")
    index = int(os.environ["JOB_COMPLETION_INDEX"])
    cluster = resolvers.KubernetesClusterResolver(
        {"worker": [f"job-name={job}"]}, override_client=client.CoreV1Api()
    ).cluster_spec()
    addresses = cluster.as_dict().get("worker", [])
    if not index < len(addresses) <= 10 or len(set(addresses)) < len(addresses):
        raise DeviceError(
            "A Kubernetes job may have up to 10 pods, all running, with hostNetwork and a node each. "
            f"Received: {len(addresses)} pods of the job {job!r} on {len(set(addresses))} nodes, of which "
            f"this is number {index}"
        )
    return _fixed_resolver(resolvers, cluster, index, _take_gpus(0, 1))


def _fixed_resolver(resolvers: Any, cluster: Any, index: int, num_gpus: int) -> Any:
    return resolvers.SimpleClusterResolver(
        cluster, task_type="worker", task_id=index, num_accelerators={"GPU": num_gpus}, rpc_layer="grpc"
    )


def _take_gpus(local_task: int, local_tasks: int) -> int:
    """Returns how many GPUs this task uses, the others of its node hidden from it.

    Slurm may have bound them to tasks already; then each task sees its share alone.
    """
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    share = int(os.environ.get("SLURM_GPUS_ON_NODE", len(gpus))) // local_tasks
    if 0 < share < len(gpus):
        gpus = gpus[local_task * share : (local_task + 1) * share]
        tf.config.set_visible_devices(gpus, "GPU")
    return len(gpus)
