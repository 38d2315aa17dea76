"""What things are called in every table and chart: machines, workloads, configurations, readings."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from tpuens.hardware.catalogue import describe_devices

from ..records.record import Configuration, Environment, Parameter, RunRecord, Series, WorkloadKey

UNKNOWN_MACHINE = "machine not known"

MachineKey = tuple[str, str]
Setup = tuple[tuple[str, str], ...]


def identity(struct: msgspec.Struct) -> bytes:
    """Returns a hashable value that is equal for equal workloads or configurations."""
    return msgspec.json.encode(struct, order="deterministic")


class MachineNames:
    """The machines of some records, in the order of their first record, each with a name of its own."""

    def __init__(self, records: Iterable[RunRecord]) -> None:
        self._environments: dict[MachineKey, list[Environment]] = {}
        for record in records:
            if record.environment:
                self._environments.setdefault(_key(record.environment), []).append(record.environment)
        labels = [label for label, _ in self._environments]
        self._names = {
            (label, fingerprint): label if labels.count(label) == 1 else f"{label} ({fingerprint})"
            for label, fingerprint in self._environments
        }

    def of(self, record: RunRecord) -> str:
        """Returns the label of a record's machine, with its fingerprint where two share the label."""
        return self._names[_key(record.environment)] if record.environment else UNKNOWN_MACHINE

    def environments(self) -> dict[str, list[Environment]]:
        """Returns every environment that was recorded on each machine, by its name."""
        return {self._names[key]: environments for key, environments in self._environments.items()}


def workload_name(workload: WorkloadKey) -> str:
    """Returns ``backbone@size``; the data set stands in where there is no backbone, else nothing."""
    name = workload.backbone or workload.dataset or ""
    if workload.image_shape is None:
        return name
    height, width, _ = workload.image_shape
    return f"{name}@{height}" if height == width else f"{name}@{height}×{width}"


def describe_run(record: RunRecord) -> str:
    """Returns scenario, workload, strategy, batch size and settings of a run in words."""
    workload, configuration = record.workload, record.configuration
    batch = configuration.global_batch_size
    words = [workload.scenario, workload_name(workload), configuration.strategy]
    words += [f"batch {batch}" if batch is not None else "", details(workload, configuration)]
    return ", ".join(word for word in words if word)


def details(workload: WorkloadKey, configuration: Configuration) -> str:
    """Returns what else tells one row from another: data, options, arithmetic, threads, input, faults."""
    grey = workload.image_shape is not None and workload.image_shape[2] == 1
    words = [workload.dataset if workload.backbone else None, workload.weights, "grey" if grey else None]
    words += workload.augment
    words += [f"{name.replace('_', ' ')} = {value}" for name, value in sorted(workload.options.items())]
    words.append(configuration_text(configuration))
    return "; ".join(word for word in words if word)


def configuration_text(configuration: Configuration) -> str:
    """Returns a configuration in words, without strategy and batch size, which have columns of their own."""
    arithmetic = configuration.float32_arithmetic
    words = [
        configuration.dtype_policy + (f" ({arithmetic})" if arithmetic != "float32" else ""),
        f"{configuration.num_replicas} replicas" if (configuration.num_replicas or 1) > 1 else "",
        "jit" if configuration.jit_compile else "",
        f"{configuration.steps_per_execution} steps a call" if configuration.steps_per_execution > 1 else "",
        _count(configuration.intra_op_threads, "intra-op thread"),
        _count(configuration.inter_op_threads, "inter-op thread"),
        _count(configuration.num_parallel_calls, "parallel input call"),
        _count(configuration.prefetch, "prefetched batch", "es"),
        f"cache {configuration.cache}" if configuration.cache else "",
        peer_text(configuration),
        configuration.optimizer or "",
        f"PLANTED {configuration.planted}" if configuration.planted else "",
    ]
    return ", ".join(word for word in words if word)


def peer_text(configuration: Configuration) -> str:
    """Returns whose loader and loop ran in place of tpuens' own; empty where none did."""
    words = [
        f"{configuration.loader} loader" if configuration.loader not in (None, "tpuens") else "",
        f"{configuration.loop} loop" if configuration.loop != "tpuens" else "",
    ]
    return ", ".join(word for word in words if word)


