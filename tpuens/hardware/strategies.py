"""Distribution strategies by name. The only module that makes strategies or names `tf.distribute`.

A name is a row of `STRATEGIES`, with an argument after a colon where the row takes one: ``cpu``,
``cpu-mirrored:2``, ``gpu:1``, ``tpu:NAME``. Devices have to be set up before TensorFlow starts, so a
process opens one strategy, first thing.
"""

import contextlib
import functools
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import ConfigurationError, DeviceError
from ..registry import Row, Table
from .accelerators import describe_tpus, tpu_remedy
from .allocator import keep_freed_memory
from .clusters import find_cluster, make_kubernetes_resolver, make_slurm_resolver

_HERE = "tpuens.hardware.strategies"
NO_TPU = "this is no TPU VM (no TPU chip on its PCI bus), and TPU_NAME names none"


@dataclass(frozen=True, kw_only=True)
class StrategyRow(Row):
    """A strategy that users can name.

    Attributes:
        argument: What may follow the name after a colon (``"N"``); None where nothing may.
    """

    argument: str | None = None


STRATEGIES = Table(
    "strategy",
    (
        StrategyRow(
            name="auto",
            factory=f"{_HERE}:open_auto",
            summary="the TPU, else every GPU, else the CPU",
        ),
        StrategyRow(name="cpu", factory=f"{_HERE}:open_cpu", summary="the CPU alone, GPUs hidden"),
        StrategyRow(
            name="cpu-mirrored",
            factory=f"{_HERE}:open_cpu_mirrored",
            summary="mirrored over N logical devices of one CPU (default 2): tries a multi-device set-up",
            argument="N",
        ),
        StrategyRow(
            name="gpu", factory=f"{_HERE}:open_gpu", summary="one GPU (default the first)", argument="K"
        ),
        StrategyRow(
            name="gpu-mirrored", factory=f"{_HERE}:open_gpu_mirrored", summary="every GPU of this machine"
        ),
        StrategyRow(
            name="tpu",
            factory=f"{_HERE}:open_tpu",
            summary="a TPU: this VM's own, $TPU_NAME, or the one named",
            argument="NAME",
        ),
        StrategyRow(
            name="multi-worker",
            factory=f"{_HERE}:open_multi_worker",
            summary="one process a worker, from TF_CONFIG, Slurm or Kubernetes",
            argument="tf-config|slurm|kubernetes",
        ),
    ),
)


def open_strategy(name: str) -> Any:
    """Returns the `tf.distribute.Strategy` of that name, its devices set up.

    Args:
        name: A row of `STRATEGIES`, with ``:ARGUMENT`` where the row takes one.

    Raises:
        ConfigurationError: The name is unknown or its argument cannot be used.
        DeviceError: This machine, or this process, cannot offer it; the message says why.
    """
    row_name, colon, argument = name.partition(":")
    row = STRATEGIES[row_name]
    if colon and row.argument is None:
        raise ConfigurationError(f"The strategy {row_name} takes no argument. Received: strategy={name!r}")
    if colon and not argument:
        raise ConfigurationError(
            f"Expected {row_name} or {row_name}:{row.argument}. Received: strategy={name!r}"
        )
    factory = row.load()
    return factory(argument or None) if row.argument else factory()


def list_strategies() -> dict[str, str | None]:
    """Returns every strategy by the name to use on this machine, with None where it can run, else why not.

    GPUs are listed one by one; nothing is initialised.
    """
    gpus = _physical_devices("GPU")
    rows: dict[str, str | None] = {"cpu": None, "cpu-mirrored:2": None}
    if gpus:
        rows |= {f"gpu:{index}": None for index in range(len(gpus))}
        rows["gpu-mirrored"] = None if len(gpus) > 1 else "one GPU only: gpu:0 is the same without the mirror"
    else:
        rows["gpu"] = rows["gpu-mirrored"] = _no_gpu_reason()
    rows["tpu"] = tpu_reason()
    try:
        find_cluster(None)
        rows["multi-worker"] = None
    except DeviceError as error:
        rows["multi-worker"] = str(error)
    return rows


def open_auto() -> Any:
    """Returns the TPU's strategy, else that of every GPU, else the CPU's.

    Raises:
        DeviceError: There is a TPU which cannot be used: nobody wants hours on the CPU beside it.
    """
    reason = tpu_reason()
    if reason is None:
        return open_tpu(None)
    if reason != NO_TPU:
        raise DeviceError(f"{reason}. To go without the TPU, name another strategy, such as cpu.")
    gpus = _physical_devices("GPU")
    if len(gpus) > 1:
        return open_gpu_mirrored()
    return open_gpu(None) if gpus else open_cpu()


def open_cpu() -> Any:
    """Returns a one-device strategy on the CPU; GPUs are hidden, so that nothing strays onto them."""
    import tensorflow as tf

    with _before_start("hide the GPUs"):
        tf.config.set_visible_devices([], "GPU")
    keep_freed_memory()
    return tf.distribute.OneDeviceStrategy("/cpu:0")


def open_cpu_beside() -> Any:
    """Returns a one-device strategy on the CPU, beside one that is open already: no device is set up."""
    import tensorflow as tf

    return tf.distribute.OneDeviceStrategy("/cpu:0")


def open_cpu_mirrored(argument: str | None) -> Any:
    """Returns a mirrored strategy over `argument` logical devices of the one CPU (default 2)."""
    import tensorflow as tf

    count = _parse_number("cpu-mirrored", argument, default=2, least=2)
    with _before_start(f"split the CPU into {count} logical devices"):
        tf.config.set_visible_devices([], "GPU")
        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * count)
    keep_freed_memory()
    return tf.distribute.MirroredStrategy([f"/cpu:{index}" for index in range(count)])


