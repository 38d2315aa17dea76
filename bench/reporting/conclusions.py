"""What the figures answer, in sentences."""

from collections.abc import Iterable, Sequence

from ..analysis.crossover import Crossover, find_crossovers
from ..analysis.labels import configuration_text, workload_name
from ..analysis.summary import Row
from .growth import describe_caches, describe_fusing, describe_growth
from .numbers import format_number
from .waterfall import explain_waterfalls


def conclude(rows: Sequence[Row]) -> list[str]:
    """Returns every sentence that these rows answer a question with.

    Args:
        rows: As `bench.analysis.pooling.pool` gives them.
    """
    answers = (
        compare_devices,
        explain_waterfalls,
        describe_growth,
        describe_caches,
        describe_fusing,
        explain_tunings,
    )
    return [sentence for answer in answers for sentence in answer(rows)]


def compare_devices(rows: Iterable[Row]) -> list[str]:
    """Returns whether and from which size on each accelerator multiplies matrices faster than the CPU.

    A machine that has nothing to compare says so once.

    Args:
        rows: As `bench.analysis.pooling.pool` gives them.
    """
    crossovers = find_crossovers(rows)
    sentences = [_crossover_text(crossover) for crossover in crossovers if crossover.accelerator]
    compared = {crossover.machine for crossover in crossovers if crossover.accelerator}
    for machine in dict.fromkeys(crossover.machine for crossover in crossovers):
        if machine not in compared:
            alone = [crossover for crossover in crossovers if crossover.machine == machine]
            best = max(alone, key=lambda crossover: crossover.best_flops_per_second)
            sentences.append(
                f"Is a CPU faster than a GPU? There is nothing to compare on {machine}: matrices were "
                f"multiplied on one kind of device only. Its best rate, "
                f"{format_number(best.best_flops_per_second / 1e9)} GFLOP/s, came at n = {best.best_n:,}."
            )
    return sentences


def explain_tunings(rows: Iterable[Row]) -> list[str]:
    """Returns how the settings of runs were chosen, once for all readings of a run."""
    sentences = [
        f"Settings of {row.workload.scenario} {workload_name(row.workload)} on {row.configuration.strategy}, "
        f"{row.machine}. {row.tuning}"
        for row in rows
        if row.tuning
    ]
    return list(dict.fromkeys(sentences))


def _crossover_text(crossover: Crossover) -> str:
    device = (crossover.accelerator or "").upper()
    how = [f"strategy {crossover.configuration.strategy}", configuration_text(crossover.configuration)]
    where = f"{crossover.machine} ({', '.join(filter(None, [*how, crossover.distinction]))})"
    question = f"Is a CPU faster than a {device}? In products of n × n matrices on {where}"
    if not crossover.sizes:
        return f"{question} no size was computed on both, so there is nothing to compare."
    span = f"sizes from {crossover.sizes[0]:,} to {crossover.sizes[-1]:,} were computed on both"
    if crossover.passes_at is None:
        return f"{question} the {device} never passes it for good; {span}, and at the last it still wins."
    if crossover.passes_at == crossover.sizes[0]:
        return f"{question} the {device} wins at every size; {span}."
    below = crossover.sizes[crossover.sizes.index(crossover.passes_at) - 1]
    return (
        f"{question} the CPU still wins at n = {below:,}, the {device} from n = {crossover.passes_at:,} on; "
        f"{span}."
    )
