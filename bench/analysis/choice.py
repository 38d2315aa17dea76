"""What to rent or buy: time and dollars for somebody's own training, machine by machine, from records."""

import statistics
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from tpuens.hardware.catalogue import describe_devices

from ..records.record import Configuration, RunRecord, WorkloadKey
from .accuracy import SeedAccuracy, accuracies_by_seed, final_accuracy
from .appetite import InputNeed, find_input_need
from .economics import Prices, Tariff
from .labels import MachineNames, identity, peer_text, workload_name
from .statistics import throughput

# What a process does once before the steady steps.
_START_UP = ("process_start", "import", "strategy", "data", "build", "trace", "first_step")

# The scenarios that tell how fast a network trains, and the series of each that does.
_READINGS = {"train-epoch": "both", "train-step": "compute"}


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What somebody wants to train.

    Attributes:
        examples: In an epoch.
        epochs: To train.
        target_accuracy: The floor: what is known to stay below it is left out.
        budget: Dollars; None: as many as it takes.
        backbone: Only this one; None: each that was measured.
    """

    examples: int
    epochs: int
    target_accuracy: float
    budget: float | None = None
    backbone: str | None = None

    def is_exceeded(self, dollars: float | None) -> bool | None:
        """Returns whether so much is over budget; None where no budget was set or no price is known."""
        return None if dollars is None or self.budget is None else dollars > self.budget


@dataclass(frozen=True, kw_only=True)
class Accuracy:
    """How accurate a backbone became in its records, and in which of them: data, scenario, arithmetic."""

    value: float
    source: str


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A device with its best configuration for a workload.

    Attributes:
        modelled: Nothing ran: a compiler counted, and the rate is a roofline's.
        machine: Its name in the records.
        device: "CPU", or how many of which accelerator the configuration uses, cores and chips apart.
        reading: What was measured: "train-epoch: both", or "train-step: compute", without input; else what
            the model leaves out.
        examples_per_second: The median over the hosts of the medians over their runs.
        hosts: How many result folders of this hardware there are.
        spread: Between their medians: highest less lowest, as a share of the median; None with one.
        start_up_seconds: Once, before the first epoch; None: not known, and not counted.
        accuracy: None: not known for this backbone under this dtype policy.
        input_need: None: it is a CPU, or no record tells.
        tariff: None: no price is known.
        seconds, dollars: For the whole plan, start-up within, validation left out.
        over_budget: None where no budget was set or no price is known.
    """

    modelled: bool = False
    machine: str
    device: str
    workload: WorkloadKey
    configuration: Configuration
    reading: str
    examples_per_second: float
    hosts: int
    spread: float | None
    start_up_seconds: float | None
    accuracy: Accuracy | None
    input_need: InputNeed | None
    tariff: Tariff | None
    seconds: float
    dollars: float | None
    over_budget: bool | None


@dataclass(frozen=True, kw_only=True)
class _Speed:
    """The rate of one run, of one host: a result folder."""

    record: RunRecord
    host: int
    reading: str
    examples_per_second: float


def rank_choices(
    folders: Sequence[Sequence[RunRecord]], plan: Plan, prices: Prices
) -> tuple[list[Choice], list[Choice]]:
    """Returns the choices, and those below the accuracy floor, both as `sort_choices` has them.

    What users would run instead of tpuens is left out: see `find_peers`.

    Args:
        folders: The records of each result folder, as `bench.analysis.merging.merge_folders` gives them.
        plan: What is to be trained.
        prices: What machines cost.
    """
    ours = [[record for record in folder if _is_ours(record)] for folder in folders]
    records = [record for folder in ours for record in folder]
    names = MachineNames(records)
    accuracies = find_accuracies(records)
    devices: dict[tuple[object, ...], list[_Speed]] = {}
    for speed in _find_speeds(ours, plan.backbone):
        devices.setdefault(_device_key(speed.record), []).append(speed)
    choices: list[Choice] = []
    below: list[Choice] = []
    for speeds in devices.values():
        for accurate, group in _by_accuracy(speeds, accuracies, plan.target_accuracy).items():
            best = _best_configuration(group)
            choice = _choose(best, records, plan, prices, names.of(best[0].record), accuracies)
            (below if accurate is False else choices).append(choice)
    return sort_choices(choices), sort_choices(below)


def sort_choices(choices: Iterable[Choice]) -> list[Choice]:
    """Returns the choices, each workload by itself, the fastest first.

    What fits the budget stands before what does not, and a known accuracy before one that is not known.
    """
    return sorted(choices, key=_rank)


def find_accuracies(records: Iterable[RunRecord]) -> dict[tuple[object, ...], Accuracy]:
    """Returns how accurate each backbone became, by backbone, image shape and dtype policy.

    Of each kind of training (scenario, data, options) the median over its runs and seeds, of a single model
    and not of an ensemble; of several kinds the highest, since the shorter ones were not meant to get there.
    """
    found: dict[tuple[object, ...], dict[bytes, list[tuple[float, str]]]] = {}
    for record in records:
        seeds = accuracies_by_seed(record.metrics)
        values = _single_models(seeds) if seeds else [final_accuracy(record.metrics)]
        workload, how = record.workload, record.configuration
        # Whose last epoch is the first that happened to reach it, so that it flatters.
        stopped = any(metric.name == "time_to_accuracy_seconds" for metric in record.metrics)
        what = f"{workload.scenario} stopped at its target" if stopped else workload.scenario
        source = f"{workload.dataset}, {what}, {how.float32_arithmetic} arithmetic"
        kinds = found.setdefault(_accuracy_key(record), {})
        kinds.setdefault(identity(workload), []).extend(
            (value, source) for value in values if value is not None
        )
    return {
        key: max(
            (
                Accuracy(value=statistics.median(value for value, _ in runs), source=runs[0][1])
                for runs in kinds.values()
                if runs
            ),
            key=lambda accuracy: accuracy.value,
        )
        for key, kinds in found.items()
        if any(kinds.values())
    }


