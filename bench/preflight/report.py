"""The report of a preflight for terminal, Markdown, HTML and JSON: every number labelled as modelled."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from ..analysis.economics import Prices
from ..records.atomic import write_file
from ..records.record import RunRecord
from ..reporting.contents import Contents
from ..reporting.html import render_markdown, render_page
from ..reporting.numbers import format_number, format_percent, plain
from ..reporting.tables import Table
from .lines import Line, line_facts, make_lines
from .modelling import Check, Model, check_models
from .results import LABEL, PreflightResult
from .targets import TARGETS

PAGE = "modelled.html"
TITLE = f"Preflight: {LABEL}"
EXPLANATION = (
    "The graph of the training step that this benchmark times, compiled by the device’s own compiler on a "
    "machine without the device. It is traced for one replica, without TensorFlow’s own TPU lowering. "
    "Nothing ran: memory, FLOPs and bytes are the compiler’s, time, rate and dollars a roofline over them "
    "with published peaks. No step is faster than the arithmetic alone; the side of the memory is an "
    "estimate, since the compiler’s bytes are soft by a factor of 2 either way. Real steps usually take "
    "longer.",
)
# Said where a target is a GPU.
_OF_GPUS = (
    "For GPUs: XLA’s compiler for CUDA, which tries no kernels without a card and counts no FLOPs, so there "
    "is memory alone. What cuDNN’s convolutions work in and the CUDA context come on top of it. From about "
    "three quarters of a card on memory hardly grows with the batch: there the compiler seems to compute "
    "again what it does not keep, so that the largest batch that fits may be a slow one."
)
_GIB = 2**30


@dataclass(frozen=True, kw_only=True)
class _Column:
    header: str
    text: Callable[[Line], str]
    numeric: bool = True


def _of_model(text: Callable[[Model], str]) -> Callable[[Line], str]:
    return lambda line: text(line.model) if line.model else ""


_DTYPE_POLICY = _Column(header="dtype policy", text=lambda line: line.result.dtype_policy, numeric=False)
_COLUMNS = (
    _Column(
        header="network", text=lambda line: f"{line.result.backbone}@{line.result.image_size}", numeric=False
    ),
    _Column(header="target", text=lambda line: line.result.target, numeric=False),
    _DTYPE_POLICY,
    _Column(
        header="batch",
        text=lambda line: (
            f"{line.result.batch_size}" + (f" × {line.result.replicas}" if line.result.replicas > 1 else "")
        ),
    ),
    _Column(header="compiles", text=lambda line: line.verdict, numeric=False),
    _Column(header="peak GiB", text=lambda line: line.memory),
    _Column(header="largest batch", text=lambda line: line.largest),
    _Column(
        header="GFLOP an example", text=_of_model(lambda model: format_number(model.flops_per_example / 1e9))
    ),
    _Column(header="ms a step", text=_of_model(lambda model: format_number(1e3 * model.seconds))),
    _Column(
        header="images/s a chip",
        text=_of_model(lambda model: format_number(model.chip_examples_per_second)),
    ),
    _Column(
        header="at the largest batch",
        text=lambda line: format_number(line.at_largest.chip_examples_per_second) if line.at_largest else "",
    ),
    _Column(
        header="by arithmetic alone",
        text=_of_model(lambda model: f"≤ {format_number(model.most_chip_examples_per_second)}"),
    ),
    _Column(header="bound by", text=_of_model(lambda model: model.bound), numeric=False),
    _Column(
        header="USD a million images",
        text=_of_model(
            lambda model: (
                format_number(model.dollars_per_million) if model.dollars_per_million is not None else ""
            )
        ),
    ),
)


# What a terminal has room for.
_BRIEF_COLUMNS = (
    *_COLUMNS[:2],
    *_COLUMNS[3:5],
    _Column(header="peak GiB", text=lambda line: line.memory.partition(" (")[0]),
    _Column(header="largest", text=lambda line: line.largest.partition(" (")[0]),
    _Column(header="GFLOP", text=_of_model(lambda model: format_number(model.flops_per_example / 1e9))),
    _Column(
        header="images/s a chip",
        text=_of_model(lambda model: format_number(model.chip_examples_per_second)),
    ),
)


def make_tables(lines: Sequence[Line], checks: Sequence[Check], *, brief: bool = False) -> list[Table]:
    """Returns the table of results, and where there is something to hold them against, that of checks."""
    columns = [column for column in (_BRIEF_COLUMNS if brief else _COLUMNS) if any(map(column.text, lines))]
    policies = {line.result.dtype_policy for line in lines}
    if len(policies) == 1 and _DTYPE_POLICY in columns:
        columns.remove(_DTYPE_POLICY)
    tables = [
        _table(
            "preflight",
            f"Does it compile, does it fit, in {' and '.join(sorted(policies))} ({LABEL})",
            "Batch, memory and the time of a step are of a device as TensorFlow shows it, which of v2, v3 "
            "and TPU7x is a core, half a chip; images a second and dollars are of a whole chip. “bound by” "
            "says which side of the roofline is the longest; where it is the memory, the rate may be half or "
            "twice that.",
            [(column.header, column.numeric) for column in columns],
            [[column.text(line) for column in columns] for line in lines],
        )
    ]
    if checks:
        tables.append(
            _table(
                "checks",
                "Modelled beside measured",
                "Images a second. The ratio says how far a roofline may be trusted: 1 would be a device that "
                "reaches its published peaks. In MLPerf’s ResNet-50 (v1.5) the 3×3 convolution of a block "
                "has the stride, in Keras’s (v1) the 1×1 before it, which is a little less work.",
                [("step", False), ("modelled", True), ("measured", True), ("ratio", True), ("source", False)],
                [
                    [one.what, *map(format_number, (one.modelled, one.measured, one.ratio)), one.source]
                    for one in checks
                ],
            )
        )
    return tables


def make_sentences(lines: Sequence[Line]) -> list[str]:
    """Returns what the tables leave to say: refusals in the compiler's words, advice, prices, exchanges."""
    sentences = []
    for line in lines:
        name = line.name
        first = line.result.first
        said = line.result.reason or (first.message if first else None)
        if said:
            sentences.append(f"{name}, batch {line.result.batch_size}: {said}")
        sentences += [
            f"{name}: the search for the largest batch ended at {one.batch_size}: {one.compiled.message}"
            for one in line.result.attempts[1:]
            if one.compiled.status in ("stopped", "refused")
        ]
        model = line.model
        if model and model.exchange_seconds is not None:
            share = model.exchange_seconds / model.seconds
            sentences.append(
                f"{name}: summing {(line.result.gradient_bytes or 0) / 1e6:,.0f} MB of gradients over "
                f"{line.result.replicas} replicas takes {1e3 * model.exchange_seconds:.3g} ms at best, "
                f"{format_percent(share)} of the step ({LABEL}; the sum itself is in the compiled program)."
            )
        elif line.result.replicas > 1 and model:
            sentences.append(
                f"{name}: what the exchange of gradients costs is not known: it counts nothing here."
            )
    targets = [TARGETS[line.result.target] for line in lines if line.result.target in TARGETS]
    sentences += [_OF_GPUS] if any(target.platform == "cuda" for target in targets) else []
    sentences += _gather_advice(lines)
    sentences += _describe_compilers(lines)
    origins = {line.model.chip_tariff.origin for line in lines if line.model and line.model.chip_tariff}
    sentences += [f"Price: {origin}." for origin in sorted(origins)]
    if any(line.model and not line.model.chip_tariff for line in lines):
        sentences.append(
            "No price is known where none stands: give one with --price 'TPU v5e=1.20', an hour a chip."
        )
    return [plain(sentence) for sentence in sentences]


