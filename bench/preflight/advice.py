"""What can be said of a step without any compiler: sizes that waste the matrix units."""

from collections.abc import Sequence

from .stablehlo import Findings

# A register of a TPU's vector unit holds 8 × 128 values, and its matrix unit is 128 × 128 (256 × 256 from
# v6e on): Google Cloud TPU documentation, performance guide.
_SUBLANES, _LANES = 8, 128

# What calls back into the Python of the process that made it: it cannot be sent to another host, and
# takes turns at Python's lock.
PYTHON_OPERATIONS = ("PyFunc", "PyFuncStateless", "EagerPyFunc")


def describe_batch(batch_size: int) -> Sequence[str]:
    """Returns what a batch of one replica wastes on a TPU, and what would not; nothing where it is good."""
    padded = -(-batch_size // _SUBLANES) * _SUBLANES
    if batch_size % _LANES == 0:
        return ()
    if padded != batch_size:
        return (
            f"A batch of {batch_size} on each replica is padded to {padded}, a multiple of {_SUBLANES}, "
            f"wherever the batch lies along the rows: {padded} would cost hardly more.",
        )
    return (
        f"A batch of {batch_size} on each replica is a multiple of {_SUBLANES}, not of {_LANES}: where the "
        f"compiler lays the batch along the lanes it is padded to {-(-batch_size // _LANES) * _LANES}.",
    )


def describe_input(operations: Sequence[str]) -> Sequence[str]:
    """Returns what in an input pipeline does not run on a TPU's host, and what to do about it."""
    if not operations:
        return ()
    return (
        f"tpuens' input pipeline calls Python ({', '.join(operations)}), once an epoch, for its order: it "
        "runs on the machine that trains, as on a TPU VM, and cannot be sent to the host of a TPU elsewhere.",
    )


def describe_findings(findings: Findings) -> Sequence[str]:
    """Returns what the text of a graph shows, with what to do about it."""
    advice = []
    if findings.dynamic:
        advice.append(
            f"Shapes that are not known before it runs: {', '.join(findings.dynamic[:5])}. TPUs compile for "
            "fixed shapes: batch with drop_remainder, pad, or replace what makes them (tf.where, "
            "boolean_mask, unique)."
        )
    if findings.float64:
        advice.append(
            f"{findings.float64} values are float64, which TPUs emulate slowly: cast to float32 where they "
            "arise, often a Python or NumPy number."
        )
    if findings.foreign:
        advice.append(
            "Operations that are not StableHLO, which the compiler may refuse: "
            f"{', '.join(findings.foreign)}."
        )
    return advice