def _single_models(seeds: Iterable[SeedAccuracy]) -> list[float | None]:
    return [member for seed in seeds for member in seed.members]


def find_peers(folders: Iterable[Iterable[RunRecord]], backbone: str | None) -> Counter[str]:
    """Returns how many runs trained with a loop or loader that is not tpuens' own, by its name.

    They are arms of comparisons: what they tell is how fast something else would have been.
    """
    return Counter(
        peer
        for folder in folders
        for record in folder
        if _times_training(record, backbone) and (peer := peer_text(record.configuration))
    )


def _is_ours(record: RunRecord) -> bool:
    return record.status == "ok" and not peer_text(record.configuration)


def _times_training(record: RunRecord, backbone: str | None) -> bool:
    workload = record.workload
    return (
        record.status == "ok"
        and record.environment is not None
        and workload.scenario in _READINGS
        and backbone in (None, workload.backbone)
    )


def _find_speeds(folders: Iterable[Iterable[RunRecord]], backbone: str | None) -> Iterator[_Speed]:
    for host, folder in enumerate(folders):
        for record in folder:
            if not _times_training(record, backbone):
                continue
            scenario = record.workload.scenario
            for series in record.series:
                rate = throughput(series) if series.name == _READINGS[scenario] else None
                if rate:
                    yield _Speed(
                        record=record,
                        host=host,
                        reading=f"{scenario}: {series.name}",
                        examples_per_second=rate,
                    )


def _device_key(record: RunRecord) -> tuple[object, ...]:
    workload = record.workload
    fingerprint = record.environment.fingerprint if record.environment else None
    return workload.backbone, workload.image_shape, fingerprint, device_text(record)


def device_text(record: RunRecord) -> str:
    """Returns which of its machine's devices a run used: "CPU", or the number and model of accelerators."""
    configuration = record.configuration
    kind = configuration.strategy.partition("-")[0].partition(":")[0]
    accelerators = record.environment.accelerators if record.environment else ()
    models = dict.fromkeys(one.model for one in accelerators if kind in (one.kind, "auto"))
    if not models:
        return "CPU"
    count = configuration.num_replicas or 1
    return " or ".join(describe_devices(model, count) for model in models)


def _accuracy_key(record: RunRecord) -> tuple[object, ...]:
    workload = record.workload
    return workload.backbone, workload.image_shape, record.configuration.dtype_policy


def _by_accuracy(
    speeds: Iterable[_Speed], accuracies: Mapping[tuple[object, ...], Accuracy], floor: float
) -> dict[bool | None, list[_Speed]]:
    """Returns the speeds of a device by whether their accuracy reaches the floor; None: not known.

    Where some reach it, those that are not known stay out: they are no reason to doubt the others. With no
    floor to reach there is nothing to know.
    """
    if floor <= 0:
        return {True: list(speeds)}
    groups: dict[bool | None, list[_Speed]] = {}
    for speed in speeds:
        accuracy = accuracies.get(_accuracy_key(speed.record))
        groups.setdefault(None if accuracy is None else accuracy.value >= floor, []).append(speed)
    if True in groups:
        return {True: groups[True]}
    return groups


def _best_configuration(speeds: Sequence[_Speed]) -> list[_Speed]:
    """Returns the runs of the fastest configuration; with the input pipeline where any run had it."""
    with_input = [speed for speed in speeds if speed.reading == "train-epoch: both"]
    configurations: dict[tuple[bytes, bytes], list[_Speed]] = {}
    for speed in with_input or speeds:
        key = identity(speed.record.workload), identity(speed.record.configuration)
        configurations.setdefault(key, []).append(speed)
    return max(configurations.values(), key=lambda runs: statistics.median(_host_medians(runs)))


def _host_medians(speeds: Iterable[_Speed]) -> list[float]:
    hosts: dict[int, list[float]] = {}
    for speed in speeds:
        hosts.setdefault(speed.host, []).append(speed.examples_per_second)
    return [statistics.median(rates) for rates in hosts.values()]


def _choose(
    speeds: Sequence[_Speed],
    records: Sequence[RunRecord],
    plan: Plan,
    prices: Prices,
    machine: str,
    accuracies: Mapping[tuple[object, ...], Accuracy],
) -> Choice:
    record = speeds[0].record
    medians = _host_medians(speeds)
    rate = statistics.median(medians)
    start_up = statistics.median(
        sum(speed.record.phases.get(phase, 0.0) for phase in _START_UP) for speed in speeds
    )
    seconds = start_up + plan.examples * plan.epochs / rate
    tariff = prices.of(record.environment, record.configuration)
    dollars = tariff.dollars(seconds) if tariff else None
    device = device_text(record)
    return Choice(
        machine=machine,
        device=device,
        workload=record.workload,
        configuration=record.configuration,
        reading=speeds[0].reading,
        examples_per_second=rate,
        hosts=len(medians),
        spread=(max(medians) - min(medians)) / rate if len(medians) > 1 else None,
        start_up_seconds=start_up,
        accuracy=accuracies.get(_accuracy_key(record)),
        input_need=find_input_need(record, records) if device != "CPU" else None,
        tariff=tariff,
        seconds=seconds,
        dollars=dollars,
        over_budget=plan.is_exceeded(dollars),
    )


def _rank(choice: Choice) -> tuple[object, ...]:
    name = workload_name(choice.workload)
    return name, bool(choice.over_budget), choice.accuracy is None, choice.seconds
