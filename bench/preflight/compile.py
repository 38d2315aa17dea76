"""The child that compiles: jax's way to a compiler for a device that is not here. Never runs the program.

What stands between the text and the compiler is private API of jax, so the extra `preflight` names the one
version that this was tried with.
"""

import os
import sys
import time
from importlib.metadata import version
from pathlib import Path

import msgspec

from ..measuring.scrubbing import publishable
from .messages import Compiled, CompileOrder, Memory
from .refusals import read_refusal

ANSWER = "answer.json"
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


def main() -> None:
    """Reads an order from standard input and leaves what the compiler said in the folder named."""
    order = msgspec.json.decode(sys.stdin.buffer.read(), type=CompileOrder)
    os.environ.update(VARIABLES)
    (Path(sys.argv[2]) / ANSWER).write_bytes(msgspec.json.encode(compile_text(order)))


def compile_text(order: CompileOrder) -> Compiled:
    """Returns what the compiler makes of a graph, a refusal included."""
    import jax
    import jaxlib
    from jax._src import compiler
    from jax._src.interpreters import mlir
    from jax._src.lib import xla_client
    from jax.experimental import topologies
    from jaxlib.mlir import ir

    topology = topologies.get_topology_desc(platform="tpu", topology_name=order.topology, **order.options)
    devices = topology.devices[: order.replicas]
    client = devices[0].client
    versions = {"jax": jax.__version__, "jaxlib": jaxlib.__version__, "libtpu": version("libtpu")}
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
    except Exception as error:
        seconds = time.perf_counter() - start
        return msgspec.structs.replace(
            read_refusal(publishable(str(error))), seconds=seconds, versions=versions
        )
    seconds = time.perf_counter() - start
    stats = program.get_compiled_memory_stats()
    costs = program.cost_analysis() or {}
    costs = costs[0] if isinstance(costs, list) else costs
    return Compiled(
        status="ok",
        memory=Memory(
            peak=stats.peak_memory_in_bytes,
            arguments=stats.argument_size_in_bytes,
            outputs=stats.output_size_in_bytes,
            aliased=stats.alias_size_in_bytes,
            temporaries=stats.temp_size_in_bytes,
            code=stats.generated_code_size_in_bytes,
        ),
        flops=costs.get("flops"),
        bytes_accessed=costs.get("bytes accessed"),
        seconds=seconds,
        versions=versions,
    )
