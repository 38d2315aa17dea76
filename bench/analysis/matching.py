"""Which runs of two sets may be compared, and what else differs between them [METHOD of this project, 11]."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from tpuens.errors import ConfigurationError

from ..records.record import Environment, RunRecord
from .gates import list_differences
from .labels import describe_run, identity, setup_facts

# "apart": neither in turns nor interleaved: another day, another machine, a stored baseline.
Manner = Literal["turns", "one-process", "whole-runs", "apart"]
Division = Literal["fixed", "tuned"]
_Runs = Sequence[RunRecord]

# They belong to the device that is compared; the batch size of a replica follows from the global one.
_OF_THE_DEVICE = {
    "strategy",
    "num_replicas",
    "per_replica_batch_size",
    "float32_arithmetic",
    "keeps_freed_memory",
}


@dataclass(frozen=True, kw_only=True)
class Match:
    """Runs of one thing in arm A, and those in arm B.

    Attributes:
        a, b: As many of each; those at the same place took turns, or stand beside each other by age.
        manner: How they were run.
        division: Between machines: "fixed" is one configuration on both, "tuned" is each its best.
        differences: The fields of workload and configuration that differ, as "field: A's → B's".
        environment: Likewise of machine, versions, variables and commit.
    """

    a: tuple[RunRecord, ...]
    b: tuple[RunRecord, ...]
    manner: Manner
    division: Division | None = None
    differences: tuple[str, ...] = ()
    environment: tuple[str, ...] = ()


def match_records(a: Sequence[RunRecord], b: Sequence[RunRecord]) -> tuple[list[Match], list[str]]:
    """Returns what can be compared, and of the rest why it cannot.

    The arms of a live comparison belong together, whatever was varied. Other runs need equal workloads. On
    one machine their configurations are equal, or differ where each side ran the workload under a single one
    left. Between machines they are equal but for the device ("fixed"): each strategy stands beside itself,
    and of those that only one side ran the best beside the other's best; where no two configurations are
    equal, the best of each side is taken ("tuned").

    Raises:
        ConfigurationError: Nothing can be compared; the message names the fields that differ.
    """
    left_out = [_reason(arm, one) for arm, records in (("A", a), ("B", b)) for one in records if not _ok(one)]
    ours, theirs = list(filter(_ok, a)), list(filter(_ok, b))
    comparisons = {one.turns.comparison if one.turns else None for one in (*ours, *theirs)}
    if len(comparisons) == 1 and None not in comparisons:
        match = _match_turns(ours, theirs)
        return [match], left_out + _count_surplus(ours, theirs, len(match.a))
    matches: list[Match] = []
    workloads = [_by(records, lambda one: identity(one.workload)) for records in (ours, theirs)]
    for key, records in workloads[0].items():
        if key in workloads[1]:
            found, rest = _match_configurations(records, workloads[1][key])
            matches += found
            left_out += rest
        else:
            left_out.append(f"A alone ran {describe_run(records[0])}")
    for key, records in workloads[1].items():
        if key not in workloads[0]:
            left_out.append(f"B alone ran {describe_run(records[0])}")
    if not matches:
        raise ConfigurationError(_explain_nothing(ours, theirs, left_out))
    return matches, left_out


def split_arms(records: Iterable[RunRecord]) -> tuple[list[RunRecord], list[RunRecord]]:
    """Returns the records of arm A of a live comparison, and those of arm B."""
    arms: dict[str, list[RunRecord]] = {"A": [], "B": []}
    for record in records:
        if record.turns:
            arms[record.turns.arm].append(record)
    return arms["A"], arms["B"]


def has_complete_pair(records: Iterable[RunRecord]) -> bool:
    """Returns whether a live comparison's records hold both arms of any of its pairs."""
    pairs = [{one.turns.pair for one in arm if one.turns} for arm in split_arms(records)]
    return not pairs[0].isdisjoint(pairs[1])