def open_gpu(argument: str | None) -> Any:
    """Returns a one-device strategy on GPU number `argument` (default 0), its memory growing on demand."""
    import tensorflow as tf

    index = _parse_number("gpu", argument, default=0, least=0)
    gpus = _physical_devices("GPU")
    if index >= len(gpus):
        raise DeviceError(
            f"{_no_gpu_reason() if not gpus else f'TensorFlow sees {len(gpus)} GPU(s), numbered from 0.'}"
            f" Received: strategy='gpu:{index}'"
        )
    with _before_start(f"choose GPU {index}"):
        tf.config.set_visible_devices(gpus[index], "GPU")
        tf.config.experimental.set_memory_growth(gpus[index], True)
    return tf.distribute.OneDeviceStrategy("/gpu:0")  # the only one left visible


def open_gpu_mirrored() -> Any:
    """Returns a mirrored strategy over every GPU, their memory growing on demand."""
    import tensorflow as tf

    gpus = _physical_devices("GPU")
    if not gpus:
        raise DeviceError(_no_gpu_reason())
    with _before_start("let GPU memory grow"):
        for gpu in gpus:
            tf.config.experimental.set_memory_growth(gpu, True)
    return tf.distribute.MirroredStrategy([f"/gpu:{index}" for index in range(len(gpus))])


def open_tpu(name: str | None) -> Any:
    """Returns the strategy of a TPU: the one named, else $TPU_NAME, else the one on this TPU VM.

    The TPU system is initialised once a process; a second call returns the same strategy, since
    initialising again would wipe what the first one holds.
    """
    name = name or os.environ.get("TPU_NAME") or "local"
    if name == "local" and (reason := tpu_reason()) is not None:
        raise DeviceError(reason)
    return _initialise_tpu(name)


@functools.cache
def _initialise_tpu(name: str) -> Any:
    import tensorflow as tf

    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver(tpu=name)
        if name != "local":
            tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
        return tf.distribute.TPUStrategy(resolver)
    except Exception as error:  # resolver, network, driver: each raises its own kind
        raise DeviceError(
            f"The TPU {name!r} could not be opened. Check that it exists, that it is running, that no other "
            f"process holds it, and that its software is TensorFlow {tf.__version__}. "
            f"TensorFlow said: {error}"
        ) from error


def open_multi_worker(argument: str | None) -> Any:
    """Returns a strategy over several processes, one a worker, which all must run the same program.

    Args:
        argument: Where the cluster is described: ``tf-config`` (the variable TF_CONFIG), ``slurm`` or
            ``kubernetes``; None takes the first that is there.
    """
    import tensorflow as tf

    source = find_cluster(argument)
    resolvers = tf.distribute.cluster_resolver
    try:
        if source == "tf-config":
            resolver = resolvers.TFConfigClusterResolver()
        elif source == "slurm":
            resolver = make_slurm_resolver(resolvers)
        else:
            resolver = make_kubernetes_resolver(resolvers)
        return tf.distribute.MultiWorkerMirroredStrategy(cluster_resolver=resolver)
    except DeviceError:
        raise
    except Exception as error:  # each resolver, and gRPC beneath, raises its own kind
        raise DeviceError(
            f"The cluster that {source} describes could not be joined. Check that every worker is running, "
            f"that the addresses are right and the ports free. TensorFlow said: {error}"
        ) from error


def is_chief(strategy: Any) -> bool:
    """Returns whether this process is the one that writes what all workers share."""
    return bool(strategy.extended.should_checkpoint)


def sum_over_replicas(tensors: list[Any]) -> list[Any]:
    """Returns each tensor summed over all replicas, as optimizers do it; call it in `strategy.run`."""
    import tensorflow as tf

    return list(tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, tensors))


def tpu_reason(root: Path = Path("/")) -> str | None:
    """Returns why no TPU can be used here, or None where one shows; nothing is initialised."""
    if os.environ.get("TPU_NAME", "local") != "local" or _physical_devices("TPU"):
        return None
    tpus, _ = describe_tpus(0, None, root, os.environ)
    if not tpus:
        return NO_TPU
    return f"TPU chips show, but TensorFlow lists none: {tpu_remedy()}"


@contextlib.contextmanager
def _before_start(what: str) -> Iterator[None]:
    """Turns TensorFlow's refusal to change devices once it runs into a message that says what to do."""
    try:
        yield
    except RuntimeError as error:
        raise DeviceError(
            f"Cannot {what}: TensorFlow has already started in this process. Open the strategy before "
            f"anything else, in a fresh process. TensorFlow said: {error}"
        ) from error


def _physical_devices(kind: str) -> list[Any]:
    import tensorflow as tf

    return list(tf.config.list_physical_devices(kind))


def _no_gpu_reason() -> str:
    import tensorflow as tf

    if not tf.test.is_built_with_cuda():
        return "TensorFlow sees no GPU, and this build of it has no CUDA support"
    if not Path("/proc/driver/nvidia/version").exists():
        return "TensorFlow sees no GPU: no NVIDIA driver is loaded"
    return (
        "an NVIDIA driver is loaded, but TensorFlow sees no GPU: install its CUDA libraries with "
        "pip install 'tpuens[cuda]', and check that CUDA_VISIBLE_DEVICES does not hide it"
    )


def _parse_number(name: str, argument: str | None, *, default: int, least: int) -> int:
    if argument is None:
        return default
    if not argument.isdecimal() or int(argument) < least:
        raise ConfigurationError(
            f"{name}:N takes a whole number of at least {least}. Received: strategy='{name}:{argument}'"
        )
    return int(argument)
