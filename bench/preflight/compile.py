"""The child that compiles: jax's way to a compiler for a device that is not here. Never runs the program.

What stands between the text and the compiler is private API of jax, so the extra `preflight` names the one
version that this was tried with.
"""

import os
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec

from ..measuring.scrubbing import publishable
from .messages import ANSWER, Compiled, CompileOrder, Memory
from .refusals import read_refusal
from .targets import COMPILERS

# Before jax is imported. Nobody asks the metadata server of a cloud, one process does not lock out another,
# and jax itself runs on the CPU.
VARIABLES = {
    "JAX_PLATFORMS": "cpu",
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_WORKER_ID": "0",
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
}
# No kernels can be tried against each other on a GPU that is not here.
UNTRIED = "--xla_gpu_autotune_level=0"
_GIB = 2**30


def main() -> None:
    """Reads an order from standard input and leaves what the compiler said in the folder named."""
    order = msgspec.json.decode(sys.stdin.buffer.read(), type=CompileOrder)
    os.environ.update(VARIABLES)
    # Flags of the user's would change what is kept under the graph's hash.
    os.environ.pop("LIBTPU_INIT_ARGS", None)
    os.environ["XLA_FLAGS"] = UNTRIED if order.platform == "cuda" else ""
    (Path(sys.argv[2]) / ANSWER).write_bytes(msgspec.json.encode(compile_text(order)))


def compile_text(order: CompileOrder) -> Compiled:
    """Returns what the compiler makes of a graph, a refusal included."""
    from jax._src import compiler
    from jax._src.interpreters import mlir
    from jax._src.lib import xla_client
    from jax.errors import JaxRuntimeError
    from jax.experimental import topologies
    from jaxlib.mlir import ir

    topology = topologies.get_topology_desc(
        platform=order.platform, topology_name=order.topology, **order.options
    )
    devices = topology.devices[: order.replicas]
    client = devices[0].client
    versions = {name: version(name) for name in COMPILERS[order.platform].packages}
    options = compiler.get_compile_options(
        num_replicas=order.replicas,
        num_partitions=1,
        device_assignment=[[device.id] for device in devices],
    )
    start = time.perf_counter()
    try:
        with mlir.make_ir_context():
            module = ir.Module.parse(Path(order.text).read_text())
            program = client.compile(
                module, executable_devices=xla_client.DeviceList(tuple(devices)), compile_options=options
            )
    except JaxRuntimeError as error:
        seconds = time.perf_counter() - start
        return msgspec.structs.replace(
            read_refusal(publishable(str(error))), seconds=seconds, versions=versions
        )
    seconds = time.perf_counter() - start
    memory = _read_memory(program.get_compiled_memory_stats())
    if order.allowed_bytes is not None and memory.peak > order.allowed_bytes:
        needed, allowed = memory.peak / _GIB, order.allowed_bytes / _GIB
        return Compiled(
            status="too large",
            message=f"It compiles, but needs {needed:.2f} of {allowed:.2f} GiB.",
            needed_bytes=memory.peak,
            allowed_bytes=order.allowed_bytes,
            seconds=seconds,
            versions=versions,
        )
    # Without a card the plugin for CUDA has none: "GetCostAnalysis is not supported".
    costs = {} if order.platform == "cuda" else program.cost_analysis() or {}
    costs = costs[0] if isinstance(costs, list) else costs
    return Compiled(
        status="ok",
        memory=memory,
        flops=costs.get("flops"),
        bytes_accessed=costs.get("bytes accessed"),
        seconds=seconds,
        versions=versions,
    )


def _read_memory(stats: Any) -> Memory:
    """Returns what a program needs; the compiler for CUDA gives no peak, which is then its parts' sum."""
    arguments, outputs = stats.argument_size_in_bytes, stats.output_size_in_bytes
    aliased, temporaries = stats.alias_size_in_bytes, stats.temp_size_in_bytes
    return Memory(
        peak=stats.peak_memory_in_bytes or arguments + outputs - aliased + temporaries,
        arguments=arguments,
        outputs=outputs,
        aliased=aliased,
        temporaries=temporaries,
        code=stats.generated_code_size_in_bytes,
    )
