"""The gates on what runs compute: accuracy against the baseline, and agreement among the new runs."""

from collections.abc import Iterator, Sequence

import msgspec

from ..records.record import Outcomes, Parameter, RunRecord
from .accuracy import accuracies_by_seed
from .accuracy_tests import AccuracyTest, judge_agreement, judge_seeds
from .gates import Check, Pair, list_differences
from .labels import describe_run, identity
from .statistics import CONFIDENCE
from .thresholds import Gate, Thresholds

# The accuracies of an ensemble or of one of its members, by seed.
BySeed = dict[Parameter, list[float]]
_ENSEMBLE = "ensemble"


def check_accuracy(pair: Pair, thresholds: Thresholds) -> Iterator[Check]:
    """Yields the check of an ensemble's accuracy and of each member's, over seeds.

    Members are matched by number, so that one that fell is not hidden by the others. The error of 5 % is
    divided among all of them (Bonferroni).
    """
    new, baseline = _collect_seeds(pair.new), _collect_seeds(pair.baseline)
    margin = thresholds.of("accuracy", pair.workload.scenario)
    names = [name for name in new if name in baseline]
    for name in names:
        confidence = 1 - (1 - CONFIDENCE) / len(names)
        test = judge_seeds(new[name], baseline[name], margin=margin, confidence=confidence)
        yield _make_check("accuracy", pair.new[0], name, test, margin)


def check_agreement(new: Sequence[RunRecord], thresholds: Thresholds) -> Iterator[Check]:
    """Yields the checks of what must be equally accurate among the new runs.

    The same weights under several configurations, example by example against the first; and networks that
    were trained again under another configuration but with the same global batch, over seeds.
    """
    ready = [record for record in new if record.status == "ok"]
    for record in ready:
        yield from _check_outcomes(record, thresholds)
    groups: dict[tuple[bytes, int | None], dict[bytes, list[RunRecord]]] = {}
    for record in ready:
        if _collect_seeds([record]):
            key = identity(record.workload), record.configuration.global_batch_size
            configurations = groups.setdefault(key, {})
            configurations.setdefault(identity(record.configuration), []).append(record)
    for configurations in groups.values():
        first, *others = configurations.values()
        for other in others:
            yield from _check_configurations(first, other, thresholds)


def _check_outcomes(record: RunRecord, thresholds: Thresholds) -> Iterator[Check]:
    scenario = record.workload.scenario
    if scenario != "agreement" or len(record.outcomes) < 2:
        return
    first, *others = record.outcomes
    margin = thresholds.of("agreement", scenario)
    for other in others:
        confidence = 1 - (1 - CONFIDENCE) / len(others)
        test = judge_agreement(other, first, margin=margin, confidence=confidence)
        yield _make_check("agreement", record, f"{_name(other)} against {_name(first)}", test, margin)


def _check_configurations(
    first: Sequence[RunRecord], other: Sequence[RunRecord], thresholds: Thresholds
) -> Iterator[Check]:
    scenario = first[0].workload.scenario
    margin = thresholds.of("agreement", scenario)
    settings = [msgspec.structs.asdict(records[0].configuration) for records in (first, other)]
    differences = "; ".join(list_differences(*settings))
    one, another = _collect_seeds(first), _collect_seeds(other)
    names = [name for name in one if name in another]
    for name in names:
        confidence = 1 - (1 - CONFIDENCE) / len(names)
        test = judge_seeds(another[name], one[name], margin=margin, both_ways=True, confidence=confidence)
        yield _make_check("agreement", first[0], f"{name}, {differences}", test, margin)


def _collect_seeds(records: Sequence[RunRecord]) -> dict[str, BySeed]:
    """Returns the accuracies of the ensemble and of each member, by seed; empty where there are none."""
    found: dict[str, BySeed] = {}
    for record in records:
        for of_seed in accuracies_by_seed(record.metrics):
            named = {f"member {number}": value for number, value in enumerate(of_seed.members)}
            if of_seed.ensemble is not None:
                named[_ENSEMBLE] = of_seed.ensemble
            for name, value in named.items():
                found.setdefault(name, {}).setdefault(of_seed.seed, []).append(value)
    return found


def _make_check(gate: Gate, run: RunRecord, what: str, test: AccuracyTest, margin: float) -> Check:
    difference = test.difference
    bounded = difference is not None and difference.low > -1 and difference.high < 1
    return Check(
        gate=gate,
        scenario=run.workload.scenario,
        what=what,
        of=describe_run(run),
        verdict=test.verdict,
        change=difference.value if difference else None,
        low=difference.low if difference and bounded else None,
        high=difference.high if difference and bounded else None,
        threshold=margin,
        why=test.why,
    )


def _name(outcomes: Outcomes) -> str:
    return ", ".join(str(value) for value in outcomes.parameters.values()) or "the first"
