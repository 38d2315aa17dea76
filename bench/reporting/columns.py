"""What stands in which column: headings with their units, and the text or number of each cell."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ..analysis.labels import details, workload_name
from ..analysis.statistics import Percentile, TooFewSamples, waiting_verdict
from ..analysis.summary import Row
from .numbers import format_number, format_percent


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column of the report.

    Attributes:
        header: Its heading, with the unit.
        text: Returns the text of a row's cell.
        numeric: Whether it is set flush right.
        droppable: Whether a terminal does without it where all rows agree.
        folds: Whether a terminal may break it inside its words.
        wraps: Whether it holds sentences.
    """

    header: str
    text: Callable[[Row], str]
    numeric: bool = False
    droppable: bool = False
    folds: bool = False
    wraps: bool = False


def result_text(row: Row) -> str:
    """Returns the figure that a row is about, with its unit; the status where there is none."""
    if row.kind == "time-to-accuracy" and not all(row.reached):
        return f"{_target(row)} in {sum(row.reached)} of {row.runs}"
    if row.result is None:
        return row.outcome if row.kind == "nothing" else "–"
    if row.kind == "throughput":
        return f"{format_number(row.result)} examples/s"
    if row.kind == "latency":
        return f"{format_number(1e3 * row.result)} ms"
    if row.kind == "kernel":
        return f"{format_number(row.result / 1e9)} GFLOP/s"
    if row.kind == "time-to-accuracy":
        return f"{format_number(row.result)} s to {_target(row)}"
    return f"{format_percent(row.result)} top-1"


def spread_text(row: Row) -> str:
    """Returns the relative median absolute deviation of a row's result; empty where it is not known."""
    return f"± {format_percent(row.relative_mad)}" if row.relative_mad is not None else ""


def scenario_text(row: Row) -> str:
    """Returns the scenario and which reading of it the row is."""
    scenario = row.workload.scenario
    reading = row.reading.removeprefix(f"{scenario}, ")
    return f"{scenario}: {reading}" if reading else scenario


def terminal_note(row: Row, numbers: Mapping[str, int]) -> str:
    """Returns what touches a row's result in a few characters: waiting for input, the rest by its number.

    Args:
        row: The row.
        numbers: Of each caution by its code, and of each distinction of set-ups.
    """
    words = [f"⚠{numbers[code]}" for code in dict.fromkeys(caution.code for caution in row.cautions)]
    if row.waiting_share is not None and waiting_verdict(row.waiting_share) != "fine":
        words.append(f"waits {row.waiting_share:.0%}")
    if row.distinction:
        words.append(f"#{numbers[row.distinction]}")
    return " ".join(words)


def _with_spread(result: float | None, row: Row) -> str:
    return f"{format_number(result)} {spread_text(row)}".strip() + _mark(row) if result is not None else ""


def _mark(row: Row) -> str:
    """Returns a sign beside a result that a caution touches; the caution itself has a column."""
    return " ⚠" if row.cautions else ""


def _step_median(row: Row) -> str:
    if row.step_seconds is None:
        return ""
    milliseconds, deviation = 1e3 * row.step_seconds.median, 1e3 * row.step_seconds.mad
    mark = _mark(row) if row.kind == "latency" else ""
    return f"{format_number(milliseconds)} ± {format_number(deviation, digits=2)}{mark}"


def _percentile(index: int) -> Callable[[Row], str]:
    def text(row: Row) -> str:
        if index >= len(row.percentiles):
            return ""
        found = row.percentiles[index]
        if isinstance(found, TooFewSamples):
            return f"too few samples ({found.count} of {found.needed})"
        value, low, high = (format_number(1e3 * part) for part in (found.value, found.low, found.high))
        return f"{value} ({low}–{high})"

    return text


def _accuracy(row: Row) -> str:
    accuracy = row.metrics.get("top_1_accuracy")
    if accuracy is None:
        return ""
    return f"{100 * accuracy:.1f}" + (f" {spread_text(row)}{_mark(row)}" if row.kind == "accuracy" else "")


