"""What goes between the preflight and its two kinds of children: one that traces, one that compiles."""

import msgspec

from ..records.record import Struct

# What a child leaves in its folder: its answer, and of one that traces the graph.
ANSWER = "answer.json"
TEXT = "graph.mlir"


class Step(Struct, frozen=True, kw_only=True):
    """A training step to look at, as a child is told to trace it.

    Attributes:
        batch_size: Examples on each replica.
        replicas: Above 1 the gradients are summed over so many.
    """

    backbone: str
    image_size: int
    batch_size: int
    dtype_policy: str
    replicas: int = 1


class Export(Struct, frozen=True, kw_only=True):
    """A traced step.

    Attributes:
        graph: The hash of its text.
        gradient_bytes: What replicas exchange in a step.
        input_operations: Of the input pipeline, those that call Python.
        versions: Of what traced it.
    """

    graph: str
    gradient_bytes: int
    parameters: int
    input_operations: tuple[str, ...] = ()
    versions: dict[str, str] = msgspec.field(default_factory=dict)


class CompileOrder(Struct, frozen=True, kw_only=True):
    """Which graph to compile, for what.

    Attributes:
        text: The file with its StableHLO.
        topology: The compiler's name for the machine.
        options: More of what its topology is made with.
        platform: Whose compiler: "tpu" or "cuda".
        allowed_bytes: What a program may have on a device, where the compiler refuses nothing by itself.
    """

    text: str
    topology: str
    options: dict[str, str] = msgspec.field(default_factory=dict)
    replicas: int = 1
    platform: str = "tpu"
    allowed_bytes: int | None = None


class Memory(Struct, frozen=True, kw_only=True):
    """What a compiled program needs on a device, in bytes."""

    peak: int
    arguments: int
    outputs: int
    aliased: int
    temporaries: int
    code: int


class Compiled(Struct, frozen=True, kw_only=True):
    """What the compiler made of a graph, or why it did not.

    Attributes:
        status: "ok", "too large" for the device, "refused" by the compiler, or "stopped" before it was done.
        message: The compiler's own, or why it was stopped.
        memory: None unless it compiled.
        needed_bytes: What it would have needed, of a program that is too large.
        allowed_bytes: What the compiler allows a program of it.
        flops, bytes_accessed: Of one step of one replica, by the compiler's cost analysis of what it made;
            None where it counts nothing.
        seconds: What compiling took.
    """

    status: str
    message: str | None = None
    memory: Memory | None = None
    needed_bytes: int | None = None
    allowed_bytes: int | None = None
    flops: float | None = None
    bytes_accessed: float | None = None
    seconds: float = 0.0
    versions: dict[str, str] = msgspec.field(default_factory=dict)
