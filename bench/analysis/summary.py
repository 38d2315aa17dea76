"""The rows of a report: the one place that knows what each scenario's series and metrics mean."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from ..records.record import Caution, Configuration, Parameter, RunRecord, Series, Status, WorkloadKey
from .accuracy import arm_scores, ensemble_scores, final_accuracy, median_scores
from .labels import MachineNames, Setup, identity, reading_text, setup_facts
from .roofline import Utilisation, plausibility, share_flops, utilisation
from .statistics import (
    Percentile,
    Spread,
    TooFewSamples,
    describe,
    matrix_product_flops_per_second,
    percentile,
    sample_rates,
    step_seconds,
    throughput,
    waiting_share,
)
from .steadiness import Steadiness, judge_steadiness, sample_cautions
from .waterfall import SYNCHRONISE, Waterfall, find_waterfall

Kind = Literal["throughput", "latency", "kernel", "time-to-accuracy", "accuracy", "nothing"]

PERCENTILES = (0.5, 0.9, 0.99)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One reading of one run, or, from `bench.analysis.pooling`, of all repeats of it.

    What does not apply is None. Of several runs each figure is the median over the runs.

    Attributes:
        kind: Which figure is the reading's result, and so which table it stands in.
        setup: What else of the run's environment can change its figures; see `setup_facts`.
        distinction: In which of these it differs from rows that are alike in all else; from pooling.
        tuning: How the run's settings were chosen, where trials chose them.
        series: The series' name.
        reading: The series' name and parameters in words.
        parameters: The series' parameters, sorted.
        examples_per_second: Of a throughput reading only: single fenced steps say nothing of a rate.
        rates: Likewise, sample by sample of a single run, run by run of several.
        relative_mad: How far the result spreads around its median, as a share of it: over the samples of
            a single run, over the runs where there are several.
        step_seconds: Over the samples of a single run, over the medians of several.
        step_samples: Every sample of a latency reading, in seconds.
        percentiles: p50, p90 and p99 of a latency reading.
        metrics: Accuracies and losses; of an ensemble the medians over its seeds. With a series' own numbers,
            such as the bytes that a cache holds.
        reached: For each run whether it reached the accuracy that it was to reach.
        first_step_seconds: Tracing, compiling and the first step.
        steadiness: Of each run's samples.
        waterfall: Where the time of a training step goes.
        utilisation: Of the peak of the devices, by a reading that computes.
        is_refused: Whether the run's figures are impossible; `reason` says why, and there are none.
        fence_seconds: What a wait for the device costs when there is nothing to wait for: the instrument
            itself, once in each sample.
        cautions: Those that were recorded of the run or of this series, and those its samples raise.
    """

    kind: Kind
    machine: str
    suite: str
    workload: WorkloadKey
    configuration: Configuration
    status: Status
    record_ids: tuple[str, ...]
    repeat: int
    created: str
    reason: str | None = None
    setup: Setup = ()
    distinction: str = ""
    tuning: str = ""
    series: str = ""
    reading: str = ""
    parameters: tuple[tuple[str, Parameter], ...] = ()
    examples_per_second: float | None = None
    rates: tuple[float, ...] = ()
    relative_mad: float | None = None
    step_seconds: Spread | None = None
    step_samples: tuple[float, ...] = ()
    steadiness: tuple[Steadiness, ...] = ()
    percentiles: tuple[Percentile | TooFewSamples, ...] = ()
    waiting_share: float | None = None
    waterfall: Waterfall | None = None
    flops_per_second: float | None = None
    utilisation: Utilisation | None = None
    is_refused: bool = False
    seconds_to_accuracy: float | None = None
    reached: tuple[bool, ...] = ()
    metrics: dict[str, float] = field(default_factory=dict)
    peak_resident_bytes: int | None = None
    peak_device_bytes: int | None = None
    first_step_seconds: float | None = None
    fence_seconds: float | None = None
    cautions: tuple[Caution, ...] = ()

    @property
    def runs(self) -> int:
        """Returns how many runs the row stands for."""
        return len(self.record_ids)

    @property
    def outcome(self) -> str:
        """Returns what became of the run in a word."""
        return "refused" if self.is_refused else self.status

    @property
    def batch_size(self) -> int | None:
        """Returns the series' own batch size, else the global one of the configuration."""
        batch_size = dict(self.parameters).get("batch_size", self.configuration.global_batch_size)
        return int(batch_size) if batch_size is not None else None

    @property
    def result(self) -> float | None:
        """Returns the figure that the row is about, in examples/s, seconds, FLOP/s or as a share."""
        if self.kind == "throughput":
            return self.examples_per_second
        if self.kind == "latency":
            return self.step_seconds.median if self.step_seconds else None
        if self.kind == "kernel":
            return self.flops_per_second
        if self.kind == "time-to-accuracy":
            return self.seconds_to_accuracy
        return self.metrics.get("top_1_accuracy") if self.kind == "accuracy" else None

    @property
    def what(self) -> tuple[object, ...]:
        """Returns what the row is a reading of, on whichever machine and however configured."""
        return self.kind, identity(self.workload), self.reading, self.parameters

    @property
    def counterpart(self) -> tuple[object, ...]:
        """Returns what another device's row must share to be compared with this one.

        Neither the device itself nor the batch size, which grows with a strategy's replicas, is part of it.
        """
        others = tuple(pair for pair in self.parameters if pair[0] not in ("device", "batch_size"))
        return self.kind, identity(self.workload), self.series, others

    @property
    def fence_share(self) -> float | None:
        """Returns the fence's own cost as a share of the median step."""
        if self.fence_seconds is None or self.step_seconds is None or not self.step_seconds.median:
            return None
        return self.fence_seconds / self.step_seconds.median


