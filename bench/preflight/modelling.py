"""Time, rate and dollars of a step that nobody ran: a roofline over what the compiler counted.

A roofline is what a device can do at best: arithmetic at the published peak, memory at the published
bandwidth, an exchange between replicas at the published speed of the links, all three at once (Williams
et al., Roofline, CACM 2009). The compiler's bytes are soft by a factor of 2 either way: on-chip memory is
counted like the large one. An exchange moves 2 (N-1)/N times the gradients through every chip, as a ring
does (Patarasuk and Yuan, 2009).
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
    """A step at best. All of it is modelled.

    Attributes:
        flops_per_example: Of the compiled step, the optimizer's update within.
        compute_seconds, memory_seconds: None where the compiler counts nothing.
        exchange_seconds: None within one chip, and where the links' speed is not known.
        bound: Which of them is the longest.
        examples_per_second: Of all replicas.
        tariff: None: no price is known.
    """

    flops_per_example: float
    compute_seconds: float
    memory_seconds: float | None
    exchange_seconds: float | None
    bound: str
    examples_per_second: float
    tariff: Tariff | None

    @property
    def dollars_per_million(self) -> float | None:
        """Returns what a million images cost; None where no price is known."""
        return self.tariff.dollars(1e6 / self.examples_per_second) if self.tariff else None


def model_step(compiled: Compiled, batch_size: int, result: PreflightResult, prices: Prices) -> Model | None:
    """Returns what a step takes at best; None where it did not compile or nothing was counted.

    Args:
        compiled: Of one replica.
        batch_size: On each replica.
        result: What else is known of the step.
        prices: What devices cost.
    """
    target = TARGETS[result.target]
    peak = target.facts.peak_flops_per_second(ARITHMETIC)
    if not compiled.flops or peak is None:
        return None
    bandwidth = target.facts.bandwidth_bytes_per_second()
    times = {"arithmetic": compiled.flops / peak}
    if compiled.bytes_accessed and bandwidth:
        times["memory"] = compiled.bytes_accessed / bandwidth
    if exchange := exchange_seconds(result.gradient_bytes, result.replicas, target):
        times["exchange"] = exchange
    bound = max(times, key=times.__getitem__)
    return Model(
        flops_per_example=compiled.flops / batch_size,
        compute_seconds=times["arithmetic"],
        memory_seconds=times.get("memory"),
        exchange_seconds=times.get("exchange"),
        bound=bound,
        examples_per_second=result.replicas * batch_size / times[bound],
        tariff=prices.of_device(target.facts, result.replicas),
    )


def exchange_seconds(gradient_bytes: int | None, replicas: int, target: Target) -> float | None:
    """Returns how long replicas take at best to sum their gradients; None: no speed is known.

    Chips exchange; what the devices of one chip sum between them goes through its memory and is not counted.
    """
    chips = -(-replicas // target.facts.devices)
    if chips < 2 or gradient_bytes is None or target.exchange_gb_per_second is None:
        return None
    return 2 * (chips - 1) / chips * gradient_bytes / (target.exchange_gb_per_second * 1e9)


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
        facts = TARGETS[result.target].facts
        what = f"{result.backbone}@{result.image_size}, batch {result.batch_size}, {result.target}"
        for row in PUBLISHED:
            same = (row.backbone, row.image_size, row.target)
            if same == (result.backbone, result.image_size, result.target):
                a_chip = model.examples_per_second / result.replicas * facts.devices
                checks.append(
                    Check(what=what, modelled=a_chip, measured=row.examples_per_second, source=row.source)
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