def environment_facts(environment: Environment | None) -> dict[str, Any]:
    """Returns what a run's environment says of machine and set-up, by name."""
    if environment is None:
        return {}
    return {
        "machine": f"{environment.machine_label} ({environment.fingerprint})",
        "processor": environment.cpu_model,
        "cores": environment.physical_cores,
        "memory": f"{environment.memory_bytes / 2**30:.0f} GiB",
        "accelerators": ", ".join(one.model for one in environment.accelerators) or "none",
        "operating system": environment.operating_system,
        "container": environment.container or "none",
        **dict(setup_facts(environment)),
    }


def _ok(record: RunRecord) -> bool:
    return record.status == "ok"


def _reason(arm: str, record: RunRecord) -> str:
    return f"a run of {arm} {'failed' if record.status == 'failed' else 'was skipped'}: {record.reason}"


def _count_surplus(a: Sequence[RunRecord], b: Sequence[RunRecord], matched: int) -> list[str]:
    """Returns how many runs of which arm stand beside none of the other."""
    return [
        f"{surplus} run{'s' if surplus > 1 else ''} of {arm} {'have' if surplus > 1 else 'has'} "
        f"no partner in {other}: {describe_run(runs[0])}"
        for arm, other, runs in (("A", "B", a), ("B", "A", b))
        if (surplus := len(runs) - matched)
    ]


def _match_turns(a: Sequence[RunRecord], b: Sequence[RunRecord]) -> Match:
    partners = {one.turns.pair: one for one in b if one.turns}
    pairs = [(one, partners[one.turns.pair]) for one in a if one.turns and one.turns.pair in partners]
    if not pairs:
        raise ConfigurationError(
            "A comparison holds pairs of runs, and none is complete. Go on with it by --resume, or start "
            f"another. Received: {len(a)} runs of A and {len(b)} of B"
        )
    first = pairs[0][0].turns
    return _match([x for x, _ in pairs], [y for _, y in pairs], first.manner if first else "apart")


def _match_configurations(a: Sequence[RunRecord], b: Sequence[RunRecord]) -> tuple[list[Match], list[str]]:
    """Returns the matches of runs of one workload, and why the rest of them has none."""
    machines = {one.environment.fingerprint if one.environment else "" for one in (*a, *b)}
    across = len(machines) > 1
    key = _fixed_key if across else lambda one: identity(one.configuration)
    ours, theirs = _by(a, key), _by(b, key)
    found: list[tuple[_Runs, _Runs, Division | None]] = []
    rest: list[list[_Runs]] = [
        [side[one] for one in side if one not in other] for side, other in ((ours, theirs), (theirs, ours))
    ]
    for one in [one for one in ours if one in theirs]:
        if not across:
            found.append((ours[one], theirs[one], None))
            continue
        pairs, alone = _pair_devices(ours[one], theirs[one])
        found += [(x, y, "fixed") for x, y in pairs]
        for groups, more in zip(rest, alone, strict=True):
            groups += more
    left_out: list[str] = []
    if across and not found:
        found = [(_best(rest[0]), _best(rest[1]), "tuned")]
    elif not across and len(rest[0]) == len(rest[1]) == 1:
        found.append((rest[0][0], rest[1][0], None))
    else:
        left_out = [
            f"{arm} alone ran {describe_run(runs[0])}"
            for arm, groups in zip("AB", rest, strict=True)
            for runs in groups
        ]
    for x, y, _ in found:
        left_out += _count_surplus(x, y, min(len(x), len(y)))
    return [_match(x, y, "apart", division) for x, y, division in found], left_out


