"""Where several workers find each other: TF_CONFIG, Slurm or Kubernetes, read from the environment."""

import json
import os

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
        "slurm": "SLURM_STEP_NUM_TASKS" in os.environ,
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
    example = '{"cluster": {"worker": ["host0:2222", "host1:2222"]}, "task": {"type": "worker", "index": 0}}'
    try:
        config = json.loads(text)
        workers = config["cluster"][config["task"]["type"]]
        index = int(config["task"]["index"])
    except (ValueError, KeyError, TypeError) as error:
        raise DeviceError(f"TF_CONFIG must look like {example}. Received: {text!r}") from error
    if not 0 <= index < len(workers):
        raise DeviceError(f"TF_CONFIG names {len(workers)} workers, numbered from 0. Received: index={index}")