def summarise(records: Sequence[RunRecord]) -> list[Row]:
    """Returns the rows of every record: one a series and one a result that is no series.

    A record that failed, was skipped, holds no result or an impossible one gives one row of the kind
    "nothing" with the reason.
    """
    names = MachineNames(records)
    return [row for record in share_flops(records) for row in _record_rows(record, names.of(record))]


def series_row(series: Series, record: RunRecord, machine: str) -> Row:
    """Returns the row of one series of a record: a step's latency, a rate of products or a throughput."""
    reading, steadiness = reading_text(series), judge_steadiness(series)
    recorded = [caution for caution in record.warnings if caution.series in (None, series.name, reading)]
    row = replace(
        _record_row(record, machine),
        series=series.name,
        reading=reading,
        steadiness=(steadiness,),
        cautions=(*recorded, *sample_cautions(series, steadiness)),
        parameters=tuple(sorted(series.parameters.items())),
        step_seconds=describe(step_seconds(series)),
        utilisation=utilisation(series, record),
    )
    own = {
        metric.name: metric.value
        for metric in record.metrics
        if metric.parameters and metric.parameters.items() <= series.parameters.items()
    }
    row = replace(row, metrics=row.metrics | own)
    if record.workload.phase == "kernel":
        return _as_kernel(row, series)
    return _as_latency(row, series) if series.fence == "step" else _as_throughput(row, series, record)


def _record_rows(record: RunRecord, machine: str) -> list[Row]:
    common = _record_row(record, machine)
    if record.status != "ok":
        return [common]
    found = plausibility(record)
    if found.verdict == "refused":
        return [replace(common, is_refused=True, reason=f"Refused as a measurement error: {found.why}")]
    rows = [
        series_row(series, record, machine) for series in record.series if series.name != SYNCHRONISE
    ]  # that one is part of a waterfall
    if record.workload.scenario == "time-to-accuracy":
        rows.append(_time_to_accuracy_row(common, record))
    elif record.workload.scenario == "ensemble-accuracy":
        rows.extend(_accuracy_rows(common, record))
    elif record.workload.scenario == "agreement":
        rows.extend(_agreement_rows(common, record))
    if found.verdict == "flagged":
        rows = [_flag(row, found.why) for row in rows]
    return rows or [replace(common, reason="It ran, but recorded no result.")]