def _pair_devices(a: _Runs, b: _Runs) -> tuple[list[tuple[_Runs, _Runs]], tuple[list[_Runs], list[_Runs]]]:
    """Returns what to set beside each other of runs that are equal but for the device, and what is left."""
    sides = [_by(runs, lambda one: one.configuration.strategy.encode()) for runs in (a, b)]
    pairs: list[tuple[_Runs, _Runs]] = [(sides[0][one], sides[1][one]) for one in sides[0] if one in sides[1]]
    alone: list[list[_Runs]] = [
        [side[one] for one in side if one not in other] for side, other in (sides, reversed(sides))
    ]
    if alone[0] and alone[1]:
        best = [_best(groups) for groups in alone]
        pairs.append((best[0], best[1]))
        alone = [
            [runs for runs in groups if runs is not one] for groups, one in zip(alone, best, strict=True)
        ]
    return pairs, (alone[0], alone[1])


def _match(
    a: Sequence[RunRecord], b: Sequence[RunRecord], manner: Manner, division: Division | None = None
) -> Match:
    count = min(len(a), len(b))
    return Match(
        a=tuple(a[:count]),
        b=tuple(b[:count]),
        manner=manner,
        division=division,
        differences=tuple(list_differences(_fields(a[0]), _fields(b[0]))),
        environment=tuple(_compare_environments(a[:count], b[:count])),
    )


def _compare_environments(a: Sequence[RunRecord], b: Sequence[RunRecord]) -> list[str]:
    """Returns what differs between the arms, and what was not the same in all runs of an arm."""
    arms = [[environment_facts(one.environment) for one in records] for records in (a, b)]
    names = dict.fromkeys(name for runs in arms for facts in runs for name in facts)
    known = [
        {name: ", ".join(dict.fromkeys(str(facts.get(name, "not set")) for facts in runs)) for name in names}
        for runs in arms
    ]
    changed = [
        f"{name} changed from run to run: {values}"
        for name, values in known[0].items()
        if values == known[1][name] and len({facts.get(name) for facts in arms[0]}) > 1
    ]
    return [*list_differences(*known), *changed]


def _fields(record: RunRecord) -> dict[str, Any]:
    return msgspec.structs.asdict(record.workload) | msgspec.structs.asdict(record.configuration)


def _fixed_key(record: RunRecord) -> bytes:
    fields = msgspec.structs.asdict(record.configuration)
    return msgspec.json.encode({name: value for name, value in fields.items() if name not in _OF_THE_DEVICE})


def _by(records: Iterable[RunRecord], key: Callable[[RunRecord], bytes]) -> dict[bytes, list[RunRecord]]:
    groups: dict[bytes, list[RunRecord]] = {}
    for record in records:
        groups.setdefault(key(record), []).append(record)
    return groups


def _best(groups: Sequence[Sequence[RunRecord]]) -> Sequence[RunRecord]:
    """Returns the runs of the configuration that made the most examples a second, its input included."""

    def rate(records: Sequence[RunRecord]) -> float:
        series = [
            next((series for series in one.series if series.name == "both"), one.series[0])
            for one in records
            if one.series
        ]
        done = sum(sum(one.examples) or sum(one.steps) for one in series)
        return done / (sum(sum(one.seconds) for one in series) or 1.0)

    return max(groups, key=rate)


def _explain_nothing(a: Sequence[RunRecord], b: Sequence[RunRecord], left_out: Sequence[str]) -> str:
    """Returns why, by the fields in which the two nearest workloads differ."""
    if not a or not b:
        return (
            f"Both arms need runs that went well. Measure again what failed. "
            f"Received: {len(a)} in A and {len(b)} in B; {'; '.join(left_out[:5])}"
        )
    sides = [list(_by(records, lambda one: identity(one.workload)).values()) for records in (a, b)]
    differences = min(
        (
            list_differences(*(msgspec.structs.asdict(runs[0].workload) for runs in (x, y)))
            for x in sides[0]
            for y in sides[1]
        ),
        key=len,
    )
    return (
        "Only equal workloads are compared: measure both arms with the same settings, or vary the one that "
        f"is in question in a comparison of its own (--vary). Received: {'; '.join(differences)}"
    )
