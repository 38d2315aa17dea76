"""FLOPs of one example: from XLA's cost analysis where jaxlib is installed, else from TensorFlow's profiler.

XLA is asked about the graph of the forward and the backward pass as it stands before optimisation, so that
nothing is compiled; the gradient of the images, which nothing uses, is still in it (0.8 % of cifar_cnn's
step). The optimizer's update is left out: MFU is about the model's FLOPs (Chowdhery et al., PaLM, 2022,
appendix B), and the update does not grow with the examples. Of several replicas, and where only the profiler
is there, the forward pass is counted: the profiler reads some gradients wrong (ResNet152V2's training step
9 % too high), and XLA does not take a graph over several devices.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import keras
import tensorflow as tf

from tpuens.training.loop import Trainer

from ..records.record import Flops

# An instruction in the text of an HLO module: %sum.1 = f32[16,10]{1,0} add(%a.1, %b.1).
_INSTRUCTION = re.compile(
    r"^\s*(?:ROOT )?(%\S+) = (?:\()?(\w+)\[([\d,]*)\]\S* ([\w-]+)\(([^)]*)\)", re.MULTILINE
)
# Operations whose operands and results have to move, whatever else is fused into them.
_MOVING = ("convolution", "dot", "reduce", "reduce-window", "select-and-scatter")
_BITS = re.compile(r"\d+")

_Of = Literal["training step", "forward pass"]


@dataclass(frozen=True, kw_only=True)
class Network:
    """What a scenario computes for an example, for its operations to be counted.

    Attributes:
        batch: Images and targets of one replica; images alone where nothing is trained.
        forward: From images to outputs.
        gradients: From a batch to gradients; None where nothing is trained.
    """

    batch: Any
    forward: Callable[[Any], Any]
    gradients: Callable[[Any], Any] | None = None

    @property
    def images(self) -> Any:
        """Returns the images of the batch."""
        return self.batch if self.gradients is None else self.batch[0]


@dataclass(frozen=True, kw_only=True)
class _Count:
    """Of one example of one network."""

    flops: float
    moved_bytes: float | None = None


def training_network(trainer: Trainer, batch: Any) -> Network:
    """Returns the network of a trainer, with a batch such as its step takes."""
    return Network(
        batch=tuple(trainer.strategy.experimental_local_results(part)[0] for part in batch),
        forward=lambda images: trainer.model(images, training=False),
        gradients=trainer.step.compute_gradients,
    )


def predicting_network(model: keras.Model, strategy: Any, images: Any) -> Network:
    """Returns a network that predicts, with images such as `PredictStep.run` takes."""
    return Network(
        batch=strategy.experimental_local_results(images)[0],
        forward=lambda images: model(images, training=False),
    )


def count_flops(networks: Sequence[Network]) -> Flops | None:
    """Returns what one example costs in all of these networks together; None where nothing can count it.

    Bytes are those of the operands and results of convolutions, matrix products and reductions: what moves
    when everything else is fused into them. What XLA makes of cifar_cnn's training for a CPU moves 2.4 times
    as much.
    """
    trains = all(network.gradients is not None for network in networks)
    attempts: list[tuple[_Of, str, Callable[[Network], _Count]]] = [
        ("forward pass", "hlo-cost-analysis", _count_forward_by_hlo),
        ("forward pass", "tensorflow-profiler", _count_forward_by_profiler),
    ]
    if trains:
        attempts.insert(0, ("training step", "hlo-cost-analysis", _count_gradients_by_hlo))
    for of, method, count in attempts:
        try:
            counted: dict[int, _Count] = {}
            for network in networks:
                if id(network) not in counted:
                    counted[id(network)] = count(network)
        except Exception as error:  # jaxlib is absent or another one, or XLA does not take the graph
            tf.get_logger().info("%s of the %s: %s", method, of, error)
            continue
        counts = [counted[id(network)] for network in networks]
        moved = [count.moved_bytes for count in counts if count.moved_bytes is not None]
        return Flops(
            per_example=sum(count.flops for count in counts),
            of=of,
            method=method,
            versions=_versions(method),
            bytes_per_example=sum(moved) if moved else None,
        )
    return None


def _count_gradients_by_hlo(network: Network) -> _Count:
    return _count_by_hlo(network.gradients, network.batch, len(network.images))


def _count_forward_by_hlo(network: Network) -> _Count:
    return _count_by_hlo(network.forward, network.images, len(network.images))


def _count_by_hlo(function: Any, batch: Any, examples: int) -> _Count:
    # jaxlib promises nothing about these names: the extra `flops` names the version that they are of.
    from jaxlib import xla_client

    compiled = tf.function(function, jit_compile=True, autograph=False)
    module = xla_client.hlo.HloModule.from_serialized_hlo_module_proto(
        compiled.experimental_get_compiler_ir(batch)(stage="hlo_serialized")
    )
    client = xla_client.make_cpu_client()
    flops = xla_client._xla.hlo_module_cost_analysis(client, module)["flops"]
    return _Count(flops=flops / examples, moved_bytes=count_moved_bytes(module.to_string()) / examples)


def count_moved_bytes(hlo: str) -> int:
    """Returns the bytes of all operands and results of convolutions, products and reductions of a module.

    Args:
        hlo: The module as text.
    """
    sizes: dict[str, int] = {}
    moved = 0
    for name, dtype, shape, operation, operands in _INSTRUCTION.findall(hlo):
        elements = 1
        for size in shape.split(",") if shape else ():
            elements *= int(size)
        bits = _BITS.search(dtype)
        sizes[name] = elements * (int(bits[0]) // 8 if bits else 1)  # pred has no number, and a byte
        if operation in _MOVING:
            moved += sizes[name] + sum(sizes.get(one.split()[-1], 0) for one in operands.split(", ") if one)
    return moved


def _count_forward_by_profiler(network: Network) -> _Count:
    graph = tf.function(network.forward, autograph=False).get_concrete_function(network.images).graph
    options = tf.compat.v1.profiler.ProfileOptionBuilder.float_operation()
    options["output"] = "none"
    profile = tf.compat.v1.profiler.profile(graph, options=options)
    return _Count(flops=profile.total_float_ops / len(network.images))


def _versions(method: str) -> dict[str, str]:
    versions = {"tensorflow": tf.__version__}
    if method == "hlo-cost-analysis":
        import jaxlib

        versions["jaxlib"] = jaxlib.__version__
    return versions
