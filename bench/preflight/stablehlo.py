"""What is done to the text of a graph between TensorFlow, which writes it, and the compiler, which reads it.

All of it works on text, so that it needs neither of the two.
"""

import hashlib
import re
from dataclasses import dataclass

# TensorFlow leaves these on updated variables, and jaxlib does not know the dialect. XLA removes a reshape
# to the same shape, as it would the copy.
_COPY = re.compile(
    r"(%\S+) = \"?mhlo\.copy\"?(?:\((%[\w#]+)\)|\s+(%[\w#]+))[^:\n]*: "
    r"(?:\((tensor<[^>]*>)\) -> )?(tensor<[^>]*>)"
)
_LOCATION = re.compile(r"^#loc.*\n| loc\((?:#loc\d*|\"[^\"]*\"|unknown|fused\[[^\]]*\])\)", re.MULTILINE)
_NAME = re.compile(r"^module @\S+", re.MULTILINE)
# Where the gradients leave the backward pass: the exporter puts a barrier there, which is then replaced.
_BARRIER = re.compile(r"(%\w+)(:\d+)? = \"?stablehlo\.optimization_barrier\"?\(?([^:)\n]*)\)? : (.*)")
_TENSOR = re.compile(r"tensor<([^>]*)>")
_OTHER = re.compile(r"= \"?((?:mhlo|chlo|tf|tfl)\.[a-z_]\w*)")
_CUSTOM = re.compile(r"stablehlo\.custom_call @(\w+)")


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What the text of a graph shows without any compiler.

    Attributes:
        dynamic: Types whose shape is not known before it runs, each once.
        float64: How many values are 64-bit floats.
        foreign: Operations that are not StableHLO, and calls into libraries, each once.
    """

    dynamic: tuple[str, ...] = ()
    float64: int = 0
    foreign: tuple[str, ...] = ()


def strip_locations(text: str) -> str:
    """Returns the text without what says where in the source each operation comes from, and its name.

    Both differ between equal steps, and they are half of the text.
    """
    return _NAME.sub("module @step", _LOCATION.sub("", text), count=1)


def rewrite_copies(text: str) -> str:
    """Returns the text with every ``mhlo.copy`` as an identity reshape."""

    def reshape(found: re.Match[str]) -> str:
        name, one, other, _, dtype = found.groups()
        return f"{name} = stablehlo.reshape {one or other} : ({dtype}) -> {dtype}"

    return _COPY.sub(reshape, text)


def add_all_reduce(text: str, replicas: int) -> tuple[str, int]:
    """Returns the text with the marked gradients summed over the replicas, and how many were marked.

    Args:
        text: With an optimization barrier over the gradients.
        replicas: How many there are; each is a group member.
    """
    count = 0

    def reduce(found: re.Match[str]) -> str:
        nonlocal count
        name, several, operands, types = found.groups()
        dtypes = re.findall(r"tensor<[^>]*>", types.split("->")[-1])
        values = [operand.strip() for operand in operands.split(",")]
        count += len(values)
        element = "tensor<" + dtypes[0][7:-1].split("x")[-1] + ">"
        group = ", ".join(map(str, range(replicas)))
        listed = ", ".join(dtypes)
        results = f"({listed})" if len(dtypes) > 1 else listed
        return (
            f'{name}{several or ""} = "stablehlo.all_reduce"({", ".join(values)}) <{{replica_groups = '
            f"dense<[[{group}]]> : tensor<1x{replicas}xi64>}}> ({{\n"
            f"    ^bb0(%lhs: {element}, %rhs: {element}):\n"
            f"      %sum = stablehlo.add %lhs, %rhs : {element}\n"
            f"      stablehlo.return %sum : {element}\n"
            f"    }}) : ({listed}) -> {results}"
        )

    return _BARRIER.sub(reduce, text), count


def hash_graph(text: str) -> str:
    """Returns the SHA-256 of a graph's text, its first 16 hex digits."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def read_findings(text: str) -> Findings:
    """Returns what stands out in the text of a graph."""
    types = set(_TENSOR.findall(text))
    return Findings(
        dynamic=tuple(sorted(f"tensor<{one}>" for one in types if "?" in one)),
        float64=sum(1 for one in _TENSOR.findall(text) if one.split("x")[-1] == "f64"),
        foreign=tuple(sorted({*_OTHER.findall(text), *_CUSTOM.findall(text)})),
    )
