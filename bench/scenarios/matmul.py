"""Square float32 matrix products, from 3 rows to the largest that fits, on every device of the strategy.

Is a CPU faster than a GPU? For small products it is, since starting a kernel costs more than the product;
the sizes show where the answer changes on this machine. FLOPs of a product: 2 n³.
"""

from time import perf_counter
from typing import Any

import tensorflow as tf

from tpuens.hardware.host import collect_host

from ..measuring.timing import Probe
from ..records.record import WorkloadKey
from ..suites import Request
from .workload import Phases, Workload, describe_configuration, read_options

SIZES = (3, 10, 30, 100, 300, 1000, 2000, 4000, 8000, 16000, 32000)
# The time a single product may take; larger ones would only say the same about a slow device.
PRODUCT_SECONDS = 1.0
MEMORY_SHARE = 0.25  # of the host's memory, for two factors and a product
BYTES = 4


def prepare(request: Request, strategy: Any, phases: Phases) -> Workload:
    """Returns a probe a size and device: the CPU, and the accelerator if the strategy has one."""
    largest = int(read_options(request)["largest"])
    devices = {"cpu": "/cpu:0"}
    for device in strategy.extended.worker_devices[:1]:
        kind = tf.DeviceSpec.from_string(device).device_type.lower()
        devices[kind] = device
    probes: list[Probe] = []
    with phases("build"):
        # Of two arguments alone: binding the other nine of tf.linalg.matmul costs more than a small product.
        product = tf.function(
            lambda left, right: tf.linalg.matmul(left, right),
            autograph=False,
            jit_compile=request.scenario.jit or None,
        )
        for kind, device in devices.items():
            probes += _make_probes(kind, device, product, largest)
    return Workload(
        key=WorkloadKey(scenario="matmul", phase="kernel", options={"dtype": "float32", "largest": largest}),
        configuration=describe_configuration(request, strategy, None),
        probes=tuple(probes),
    )


def _make_probes(kind: str, device: str, product: Any, largest: int) -> list[Probe]:
    probes: list[Probe] = []
    memory = collect_host().usable_memory_bytes * MEMORY_SHARE
    for size in SIZES:
        if size > largest or 3 * BYTES * size * size > memory:
            break
        try:
            probe = _make_probe(kind, device, product, size)
        except tf.errors.ResourceExhaustedError:
            break  # the largest that fits this device was the one before
        probes.append(probe)
        seconds = _time_once(probe)
        if seconds * (SIZES[min(len(probes), len(SIZES) - 1)] / size) ** 3 > PRODUCT_SECONDS:
            break
    return probes


def _make_probe(kind: str, device: str, product: Any, size: int) -> Probe:
    with tf.device(device):
        generator = tf.random.Generator.from_seed(size)
        left, right = generator.normal((size, size)), generator.normal((size, size))
    last: list[Any] = [None]

    def step() -> None:
        with tf.device(device):
            last[0] = product(left, right)

    def fence() -> float:
        with tf.device(device):  # else a GPU would fetch all of a product of the CPU's, a CPU all of a TPU's
            return float(last[0][0, 0])

    step()
    return Probe(
        name="matmul",
        step=step,
        fence=fence,
        examples_per_step=0,
        parameters={"n": size, "device": kind},
    )


def _time_once(probe: Probe) -> float:
    probe.fence()
    start = perf_counter()
    probe.step()
    probe.fence()
    return perf_counter() - start
