"""The record of one run: raw samples in seconds, and facts. Nothing derived is stored.

Throughput, speed-ups, intervals and percentiles are computed when a record is read (`bench.analysis`), so
a wrong formula can be mended without measuring again. There are no sentinels: what is not known is None
or absent, what failed says so in `status` and `reason`.
"""

from typing import Any, Literal

import msgspec

# The history of the schema. Raise the version when a field changes its meaning, goes or is added without
# a default, write the step from the version before into `bench.records.store.UPGRADES`, and keep a
# golden file.
#   1  2026-11  first version
#   2  2026-11  cache moves from a workload's options to the configuration; new: prefetch, planted faults,
#               time inside the calls of a step, references, FLOPs, energy, memory over time, outcomes of
#               single examples, the turns of a comparison, the series that a warning is about
SCHEMA_VERSION = 2

Status = Literal["ok", "failed", "skipped"]
Parameter = str | int | float | bool


class Struct(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The base of everything in a record: immutable, and a misspelt field is refused by its name."""


class WorkloadKey(Struct, frozen=True, kw_only=True):
    """What is computed. Two records are comparable only where this is equal."""

    scenario: str
    backbone: str | None = None
    image_shape: tuple[int, int, int] | None = None  # height, width, channels
    dataset: str | None = None
    num_classes: int | None = None
    phase: Literal["train", "inference", "input", "kernel"] = "train"
    loss: str | None = None
    weights: str | None = None
    augment: tuple[str, ...] = ()  # names from the core's table, in order
    options: dict[str, Parameter] = {}  # what only this scenario has: members, target_accuracy, …


class Configuration(Struct, frozen=True, kw_only=True):
    """How it is computed: what a user could set otherwise without changing what is computed."""

    strategy: str
    num_replicas: int | None = None  # None: the run ended before it was known
    per_replica_batch_size: int | None = None
    global_batch_size: int | None = None
    dtype_policy: str = "float32"
    float32_arithmetic: str = "float32"  # "tf32" where TensorFlow's default makes it so, "bfloat16" on TPUs
    jit_compile: bool = False  # as resolved, not as asked
    steps_per_execution: int = 1
    intra_op_threads: int | None = None  # None: TensorFlow's own choice
    inter_op_threads: int | None = None
    num_parallel_calls: int | None = None  # of the input pipeline; fixed, so that nothing is still tuning
    prefetch: int | None = None  # batches that the input pipeline keeps ready
    cache: str | None = None  # of decoded images: "none", "memory" or "disk"
    loader: str | None = None  # who reads and decodes: "tpuens", or what users would run instead
    keeps_freed_memory: bool = False  # glibc told so, see tpuens.hardware.allocator
    loop: str = "tpuens"  # or "keras-fit", or what users would run instead
    peer_settings: dict[str, Parameter] = {}  # how such a loader or loop was set up
    optimizer: str | None = None  # "adam"; "adam (fused)" where it is the core's own
    planted: str | None = None  # a fault put there on purpose, see bench.scenarios.planting


class Accelerator(Struct, frozen=True, kw_only=True):
    """One GPU or TPU as the machine shows it."""

    kind: Literal["gpu", "tpu"]
    model: str
    memory_bytes: int | None = None
    details: dict[str, Parameter] = {}  # compute capability, topology, …


class Environment(Struct, frozen=True, kw_only=True):
    """Where it was computed. Made to be published: no user, host name, absolute path or secret."""

    machine_label: str  # the user's own name for the machine, else made from its hardware
    fingerprint: str  # SHA-256 of the hardware facts below, first 16 hex digits
    cpu_model: str
    physical_cores: int | None
    logical_cores: int
    numa_nodes: int | None
    isa: tuple[str, ...]  # the instruction sets that matter to TensorFlow, such as avx2, fma, avx512f
    memory_bytes: int
    usable_cores: float | None = None  # what a container's limits leave of the two
    usable_memory_bytes: int | None = None
    accelerators: tuple[Accelerator, ...] = ()
    operating_system: str
    container: str | None = None  # "docker", "kvm", …, as far as it shows
    cpu_governor: str | None = None
    cpu_frequency_hz_before: float | None = None
    cpu_frequency_hz_after: float | None = None
    load_before: float | None = None  # 1-minute load average
    load_after: float | None = None
    driver: str | None = None
    versions: dict[str, str] = {}  # python, tensorflow, keras, numpy, cuda, cudnn, tpuens, …
    variables: dict[str, str] = {}  # environment variables set for this run: threads, XLA, oneDNN
    git_commit: str | None = None
    git_dirty: bool | None = None
    dataset_fingerprint: str | None = None
    seed: int | None = None


class Series(Struct, frozen=True, kw_only=True):
    """Timing samples of one thing, in the order they were taken.

    `fence` says what a sample is: "block" (many steps, the clock read once the device has finished them
    all; for throughput) or "step" (a single step with a fence of its own; for latency).
    """

    name: str  # "compute", "input", "both", "latency", "matmul", …
    fence: Literal["block", "step"]
    parameters: dict[str, Parameter] = {}  # what differs between series of one record: batch_size, n, arm
    steps: tuple[int, ...]  # steps in each sample
    examples: tuple[int, ...]  # examples in each sample; a partial batch counts what it holds
    seconds: tuple[float, ...]  # wall time of each sample
    # Single steps, or calls of `steps_per_execution`, fenced, before the samples; never mixed in.
    warmup_seconds: tuple[float, ...] = ()
    warmup_call_seconds: tuple[float, ...] = ()  # of these: inside the call, with the device idle before
    blocked_seconds: tuple[float, ...] | None = None  # of `seconds`: how long next() kept the loop waiting
    call_seconds: tuple[float, ...] | None = None  # of `seconds`: inside the step's calls, next() left out
    cpu_seconds: tuple[float, ...] | None = None  # process CPU time of each sample


class Metric(Struct, frozen=True, kw_only=True):
    """One number that is not a time: an accuracy, a loss, a count."""

    name: str  # "top_1_accuracy", "log_loss", "examples_seen", …
    value: float
    parameters: dict[str, Parameter] = {}  # {"seed": 0, "member": 1} or {"seed": 0, "of": "ensemble"}


class Caution(Struct, frozen=True, kw_only=True):
    """Something that touches how far the numbers can be trusted, with what to do about it."""

    code: str  # "busy-machine", "few-samples", …
    message: str
    series: str | None = None  # the series whose number it touches; None: all of the record


class Memory(Struct, frozen=True, kw_only=True):
    """Peaks over the whole run, and the resident memory of the process over time."""

    peak_resident_bytes: int
    device_peak_bytes: dict[str, int] = {}  # TensorFlow's allocator, per device, where it tells
    timeline_interval_seconds: float | None = None
    timeline_bytes: tuple[int, ...] = ()  # the first at the worker's start; each the most of its interval


class Flops(Struct, frozen=True, kw_only=True):
    """What one example costs in floating-point operations, as a compiler or profiler counts them."""

    per_example: float
    of: Literal["training step", "forward pass"]  # what was counted; a report says what it makes of it
    method: str  # "hlo-cost-analysis" or "tensorflow-profiler"
    versions: dict[str, str] = {}  # of what counted
    bytes_per_example: float | None = None  # at least: of convolutions, products, reductions


class Energy(Struct, frozen=True, kw_only=True):
    """What a meter read over the timed part of one series. Absent where no meter is readable."""

    series: str  # its name and parameters, as reports name it: "both", "throughput, fused"
    joules: float
    seconds: float
    method: str  # "rapl", "nvml" (the board's counter), "nvml-power" (its power, integrated)
    scope: str  # what the meter covers: "package-0", "GPU 0 (board)"
    samples: int


class Outcomes(Struct, frozen=True, kw_only=True):
    """Which examples a model got right, one by one: for tests on pairs of the same examples."""

    parameters: dict[str, Parameter] = {}  # as a Metric's: {"seed": 0, "of": "ensemble"}
    right: str  # "1" or "0" for each example, in the order of their ids
    examples_fingerprint: str  # SHA-256 of those ids, first 16 hex digits


class Trial(Struct, frozen=True, kw_only=True):
    """What a short trial of some settings did; without samples where it failed."""

    settings: dict[str, Parameter]
    examples: int = 0  # in each sample
    seconds: tuple[float, ...] = ()
    reason: str | None = None  # why it failed, in words


class Tuning(Struct, frozen=True, kw_only=True):
    """How a run's settings were chosen, by trials on this machine before it."""

    trials: tuple[Trial, ...]
    chosen: dict[str, Parameter]
    why: str


class Turns(Struct, frozen=True, kw_only=True):
    """Which part of a comparison a run was: its two arms are alive side by side and take turns.

    The i-th sample of a series of arm A was taken right before or after the i-th of arm B of its pair.
    """

    comparison: str  # the same for all runs of one comparison
    pair: int  # from 0; each pair has fresh processes
    arm: Literal["A", "B"]
    # Both arms in one process where a device takes no other; whole runs, A B B A, where turns cannot be.
    manner: Literal["turns", "one-process", "whole-runs"] = "turns"


class RunRecord(Struct, frozen=True, kw_only=True):
    """One run of one scenario under one strategy, in one process."""

    schema_version: int = SCHEMA_VERSION
    id: str  # unique; also ends the file name
    request_key: str  # the same for runs of one request; `--resume` and repeats go by it
    repeat: int
    suite: str
    created: str  # ISO 8601, UTC
    status: Status
    reason: str | None = None  # why it failed or was skipped, in words
    log_tail: tuple[str, ...] = ()  # the worker's last lines, where it failed
    workload: WorkloadKey
    configuration: Configuration
    environment: Environment | None  # None: the worker died before it could say
    phases: dict[
        str, float
    ] = {}  # seconds: process_start, import, strategy, data, build, trace, first_step, …
    fence_seconds: tuple[float, ...] = ()  # the fence with nothing to wait for: what the instrument costs
    null_step_seconds: tuple[float, ...] = ()  # a step that does nothing, in the same loop: likewise
    series: tuple[Series, ...] = ()
    metrics: tuple[Metric, ...] = ()
    memory: Memory | None = None
    references: tuple[Series, ...] = ()  # what the machine itself did in this process
    flops: Flops | None = None
    energy: tuple[Energy, ...] = ()
    outcomes: tuple[Outcomes, ...] = ()
    turns: Turns | None = None
    tuning: Tuning | None = None
    warnings: tuple[Caution, ...] = ()


def encode_record(record: RunRecord) -> bytes:
    """Returns the record as indented JSON, ready to be written."""
    return msgspec.json.format(msgspec.json.encode(record), indent=1) + b"\n"


def decode_record(payload: dict[str, Any]) -> RunRecord:
    """Returns the record that a JSON object of the present schema version holds.

    Raises:
        msgspec.ValidationError: A field is missing, unknown or of the wrong type; the message names it.
    """
    return msgspec.convert(payload, RunRecord)