def reading_text(series: Series) -> str:
    """Returns a series' name and parameters, without the batch size, which has a column of its own."""
    others = {name: value for name, value in series.parameters.items() if name != "batch_size"}
    words = [
        value if isinstance(value, str) else f"{name} = {value}" for name, value in sorted(others.items())
    ]
    return ", ".join([series.name, *words])


def label_words(
    workload: WorkloadKey,
    configuration: Configuration,
    series: Sequence[str | int | None] = (),
    parameters: Mapping[str, Parameter] | None = None,
) -> list[str]:
    """Returns everything that can tell one reading of a scenario from another, one thing a word.

    Args:
        workload: What was computed; its name comes first.
        configuration: How.
        series: What only the series knows, such as its reading.
        parameters: Of the series. A batch size among them is what was timed, whatever the run's; 0: several.
    """
    # The name comes first even where it is empty: the first word is never taken for a common one.
    words = [*series, configuration.strategy]
    if batch := (parameters or {}).get("batch_size", configuration.global_batch_size):
        words.append(f"batch {batch}")
    rest = [str(word) for word in words if word] + re.split("[;,] ", details(workload, configuration))
    return [workload_name(workload), *rest]


def tell_apart(lists: Sequence[Sequence[str]]) -> tuple[list[str], str]:
    """Returns a label for each list of words, without those that all have in common; and those.

    The first word of each is always kept.
    """
    common = [word for word in lists[0][1:] if all(word in words for words in lists)]
    own = [[words[0], *(word for word in words[1:] if word not in common)] for words in lists]
    labels = [" · ".join(word for word in words if word) for words in own]
    return labels, ", ".join(dict.fromkeys(common))


def machine_text(environment: Environment) -> str:
    """Returns a machine in words: processor, memory, accelerators, system."""
    cores = f"{environment.physical_cores or '?'} cores, {environment.logical_cores} threads"
    # Clouds call processors of several generations by one name.
    cores += ", AVX-512" if any(name.startswith("avx512") for name in environment.isa) else ""
    accelerators = Counter((one.model, one.memory_bytes) for one in environment.accelerators)
    words = [
        f"{environment.cpu_model} ({cores})",
        f"{environment.memory_bytes / 2**30:.0f} GiB of memory",
        *(
            describe_devices(model, count) + (f" of {memory / 2**30:.0f} GiB" if memory else "")
            for (model, memory), count in accelerators.items()
        ),
        environment.operating_system,
        f"in {environment.container}" if environment.container else "",
    ]
    return ", ".join(word for word in words if word)


def setup_facts(environment: Environment | None) -> Setup:
    """Returns what of a run's environment can change its figures on one and the same machine, by name.

    Versions, environment variables, the commit, the data set, the driver, the frequency governor and the
    cores that a container leaves; what is not known is not among them.
    """
    if environment is None:
        return ()
    commit = environment.git_commit[:12] if environment.git_commit else ""
    facts = {
        **environment.versions,
        **{f"variable {name}": value for name, value in environment.variables.items()},
        "git commit": commit + (" with changes" if commit and environment.git_dirty else ""),
        "data set fingerprint": environment.dataset_fingerprint or "",
        "driver": environment.driver or "",
        "frequency governor": environment.cpu_governor or "",
        "cores that may be used": f"{environment.usable_cores:g}" if environment.usable_cores else "",
    }
    return tuple((name, value) for name, value in facts.items() if value)


def tell_setups_apart(setups: Sequence[Setup]) -> list[str]:
    """Returns for each set-up those of its facts in which they do not all agree; empty where they do."""
    known = [dict(setup) for setup in setups]
    names = dict.fromkeys(name for facts in known for name in facts)
    differing = [name for name in names if len({facts.get(name) for facts in known}) > 1]
    return [", ".join(f"{name} {facts.get(name, 'not set')}" for name in differing) for facts in known]


def _key(environment: Environment) -> MachineKey:
    return environment.machine_label, environment.fingerprint


def _count(count: int | None, noun: str, plural: str = "s") -> str:
    return f"{count} {noun}{plural if count != 1 else ''}" if count is not None else ""
