"""The child that traces: TensorFlow's training step, as the benchmark times it, as StableHLO."""

import sys
from pathlib import Path
from typing import Any

import keras
import msgspec
import tensorflow as tf
from tensorflow.compiler.tf2xla.ops import gen_xla_ops  # private: there is no public name for a barrier

from tpuens.hardware.batches import resolve_batch_size
from tpuens.hardware.strategies import open_strategy
from tpuens.training.step import TrainStep

from ..scenarios.workload import (
    SYNTHETIC_CLASSES,
    Phases,
    build_trainer,
    load_parts,
    make_pipeline,
    make_synthetic_batch,
)
from ..suites import Request, Scenario
from .advice import PYTHON_OPERATIONS
from .messages import ANSWER, TEXT, Export, Step
from .stablehlo import add_all_reduce, hash_graph, rewrite_copies, strip_locations


def main() -> None:
    """Reads an order from standard input and leaves the text and what is known of it in the folder named."""
    folder = Path(sys.argv[2])
    order = msgspec.json.decode(sys.stdin.buffer.read(), type=Step)
    text, export = export_step(order)
    (folder / TEXT).write_text(text)
    (folder / ANSWER).write_bytes(msgspec.json.encode(export))


def export_step(order: Step) -> tuple[str, Export]:
    """Returns the StableHLO of a training step of one replica, and what is known of it.

    What XLA cannot compile is found here, since TensorFlow lowers every operation to XLA's for the CPU.

    Raises:
        SystemExit: There is such an operation, or the gradients are not summed; with the reason in words.
    """
    scenario = Scenario(
        name="train-step",
        backbone=order.backbone,
        image_size=order.image_size,
        batch_size=order.batch_size,
        dtype_policy=order.dtype_policy,
        jit=True,
        optimizer="keras",  # as on a TPU; on this CPU the default would be another
    )
    request = Request(suite="preflight", scenario=scenario, strategy="cpu")
    strategy = open_strategy("cpu")
    phases = Phases()
    batch = resolve_batch_size(1, per_replica_batch_size=order.batch_size)
    trainer = build_trainer(request, strategy, phases, batch=batch, num_classes=SYNTHETIC_CLASSES)
    step = trainer.step
    if order.replicas > 1:
        mark_gradients(step)
    synthetic = make_synthetic_batch(request, strategy, batch, SYNTHETIC_CLASSES)
    compiled = tf.function(step._replica_step, jit_compile=True, autograph=False)
    try:
        text = compiled.experimental_get_compiler_ir(synthetic)(stage="stablehlo")
    except tf.errors.OpError as error:
        raise SystemExit(f"XLA cannot compile an operation of this step: {error.message}") from error
    text = rewrite_copies(strip_locations(text))
    variables = trainer.model.trainable_variables
    if order.replicas > 1:
        text, summed = add_all_reduce(text, order.replicas)
        if summed != len(variables):
            raise SystemExit(f"{summed} of {len(variables)} gradients would be summed over the replicas.")
    return text, Export(
        graph=hash_graph(text),
        gradient_bytes=sum(_bytes_of(variable) for variable in variables),
        parameters=trainer.model.count_params(),
        input_operations=find_python_operations(request, order.batch_size),
        versions={"tensorflow": tf.__version__, "keras": keras.__version__},
    )


def mark_gradients(step: TrainStep) -> None:
    """Puts a barrier over the gradients of a step, before the optimizer has them."""
    plain = step._gradients

    def marked(batch: Any) -> tuple[list[Any], Any]:
        gradients, totals = plain(batch)
        return gen_xla_ops.xla_optimization_barrier(gradients), totals

    step._gradients = marked


def find_python_operations(request: Request, batch_size: int) -> tuple[str, ...]:
    """Returns the operations that call Python, of the input pipeline that the benchmark trains from."""
    train, _ = load_parts(request, Phases())
    size = min(batch_size, len(train))
    stream = make_pipeline(request, train).train_stream(size, epoch=0, batches_per_epoch=len(train) // size)
    found: set[str] = set()
    left = [stream]
    while left:
        dataset = left.pop()
        left += dataset._inputs()
        for function in dataset._functions():
            graph = function.function.graph.as_graph_def()
            nodes = [*graph.node, *(node for one in graph.library.function for node in one.node_def)]
            found.update(node.op for node in nodes)
    return tuple(sorted(found.intersection(PYTHON_OPERATIONS)))


def _bytes_of(variable: Any) -> int:
    return int(tf.size(variable.value)) * tf.as_dtype(variable.dtype).size
