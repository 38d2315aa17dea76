"""The ranking of machines for somebody's own training, for the terminal, as Markdown and as JSON."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..analysis.choice import Choice, Plan
from ..analysis.labels import configuration_text, workload_name
from ..analysis.merging import Refusal
from .numbers import format_number, format_percent, plain
from .tables import Table

if TYPE_CHECKING:
    import rich.table


@dataclass(frozen=True, kw_only=True)
class _Column:
    header: str
    text: Callable[[Choice], str]
    numeric: bool = False
    wraps: bool = False


def choice_tables(choices: Sequence[Choice], plan: Plan, *, brief: bool = False) -> list[Table]:
    """Returns a table for each backbone and image size, the best choice first.

    Args:
        choices: As `bench.analysis.choice.rank_choices` gives them.
        plan: What they are for.
        brief: As few words as a terminal has room for.
    """
    workloads: dict[str, list[Choice]] = {}
    for choice in choices:
        workloads.setdefault(workload_name(choice.workload), []).append(choice)
    return [_choice_table(name, group, plan, brief) for name, group in workloads.items()]


def choice_sentences(
    choices: Sequence[Choice], below: Sequence[Choice], refusals: Sequence[Refusal], plan: Plan
) -> list[str]:
    """Returns what the tables leave to say: prices, what is below the accuracy floor, what was refused."""
    sentences = [f"Price: {origin}." for origin in dict.fromkeys(_origin(one) for one in choices) if origin]
    if any(choice.tariff is None for choice in choices):
        sentences.append(
            "No price is known where none stands: give one with --price NAME=DOLLARS an hour, NAME the "
            "machine's label, a SKU or a device."
        )
    if any(choice.modelled for choice in choices):
        sentences.append(
            "Modelled is not measured: a roofline over what the compiler counted, whose bytes are soft by a "
            "factor of 2; real steps usually take longer. Such a row has no accuracy, no spread and no host "
            "cores, since nothing ran, and its time counts neither start-up nor input."
        )
    sentences += _unlike_work(choices)
    if any(choice.accuracy is None and not choice.modelled for choice in choices):
        sentences.append(
            "An accuracy that is not known was not assumed: no record tells it for that backbone, image size "
            "and dtype policy. `tpuens-bench run time-to-accuracy` measures it."
        )
    for choice in below:
        accuracy = format_percent(choice.accuracy.value) if choice.accuracy else ""
        sentences.append(
            f"Below {format_percent(plan.target_accuracy)} and left out: {workload_name(choice.workload)} in "
            f"{choice.configuration.dtype_policy} on {choice.machine} ({choice.device}), {accuracy}."
        )
    sentences += [f"Not counted: {refusal.path}: {refusal.reason}" for refusal in refusals]
    return [plain(sentence) for sentence in sentences]


def _unlike_work(choices: Sequence[Choice]) -> list[str]:
    """Returns a warning for each table whose rows did not do the same work [METHOD of this project, 11]."""
    tables: dict[str, dict[str, list[str]]] = {}
    for choice in choices:
        if not choice.modelled:
            work = choice.workload
            words = [choice.reading, work.dataset or "", *(work.augment and ["with", *work.augment])]
            works = tables.setdefault(workload_name(work), {})
            works.setdefault(" ".join(filter(None, words)), []).append(choice.machine)
    return [
        f"The rows of {name} did not do the same work, so that their order may be the work's: "
        + "; ".join(f"{words} on {', '.join(dict.fromkeys(machines))}" for words, machines in works.items())
        + ". Measure the same on all of them."
        for name, works in tables.items()
        if len(works) > 1
    ]


def peer_sentences(peers: Mapping[str, int]) -> list[str]:
    """Returns what is said of runs that `bench.analysis.choice.find_peers` counts."""
    return [
        f"Left out: {count} {'run' if count == 1 else 'runs'} with {plain(peer)}, "
        f"which {'is' if count == 1 else 'are'} not tpuens' own training."
        for peer, count in peers.items()
    ]


def choice_facts(choice: Choice) -> dict[str, Any]:
    """Returns a choice as JSON can hold it, in seconds, dollars and shares of one."""
    need = choice.input_need
    return {
        "machine": choice.machine,
        "device": choice.device,
        "backbone": choice.workload.backbone,
        "image_shape": choice.workload.image_shape,
        "strategy": choice.configuration.strategy,
        "global_batch_size": choice.configuration.global_batch_size,
        "configuration": configuration_text(choice.configuration),
        "measured": None if choice.modelled else choice.reading,
        "modelled": choice.reading if choice.modelled else None,
        "examples_per_second": choice.examples_per_second,
        "hosts": choice.hosts,
        "spread": choice.spread,
        "start_up_seconds": choice.start_up_seconds,
        "seconds": choice.seconds,
        "dollars": choice.dollars,
        "price": _origin(choice) or None,
        "over_budget": choice.over_budget,
        "top_1_accuracy": choice.accuracy.value if choice.accuracy else None,
        "accuracy_source": choice.accuracy.source if choice.accuracy else None,
        "host_cores_needed": need.cores if need else None,
        "host_cores_available": need.available if need else None,
        "input_measured_elsewhere": need.elsewhere if need else None,
    }


def terminal_choices(table: Table) -> "rich.table.Table":
    """Returns a table as rich prints it."""
    import rich.table
    from rich.text import Text

    shown = rich.table.Table(
        box=None, pad_edge=False, header_style="bold", title=Text(table.title, style="bold"),
        title_justify="left",
    )  # fmt: skip
    for header, numeric in zip(table.headers, table.numeric, strict=True):
        shown.add_column(header, justify="right" if numeric else "left", overflow="fold", no_wrap=numeric)
    for row in table.rows:
        shown.add_row(*map(Text, row))
    return shown


def _choice_table(name: str, choices: Sequence[Choice], plan: Plan, brief: bool) -> Table:
    columns = _BRIEF_COLUMNS if brief else (*_COLUMNS, *_rank_columns(choices))
    columns = tuple(column for column in (*columns, _NOTE) if any(map(column.text, choices)))
    words = [f"{name}: {plan.examples:,} examples × {plan.epochs} epochs"]
    words += [f"at least {format_percent(plan.target_accuracy)}"] if plan.target_accuracy else []
    words += [f"budget {format_number(plan.budget)} USD"] if plan.budget is not None else []
    return Table(
        name="choice",
        title=", ".join(words),
        explanation=(
            "Each device with its fastest configuration; start-up counts once, validation is left out. The "
            "accuracy is what this backbone reached on the data of the records, which are not yours. "
            "“spread” lies between result folders of the same hardware. “cores” are those that the input "
            "pipeline needs to feed the accelerator from photographs, of those that the machine has."
        ),
        headers=tuple(column.header for column in columns),
        numeric=tuple(column.numeric for column in columns),
        wraps=tuple(column.wraps for column in columns),
        rows=tuple(tuple(plain(column.text(choice)) for column in columns) for choice in choices),
    )


def _rank_columns(choices: Sequence[Choice]) -> tuple[_Column, _Column]:
    times = _ranks({id(choice): choice.seconds for choice in choices})
    costs = _ranks({id(choice): choice.dollars for choice in choices if choice.dollars is not None})
    return (
        _Column(header="rank by time", text=lambda choice: _rank(choice, times), numeric=True),
        _Column(header="rank by USD", text=lambda choice: _rank(choice, costs), numeric=True),
    )


def _ranks(values: Mapping[int, float]) -> dict[int, int]:
    return {key: rank for rank, key in enumerate(sorted(values, key=lambda key: values[key]), start=1)}


def _rank(choice: Choice, ranks: Mapping[int, int]) -> str:
    rank = ranks.get(id(choice))
    return "" if rank is None else f"{rank}{' (modelled)' if choice.modelled else ''}"


def _origin(choice: Choice) -> str:
    return choice.tariff.origin if choice.tariff else ""


def _duration(seconds: float) -> str:
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{format_number(seconds / length)} {unit}"
    return f"{format_number(seconds)} s"


def _accuracy(choice: Choice) -> str:
    if choice.accuracy is None:
        return "" if choice.modelled else "not known"
    return f"{format_percent(choice.accuracy.value)} ({choice.accuracy.source})"


def _cores(choice: Choice) -> str:
    need = choice.input_need
    if need is None:
        return "" if choice.modelled or choice.device == "CPU" else "not known"
    return f"{need.cores} of {need.available:g}"


def _note(choice: Choice) -> str:
    need = choice.input_need
    words = [
        "over budget" if choice.over_budget else "",
        "input not counted" if choice.reading == "train-step: compute" else "",
        "exchange of gradients not counted" if choice.modelled and "exchange" in choice.reading else "",
        "too few host cores to feed it" if need and need.cores > need.available else "",
        "a core's rate is another machine's" if need and need.elsewhere else "",
    ]
    return "; ".join(word for word in words if word)


def _configuration(choice: Choice) -> str:
    how = choice.configuration
    return f"{how.strategy}, batch {how.global_batch_size}, {configuration_text(how)}"


def _brief_configuration(choice: Choice) -> str:
    how = choice.configuration
    words = [how.strategy, f"batch {how.global_batch_size}"]
    words += [how.dtype_policy] if how.dtype_policy != "float32" else []
    words += ["jit"] if how.jit_compile else []
    return ", ".join(words)


def _spread(choice: Choice) -> str:
    if choice.spread is None:
        return ""
    return f"{format_percent(choice.spread)} of {choice.hosts}"


def _brief_accuracy(choice: Choice) -> str:
    return _accuracy(choice).partition(" (")[0]


def _sign(figure: str, choice: Choice) -> str:
    """Returns a figure, with the sign of an estimate where it is modelled."""
    return f"≈ {figure}" if choice.modelled else figure


_MACHINE = (
    _Column(header="machine", text=lambda choice: choice.machine),
    _Column(header="device", text=lambda choice: choice.device),
)
_FIGURES = (
    _Column(
        header="images/s",
        text=lambda choice: _sign(format_number(choice.examples_per_second), choice),
        numeric=True,
    ),
    _Column(header="spread", text=_spread, numeric=True),
    _Column(header="time", text=lambda choice: _sign(_duration(choice.seconds), choice), numeric=True),
    _Column(
        header="USD",
        text=lambda choice: (
            _sign(format_number(choice.dollars), choice) if choice.dollars is not None else ""
        ),
        numeric=True,
    ),
)
_CORES = _Column(header="cores", text=_cores, numeric=True)
_NOTE = _Column(header="note", text=_note, wraps=True)

_COLUMNS = (
    *_MACHINE,
    _Column(header="configuration", text=_configuration),
    *_FIGURES,
    _Column(header="accuracy", text=_accuracy),
    _CORES,
)
_BRIEF_COLUMNS = (
    *_MACHINE,
    _Column(header="configuration", text=_brief_configuration),
    *_FIGURES,
    _Column(header="top-1", text=_brief_accuracy, numeric=True),
    _CORES,
)