def _steady(row: Row) -> str:
    """Returns "from step 41", or what else became of it; of several runs how many became steady."""
    verdicts = {one.verdict for one in row.steadiness}
    if verdicts == {"steady"}:
        return f"from step {max(one.from_step or 1 for one in row.steadiness):,}"
    if len(verdicts) > 1:
        return f"{sum(one.verdict == 'steady' for one in row.steadiness)} of {len(row.steadiness)} runs"
    return verdicts.pop() if verdicts else ""


def _mfu(row: Row) -> str:
    if row.utilisation is None:
        return ""
    peak = row.utilisation.peak
    return f"{format_number(100 * row.utilisation.mfu)} ({peak.arithmetic}{', measured' * peak.measured})"


def _number(metric: str) -> Callable[[Row], str]:
    return lambda row: format_number(row.metrics[metric]) if metric in row.metrics else ""


def _megabytes(metric: str) -> Callable[[Row], str]:
    return lambda row: format_number(row.metrics[metric] / 1e6) if metric in row.metrics else ""


def _waiting(row: Row) -> str:
    if row.waiting_share is None:
        return ""
    return f"{format_percent(row.waiting_share)} ({waiting_verdict(row.waiting_share)})"


def _target(row: Row) -> str:
    target = row.workload.options.get("target_accuracy")
    return format_percent(float(target)) if target is not None else "the target"


def _gibibytes(size: int | None) -> str:
    return format_number(size / 2**30) if size is not None else ""


def _details(row: Row) -> str:
    return details(row.workload, row.configuration) + ("; tuned" if row.tuning else "")


def _note(row: Row) -> str:
    # The reason has a column of its own in the report.
    return "; ".join(f"⚠ {caution.message}" for caution in row.cautions)


def _csv_percentile(index: int) -> Callable[[Row], object]:
    def value(row: Row) -> object:
        found = row.percentiles[index] if index < len(row.percentiles) else None
        return 1e3 * found.value if isinstance(found, Percentile) else None

    return value


def _scaled(value: float | None, factor: float) -> float | None:
    return factor * value if value is not None else None


_SCENARIO = Column(header="scenario", text=scenario_text)
_BACKBONE = Column(header="backbone@size", text=lambda row: workload_name(row.workload))
_STRATEGY = Column(header="strategy", text=lambda row: row.configuration.strategy, droppable=True, folds=True)
_MACHINE = Column(header="machine", text=lambda row: row.machine)
_BATCH = Column(header="batch", text=lambda row: str(row.batch_size or ""), numeric=True, droppable=True)

TERMINAL_COLUMNS = (
    _SCENARIO,
    _BACKBONE,
    _STRATEGY,
    _BATCH,
    Column(header="result", text=result_text, numeric=True),
    Column(header="±", text=lambda row: spread_text(row).removeprefix("± "), numeric=True),
)

COLUMNS = (
    _SCENARIO,
    _BACKBONE,
    _STRATEGY,
    _MACHINE,
    _BATCH,
    Column(
        header="throughput (examples/s)",
        text=lambda row: _with_spread(row.examples_per_second, row),
        numeric=True,
    ),
    Column(
        header="rate (GFLOP/s)",
        text=lambda row: _with_spread(_scaled(row.flops_per_second, 1e-9), row),
        numeric=True,
    ),
    Column(
        header="time to accuracy (s)",
        text=lambda row: _with_spread(row.seconds_to_accuracy, row),
        numeric=True,
    ),
    Column(
        header="target reached",
        text=lambda row: f"{_target(row)} in {sum(row.reached)} of {row.runs}" if row.reached else "",
    ),
    Column(header="step median (ms)", text=_step_median, numeric=True),
    Column(header="p50 (ms)", text=_percentile(0), numeric=True),
    Column(header="p90 (ms)", text=_percentile(1), numeric=True),
    Column(header="p99 (ms)", text=_percentile(2), numeric=True),
    Column(header="steady", text=_steady),
    Column(header="MFU (% of the peak)", text=_mfu, numeric=True),
    Column(header="waiting", text=_waiting, numeric=True),
    Column(
        header="fence (% of a step)",
        text=lambda row: format_number(100 * row.fence_share, 2) if row.fence_share is not None else "",
        numeric=True,
    ),
    Column(header="top-1 accuracy (%)", text=_accuracy, numeric=True),
    Column(header="log loss", text=_number("log_loss"), numeric=True),
    Column(header="macro F1", text=_number("macro_f1"), numeric=True),
    Column(header="macro ROC AUC", text=_number("macro_roc_auc"), numeric=True),
    Column(header="calibration error", text=_number("expected_calibration_error"), numeric=True),
    Column(header="largest difference", text=_number("largest_absolute_difference"), numeric=True),
    Column(
        header="first step (s)",
        text=lambda row: format_number(row.first_step_seconds) if row.first_step_seconds is not None else "",
        numeric=True,
    ),
    Column(header="peak memory (GiB)", text=lambda row: _gibibytes(row.peak_resident_bytes), numeric=True),
    Column(header="device memory (GiB)", text=lambda row: _gibibytes(row.peak_device_bytes), numeric=True),
    Column(header="in memory (MB)", text=_megabytes("in_memory_bytes"), numeric=True),
    Column(header="on disk (MB)", text=_megabytes("on_disk_bytes"), numeric=True),
    Column(header="runs", text=lambda row: str(row.runs), numeric=True),
    Column(header="status", text=lambda row: row.outcome if row.kind == "nothing" else ""),
    Column(header="reason", text=lambda row: row.reason or "", wraps=True),
    Column(header="set-up", text=lambda row: row.distinction, wraps=True),
    Column(header="details", text=_details, wraps=True),
    Column(header="cautions", text=_note, wraps=True),
)

