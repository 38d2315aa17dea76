"""Is a number possible at all? FLOP/s against the peak of the device and of the arithmetic really used.

MFU = the model's FLOPs / (time × peak), no recomputation counted (Chowdhery et al., PaLM, 2022, appendix B).
A CPU's peaks are the matrix product and the memory stream that were measured in the same run; those of
accelerators are published. Above 100 % a number is flagged with the likely cause. It is refused as a
measurement error where the fence fails its check too, or where not even a faster algorithm explains it.
"""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec

from tpuens.hardware.catalogue import DeviceFacts, find_device

from ..records.record import Configuration, Flops, RunRecord, Series
from .labels import identity
from .statistics import describe, matrix_product_flops_per_second, step_seconds

# What F(2×2, 3×3) saves of the multiplications of a convolution: Lavin and Gray, Fast Algorithms for
# Convolutional Neural Networks, 2016. Counted FLOPs are those of the plain algorithm.
WINOGRAD = 2.25
# Backward costs twice forward: the gradients of a layer's inputs, and those of its weights (Kaplan et al.,
# Scaling Laws for Neural Language Models, 2020, section 2.1).
TRAINING_OVER_FORWARD = 3
# A fence calls TensorFlow and brings a number to the host, which takes tens of microseconds anywhere.
FREE_FENCE_SECONDS = 5e-6
# Steps overlap within a block, so a block's step may be shorter than one with a fence, but not so much.
FENCED_OVER_BLOCK = 10
_STEADY = 0.1  # spread of a reference's blocks above which it hardly is a peak
_HELD = ("compute", "both", "latency", "throughput")

Verdict = Literal["possible", "flagged", "refused"]


@dataclass(frozen=True, kw_only=True)
class Peak:
    """What the devices of a run can do at best, all replicas that computed together.

    Attributes:
        flops_per_second: In `arithmetic`.
        arithmetic: "float32", "tf32", "bfloat16" or "float16".
        bytes_per_second: Of their memory; None where it is not known.
        source: Where both come from, in words.
        measured: Whether that is this very run.
        faster: Published peaks of other arithmetics of the same devices that are higher.
    """

    flops_per_second: float
    arithmetic: str
    bytes_per_second: float | None
    source: str
    measured: bool
    faster: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Utilisation:
    """How much of the peak one series reached.

    Attributes:
        mfu: Model FLOPs utilisation, as a share.
        flops_per_second: Reached.
        flops_per_byte: Arithmetic intensity, modelled, not measured; None where bytes are not counted.
        counted: How the FLOPs of an example are known, in words.
    """

    series: str
    mfu: float
    flops_per_second: float
    flops_per_byte: float | None
    counted: str
    peak: Peak


@dataclass(frozen=True, kw_only=True)
class Plausibility:
    """Whether a record's numbers can be true.

    Attributes:
        why: The reason in words; of "possible" what could not be checked, if anything.
        mfu: The highest of its series; None where there is no peak or nothing to count.
    """

    verdict: Verdict
    why: str
    mfu: float | None = None


def share_flops(records: Sequence[RunRecord]) -> list[RunRecord]:
    """Returns the records, those without FLOPs with those of another of the same workload."""
    known = {identity(record.workload): record.flops for record in records if record.flops}
    return [
        record
        if record.flops or identity(record.workload) not in known
        else msgspec.structs.replace(record, flops=known[identity(record.workload)])
        for record in records
    ]


def find_peak(record: RunRecord) -> Peak | None:
    """Returns the peak of a run's devices, or None where it is neither measured nor published."""
    configuration = record.configuration
    arithmetic = used_arithmetic(configuration)
    name = _accelerator_name(record)
    if name is None:
        return _measured_peak(record.references) if arithmetic == "float32" else None
    facts = find_device(name)
    peak = facts.peak_flops_per_second(arithmetic) if facts else None
    if facts is None or peak is None:
        return None
    # Matrix products alone run on the first device.
    replicas = 1 if record.workload.phase == "kernel" else configuration.num_replicas or 1
    bandwidth = facts.bandwidth_bytes_per_second()
    return Peak(
        flops_per_second=replicas * peak,
        arithmetic=arithmetic,
        bytes_per_second=None if bandwidth is None else replicas * bandwidth,
        source=f"{facts.source} ({facts.date})",
        measured=False,
        faster=_faster_peaks(facts, peak, replicas),
    )


