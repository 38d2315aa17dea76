"""Time, rate and dollars of a step that nobody ran: a roofline over what the compiler counted.

A roofline is the longest of arithmetic at the published peak, memory at the published bandwidth, and an
exchange between replicas at the published speed of the links, all three at once (Williams et al., Roofline,
CACM 2009). The arithmetic alone is a bound. The memory is an estimate: the compiler's bytes are soft by a
factor of 2 either way, since on-chip memory is counted like the large one. An exchange moves 2 (N-1)/N times
the gradients through every chip, as a ring does (Patarasuk and Yuan, 2009).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tpuens.hardware.catalogue import find_device

from ..analysis.economics import Prices, Tariff
from ..analysis.statistics import throughput
from ..records.record import RunRecord
from .messages import Compiled
from .results import PreflightResult
from .targets import TARGETS, Target

# TPUs multiply float32 in bfloat16 passes, one unless TensorFlow is told otherwise.
ARITHMETIC = "bfloat16"


@dataclass(frozen=True, kw_only=True)
class Model:
    """A step by the roofline. All of it is modelled.

    Attributes:
        flops_per_example: Of the compiled step, the optimizer's update within.
        compute_seconds, memory_seconds: Of a step.
        exchange_seconds: None within one chip, and where the links' speed is not known.
        examples: In a step, of all replicas.
        chips: That the replicas use, as far as they fill them: one core of a chip with two is half a chip.
        tariff: Of the machine, in which a chip counts whole; None: no price is known.
        chip_tariff: Of one chip's share in a machine that is used whole.
    """

    flops_per_example: float
    compute_seconds: float
    memory_seconds: float
    exchange_seconds: float | None
    examples: int
    chips: float
    tariff: Tariff | None
    chip_tariff: Tariff | None

    @property
    def bound(self) -> str:
        """Returns which of the times is the longest."""
        return max((seconds, name) for name, seconds in self._times())[1]

    @property
    def seconds(self) -> float:
        """Returns the longest of the times."""
        return max(seconds for _, seconds in self._times())

    def _times(self) -> tuple[tuple[str, float], ...]:
        return (
            ("arithmetic", self.compute_seconds),
            ("memory", self.memory_seconds),
            ("exchange", self.exchange_seconds or 0.0),
        )

    @property
    def examples_per_second(self) -> float:
        """Returns the rate of all replicas."""
        return self.examples / self.seconds

    @property
    def chip_examples_per_second(self) -> float:
        """Returns the rate of a chip all of whose cores do as much."""
        return self.examples_per_second / self.chips

    @property
    def most_chip_examples_per_second(self) -> float:
        """Returns what a chip's arithmetic alone allows: no step is faster."""
        return self.examples / self.compute_seconds / self.chips

    @property
    def dollars_per_million(self) -> float | None:
        """Returns what a million images cost on chips that are used whole; None where no price is known."""
        return self.chip_tariff.dollars(1e6 / self.chip_examples_per_second) if self.chip_tariff else None


def model_step(compiled: Compiled, batch_size: int, result: PreflightResult, prices: Prices) -> Model | None:
    """Returns what a step takes; None where it did not compile, nothing was counted or a peak is not known.

    Args:
        compiled: Of one replica.
        batch_size: On each replica.
        result: What else is known of the step.
        prices: What devices cost.
    """
    target = TARGETS.get(result.target)
    peak = target and target.facts.peak_flops_per_second(ARITHMETIC)
    bandwidth = target and target.facts.bandwidth_bytes_per_second()
    if not (target and peak and bandwidth and compiled.flops and compiled.bytes_accessed):
        return None
    return Model(
        flops_per_example=compiled.flops / batch_size,
        compute_seconds=compiled.flops / peak,
        memory_seconds=compiled.bytes_accessed / bandwidth,
        exchange_seconds=exchange_seconds(result.gradient_bytes, result.replicas, target),
        examples=result.replicas * batch_size,
        chips=result.replicas / target.facts.devices,
        tariff=prices.of_device(target.facts, result.replicas),
        chip_tariff=prices.of_share(target.facts),
    )