def _flag(row: Row, why: str) -> Row:
    if row.utilisation is None or row.utilisation.mfu <= 1:
        return row
    return replace(row, cautions=(*row.cautions, Caution(code="above-the-peak", message=why)))


def _record_row(record: RunRecord, machine: str) -> Row:
    memory = record.memory
    accuracy = final_accuracy(record.metrics)
    fence = describe(record.fence_seconds)
    return Row(
        kind="nothing",
        machine=machine,
        suite=record.suite,
        workload=record.workload,
        configuration=record.configuration,
        status=record.status,
        record_ids=(record.id,),
        repeat=record.repeat,
        created=record.created,
        reason=record.reason,
        setup=setup_facts(record.environment),
        tuning=record.tuning.why if record.tuning else "",
        peak_resident_bytes=memory.peak_resident_bytes if memory else None,
        peak_device_bytes=max(memory.device_peak_bytes.values(), default=None) if memory else None,
        first_step_seconds=_first_step_seconds(record),
        fence_seconds=fence.median if fence else None,
        metrics={"top_1_accuracy": accuracy} if accuracy is not None else {},
        cautions=record.warnings,
    )


def _as_kernel(row: Row, series: Series) -> Row:
    n = series.parameters.get("n")
    return replace(
        row,
        kind="kernel",
        flops_per_second=matrix_product_flops_per_second(series, int(n)) if n is not None else None,
        relative_mad=row.step_seconds.relative_mad if row.step_seconds else None,
    )


def _as_latency(row: Row, series: Series) -> Row:
    samples = step_seconds(series)
    return replace(
        row,
        kind="latency",
        relative_mad=row.step_seconds.relative_mad if row.step_seconds else None,
        step_samples=samples,
        percentiles=tuple(percentile(samples, probability) for probability in PERCENTILES),
    )


def _as_throughput(row: Row, series: Series, record: RunRecord) -> Row:
    rates = sample_rates(series)
    spread = describe(rates)
    return replace(
        row,
        kind="throughput",
        examples_per_second=throughput(series) if any(series.examples) else None,
        rates=rates,
        relative_mad=spread.relative_mad if spread else None,
        # A pipeline that runs alone does nothing but wait for itself.
        waiting_share=waiting_share(series) if series.name != "input" else None,
        waterfall=find_waterfall(series, record),
        fence_seconds=row.fence_seconds if series.name != "input" else None,
    )


def _time_to_accuracy_row(common: Row, record: RunRecord) -> Row:
    values = {metric.name: metric.value for metric in record.metrics if not metric.parameters}
    return replace(
        common,
        kind="time-to-accuracy",
        seconds_to_accuracy=values.get("time_to_accuracy_seconds"),
        reached=("time_to_accuracy_seconds" in values,),
    )


def _accuracy_rows(common: Row, record: RunRecord) -> list[Row]:
    ensembles, members = ensemble_scores(record.metrics)
    rows = []
    for reading, scores in (("ensemble", ensembles), ("members", members)):
        top_1 = describe([score["top_1_accuracy"] for score in scores if "top_1_accuracy" in score])
        if scores:
            rows.append(
                replace(
                    common,
                    kind="accuracy",
                    reading=reading,
                    metrics=median_scores(scores),
                    relative_mad=top_1.relative_mad if top_1 else None,
                )
            )
    return rows


def _agreement_rows(common: Row, record: RunRecord) -> list[Row]:
    return [
        replace(common, kind="accuracy", reading=arm, metrics=scores)
        for arm, scores in arm_scores(record.metrics).items()
    ]


def _first_step_seconds(record: RunRecord) -> float | None:
    parts = [record.phases[name] for name in ("trace", "first_step") if name in record.phases]
    return math.fsum(parts) if parts else None