def used_arithmetic(configuration: Configuration) -> str:
    """Returns what the products of a run were computed in, whatever the weights are kept in."""
    policy = configuration.dtype_policy
    return policy.removeprefix("mixed_") if policy != "float32" else configuration.float32_arithmetic


def utilisation(series: Series, record: RunRecord) -> Utilisation | None:
    """Returns how much of the peak a series reached; None where it does not compute, or nothing tells.

    Args:
        series: One of the record's.
        record: With its FLOPs; see `share_flops`.
    """
    peak, seconds = find_peak(record), sum(series.seconds)
    if peak is None or seconds <= 0:
        return None
    if record.workload.phase == "kernel":
        n = series.parameters.get("n")
        # On a CPU it would be held against itself.
        reached = matrix_product_flops_per_second(series, int(n)) if n and not peak.measured else None
        if reached is None or series.parameters.get("device") == "cpu":
            return None
        return _utilisation(series, reached, None, "2 n³ for each product", peak)
    if record.flops is None or series.name not in _HELD or not any(series.examples):
        return None
    factor = _training_factor(record, record.flops)
    reached = factor * record.flops.per_example * sum(series.examples) / seconds
    moved = record.flops.bytes_per_example
    intensity = record.flops.per_example / moved if moved else None
    return _utilisation(series, reached, intensity, counted_text(record.flops, factor), peak)