def exchange_seconds(gradient_bytes: int | None, replicas: int, target: Target) -> float | None:
    """Returns how long replicas take at best to sum their gradients; None: no speed is known.

    Chips exchange, in a ring: what the devices of one chip sum between them goes through its memory and is
    not counted. A machine has four chips, two by two: each has two neighbours there, whatever its links.
    """
    chips = -(-replicas // target.facts.devices)
    if chips < 2 or gradient_bytes is None or target.link_gb_per_second is None:
        return None
    neighbours = min(chips - 1, 2)
    return 2 * (chips - 1) / chips * gradient_bytes / (neighbours * target.link_gb_per_second * 1e9)


@dataclass(frozen=True, kw_only=True)
class Check:
    """A modelled rate beside one that somebody measured on the same device.

    Attributes:
        what: The network and the device.
        modelled, measured: Images a second; of one chip where it is published so.
        source: Who measured.
    """

    what: str
    modelled: float
    measured: float
    source: str

    @property
    def ratio(self) -> float:
        """Returns modelled over measured."""
        return self.modelled / self.measured


@dataclass(frozen=True, kw_only=True)
class Published:
    """A rate that somebody published, in images a second a chip."""

    backbone: str
    image_size: int
    target: str
    examples_per_second: float
    source: str
    dtype_policy: str = "mixed_bfloat16"


PUBLISHED = (
    Published(
        backbone="resnet50",
        image_size=224,
        target="v2",
        examples_per_second=1119,
        source="MLPerf Training v0.5, ResNet-50 v1.5 on a TPU v2-8",
    ),
    Published(
        backbone="resnet50",
        image_size=224,
        target="v3",
        examples_per_second=1952,
        source="MLPerf Training v0.6, ResNet-50 v1.5 on a TPU v3-32",
    ),
)


def check_models(
    pairs: Sequence[tuple[PreflightResult, Model | None]], records: Iterable[RunRecord]
) -> list[Check]:
    """Returns every model beside what is published for it, and what the records measured of the same.

    A record counts where backbone, image size, dtype policy, batch and number of replicas are the same, on
    the same kind of device, and the input pipeline is left out.
    """
    measured = list(records)
    checks = []
    for result, model in pairs:
        if model is None:
            continue
        what = f"{result.backbone}@{result.image_size}, batch {result.batch_size}, {result.target}"
        for row in PUBLISHED:
            same = (row.backbone, row.image_size, row.target, row.dtype_policy)
            if same == (result.backbone, result.image_size, result.target, result.dtype_policy):
                checks.append(
                    Check(
                        what=f"{what}, a chip",
                        modelled=model.chip_examples_per_second,
                        measured=row.examples_per_second,
                        source=row.source,
                    )
                )
        checks += [
            Check(what=what, modelled=model.examples_per_second, measured=rate, source=f"record {record.id}")
            for record in measured
            if (rate := _measured_rate(record, result)) is not None
        ]
    return checks


def _measured_rate(record: RunRecord, result: PreflightResult) -> float | None:
    key, how = record.workload, record.configuration
    same = (
        record.status == "ok"
        and key.scenario == "train-step"
        and key.backbone == result.backbone
        and key.image_shape is not None
        and key.image_shape[0] == result.image_size
        and how.dtype_policy == result.dtype_policy
        and how.per_replica_batch_size == result.batch_size
        and how.num_replicas == result.replicas
        and not how.strategy.startswith("cpu")
    )
    models = {one.model for one in record.environment.accelerators} if same and record.environment else set()
    devices = {facts.name for model in models if (facts := find_device(model))}
    if devices != {TARGETS[result.target].device}:
        return None
    return next((throughput(series) for series in record.series if series.name == "compute"), None)