CSV_COLUMNS: dict[str, Callable[[Row], object]] = {
    "record": lambda row: " ".join(row.record_ids),
    "suite": lambda row: row.suite,
    "created": lambda row: row.created,
    "repeat": lambda row: row.repeat,
    "machine": lambda row: row.machine,
    "scenario": lambda row: row.workload.scenario,
    "reading": lambda row: row.reading,
    "backbone": lambda row: workload_name(row.workload),
    "strategy": lambda row: row.configuration.strategy,
    "batch_size": lambda row: row.batch_size,
    "details": _details,
    "setup": lambda row: "; ".join(f"{name} {value}" for name, value in row.setup),
    "status": lambda row: row.outcome,
    "reason": lambda row: row.reason,
    "examples_per_second": lambda row: row.examples_per_second,
    "relative_mad_percent": lambda row: _scaled(row.relative_mad, 100),
    "median_step_ms": lambda row: _scaled(row.step_seconds.median, 1e3) if row.step_seconds else None,
    "mad_step_ms": lambda row: _scaled(row.step_seconds.mad, 1e3) if row.step_seconds else None,
    "p50_step_ms": _csv_percentile(0),
    "p90_step_ms": _csv_percentile(1),
    "p99_step_ms": _csv_percentile(2),
    "steady": _steady,
    "median_fence_ms": lambda row: _scaled(row.fence_seconds, 1e3),
    "waiting_percent": lambda row: _scaled(row.waiting_share, 100),
    "gflops_per_second": lambda row: _scaled(row.flops_per_second, 1e-9),
    "mfu_percent": lambda row: _scaled(row.utilisation.mfu, 100) if row.utilisation else None,
    "modelled_flops_per_byte": lambda row: row.utilisation.flops_per_byte if row.utilisation else None,
    "seconds_to_accuracy": lambda row: row.seconds_to_accuracy,
    "top_1_accuracy_percent": lambda row: _scaled(row.metrics.get("top_1_accuracy"), 100),
    "log_loss": lambda row: row.metrics.get("log_loss"),
    "macro_f1": lambda row: row.metrics.get("macro_f1"),
    "macro_roc_auc": lambda row: row.metrics.get("macro_roc_auc"),
    "expected_calibration_error": lambda row: row.metrics.get("expected_calibration_error"),
    "largest_absolute_difference": lambda row: row.metrics.get("largest_absolute_difference"),
    "first_step_seconds": lambda row: row.first_step_seconds,
    "in_memory_bytes": lambda row: row.metrics.get("in_memory_bytes"),
    "on_disk_bytes": lambda row: row.metrics.get("on_disk_bytes"),
    "peak_memory_gib": lambda row: _scaled(row.peak_resident_bytes, 2**-30),
    "device_memory_gib": lambda row: _scaled(row.peak_device_bytes, 2**-30),
    "cautions": lambda row: ", ".join(dict.fromkeys(caution.code for caution in row.cautions)),
}