def pool_utilisations(found: Iterable[Utilisation | None]) -> Utilisation | None:
    """Returns the one in the middle, by the share of its own run's peak."""
    known = sorted((one for one in found if one), key=lambda one: one.mfu)
    return known[len(known) // 2] if known else None


def counted_text(flops: Flops, factor: int) -> str:
    """Returns how the FLOPs of an example are known."""
    times = f"{factor} × the forward pass" if factor != 1 else f"the {flops.of}"
    return f"{times} as counted by {flops.method.replace('-', ' ')}"


def plausibility(record: RunRecord) -> Plausibility:
    """Returns whether the numbers of a record can be true.

    Args:
        record: With its FLOPs; see `share_flops`.
    """
    found = [one for series in record.series if (one := utilisation(series, record))]
    if not found:
        return Plausibility(verdict="possible", why="Not checked: no FLOPs are counted, or no peak is known.")
    worst = max(found, key=lambda one: one.mfu)
    if worst.mfu <= 1:
        return Plausibility(verdict="possible", why="", mfu=worst.mfu)
    where = (
        f"{worst.series} reached {worst.mfu:.0%} of the peak in {worst.peak.arithmetic} ({worst.peak.source})"
    )
    failed = fence_failure(record)
    if failed:
        why = f"{where}, and the fence fails its check: {failed}. The clock was read while the device worked."
        return Plausibility(verdict="refused", why=why, mfu=worst.mfu)
    if worst.mfu > WINOGRAD:
        why = f"{where}; a faster algorithm explains no more than {WINOGRAD:.0%}. {_likely_cause(worst)}"
        return Plausibility(verdict="refused", why=why, mfu=worst.mfu)
    return Plausibility(verdict="flagged", why=f"{where}. {_likely_cause(worst)}", mfu=worst.mfu)


def fence_failure(record: RunRecord) -> str | None:
    """Returns why the fence of a run cannot have waited for the device; None where nothing says so."""
    if record.fence_seconds and statistics.median(record.fence_seconds) < FREE_FENCE_SECONDS:
        return (
            f"it takes {1e6 * statistics.median(record.fence_seconds):.2f} µs, less than a call of TensorFlow"
        )
    blocks = [_median_step(one) for one in record.series if one.name in ("compute", "throughput")]
    steps = [_median_step(one) for one in record.series if one.name == "latency" and any(one.examples)]
    if len(blocks) == 1 and len(steps) == 1 and record.workload.phase == "train":
        fence = statistics.median(record.fence_seconds) if record.fence_seconds else 0.0
        if steps[0] - fence > FENCED_OVER_BLOCK * blocks[0]:
            return (
                f"a step in a block takes {1e3 * blocks[0]:.3g} ms, one with a fence of its own "
                f"{1e3 * steps[0]:.3g} ms"
            )
    return None


def _likely_cause(found: Utilisation) -> str:
    """Returns what most likely made a number pass the peak."""
    peak = found.peak
    for arithmetic, faster in peak.faster:
        if found.flops_per_second <= faster:
            return (
                f"Likely the wrong precision: in {arithmetic} the peak is {faster / 1e12:.4g} TFLOP/s. Else "
                "a wrong peak (another device or clock) or a faster algorithm such as Winograd's convolution."
            )
    if peak.measured:
        return (
            "Likely the wrong peak: the matrix product of the same run was disturbed, or too small for this "
            "machine. Measure again with nothing else running."
        )
    return (
        "Likely a faster algorithm such as Winograd's convolution, or a wrong peak: another device or clock."
        if found.mfu <= WINOGRAD
        else "Likely no fence, or the wrong peak: look at which device the record names, and at its fence."
    )


def _utilisation(
    series: Series, reached: float, intensity: float | None, counted: str, peak: Peak
) -> Utilisation:
    return Utilisation(
        series=series.name,
        mfu=reached / peak.flops_per_second,
        flops_per_second=reached,
        flops_per_byte=intensity,
        counted=counted,
        peak=peak,
    )


def _training_factor(record: RunRecord, flops: Flops) -> int:
    trains = record.workload.phase == "train"
    return TRAINING_OVER_FORWARD if trains and flops.of == "forward pass" else 1


def _accelerator_name(record: RunRecord) -> str | None:
    """Returns what the accelerator that a run used is called; None for the CPU."""
    strategy, _, index = record.configuration.strategy.partition(":")
    accelerators = record.environment.accelerators if record.environment else ()
    if strategy.startswith("cpu"):
        return None
    wanted = [kind for kind in ("tpu", "gpu") if strategy.startswith(kind)] or ["tpu", "gpu"]
    found = [one for kind in wanted for one in accelerators if one.kind == kind]
    if strategy == "gpu" and index.isdecimal():  # a machine's GPUs need not be alike
        found = found[int(index) :] or found
    return found[0].model if found else None


def _measured_peak(references: Sequence[Series]) -> Peak | None:
    on_cpu = {one.name: one for one in references if one.parameters.get("device") == "cpu"}
    product, stream = on_cpu.get("matmul"), on_cpu.get("stream")
    if product is None or "n" not in product.parameters:
        return None
    flops = matrix_product_flops_per_second(product, int(product.parameters["n"]))
    bandwidth = None
    if stream is not None and "bytes" in stream.parameters and sum(stream.seconds) > 0:
        bandwidth = int(stream.parameters["bytes"]) * sum(stream.steps) / sum(stream.seconds)
    if not flops:
        return None
    spread = describe(step_seconds(product))
    disturbed = spread is not None and (spread.relative_mad or 0) > _STEADY
    return Peak(
        flops_per_second=flops,
        arithmetic="float32",
        bytes_per_second=bandwidth,
        source=f"matrix product of the same run{', though its blocks spread' if disturbed else ''}",
        measured=True,
    )


def _faster_peaks(facts: DeviceFacts, peak: float, replicas: int) -> tuple[tuple[str, float], ...]:
    others = ((name, facts.peak_flops_per_second(name) or 0.0) for name in facts.peak_tflops)
    return tuple(sorted(((name, replicas * one) for name, one in others if one > peak), key=lambda p: p[1]))


def _median_step(series: Series) -> float:
    return statistics.median(step_seconds(series))