def _gather_advice(lines: Sequence[Line]) -> list[str]:
    """Returns each piece of advice once, with the networks that it is for unless that is all of them."""
    networks: dict[str, dict[str, None]] = {}
    for line in lines:
        for advice in line.result.advice:
            networks.setdefault(advice, {})[f"{line.result.backbone}@{line.result.image_size}"] = None
    all_of_them = {f"{line.result.backbone}@{line.result.image_size}" for line in lines}
    return [
        advice if names.keys() == all_of_them else f"{', '.join(names)}: {advice}"
        for advice, names in networks.items()
    ]


def _describe_compilers(lines: Sequence[Line]) -> list[str]:
    """Returns whose answers these are, and of when: a folder may hold those of several versions."""
    days: dict[str, list[str]] = {}
    for line in lines:
        words = [f"{name} {version}" for name, version in sorted(line.result.versions.items())]
        if words and line.result.status == "ok":
            days.setdefault(", ".join(words), []).append(line.result.created[:10])
    return [
        f"Traced and compiled with {words}, on {min(dates)}"
        + (f" to {max(dates)}." if min(dates) != max(dates) else ".")
        for words, dates in days.items()
    ]


def write_reports(
    folder: Path, results: Sequence[PreflightResult], prices: Prices, records: Sequence[RunRecord]
) -> None:
    """Writes modelled.html, modelled.md and modelled.json into a folder."""
    lines = make_lines(results, prices)
    checks = check_models([(line.result, line.model) for line in lines], records)
    contents = Contents(title=TITLE, summary=EXPLANATION, tables=tuple(make_tables(lines, checks)))
    sentences = make_sentences(lines)
    facts = msgspec.json.format(msgspec.json.encode([line_facts(line, records) for line in lines]), indent=1)
    for name, content in {
        "modelled.md": render_markdown(contents, sentences).encode(),
        "modelled.json": facts + b"\n",
        PAGE: render_page(contents, (), sentences).encode(),
    }.items():
        write_file(folder / name, content, overwrite=True)


def _table(
    name: str,
    title: str,
    explanation: str,
    columns: Sequence[tuple[str, bool]],
    rows: Sequence[Sequence[str]],
) -> Table:
    return Table(
        name=name,
        title=title,
        explanation=explanation,
        headers=tuple(header for header, _ in columns),
        numeric=tuple(numeric for _, numeric in columns),
        wraps=tuple(header == "source" for header, _ in columns),  # the others are a word or two
        rows=tuple(tuple(map(plain, row)) for row in rows),
    )
