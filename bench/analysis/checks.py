"""New runs held against a baseline: every gate that the two sets of records allow."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from tpuens.errors import ConfigurationError

from ..records.floors import Floor
from ..records.record import RunRecord
from .accuracy_checks import check_accuracy, check_agreement
from .cost_checks import MIN_RUNS, check_compilation, check_memory, check_stored_speed, list_stored_readings
from .gates import Check, LeftOut, Pair, Verdict, explain_no_speed, list_lost, list_missing, pair_up
from .ratios import MIN_PAIRS
from .speed_checks import check_speed, list_readings
from .statistics import CONFIDENCE
from .thresholds import Gate, Thresholds


@dataclass(frozen=True, kw_only=True)
class CheckResult:
    """What became of a check.

    Attributes:
        checks: Every figure that could be held against the baseline's, or against its like.
        left_out: What could not, and why.
        differences: What of the environment differs between the two sides.
        missing: What only the baseline ran.
        lost: The strategies under which only the baseline ran it, though the same was run here.
    """

    checks: tuple[Check, ...]
    left_out: tuple[LeftOut, ...]
    differences: tuple[str, ...]
    missing: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()

    @property
    def failed(self) -> bool:
        """Returns whether a new run failed, so that what it was to show is not known."""
        return any(one.failed for one in self.left_out)

    def count(self, verdict: Verdict) -> int:
        """Returns how many checks ended so."""
        return sum(check.verdict == verdict for check in self.checks)

    @property
    def silent(self) -> list[Gate]:
        """Returns the gates of which there are checks, and not one was told."""
        told = {check.gate for check in self.checks if check.verdict != "not told"}
        return list(dict.fromkeys(check.gate for check in self.checks if check.gate not in told))

    def list_untold(self, required: Iterable[Gate]) -> list[Gate]:
        """Returns those of the gates that have no check, or one that could not be told."""
        verdicts = {gate: [one.verdict for one in self.checks if one.gate == gate] for gate in required}
        return [gate for gate, found in verdicts.items() if not found or "not told" in found]

    def exit_code(self, required: Iterable[Gate] = ()) -> int:
        """Returns 1 where a gate is broken or a new run failed, 2 where too little could be told, else 0.

        A gate that could not be told is no failure of the code that is checked, so it warns and no more;
        whoever must not go on without it requires it. A required gate without a check is not told either, nor
        one of a strategy that is gone. Where none at all could be told, nothing holds.
        """
        if self.count("broken") or self.failed:
            return 1
        if not self.count("holds"):
            return 2
        return 2 if self.list_untold(required) or (self.lost and tuple(required)) else 0


def check_records(
    new: Sequence[RunRecord],
    baseline: Sequence[RunRecord],
    thresholds: Thresholds,
    *,
    find_floor: Callable[[RunRecord], Floor | None] = lambda record: None,
) -> CheckResult:
    """Returns every check that the records allow, the broken ones first.

    The intervals of speed and of compile time are so wide that equal sides break a gate in at most 5 % of
    checks, however many readings there are.

    Args:
        new: What is to be held to the baseline.
        baseline: What it is held against.
        thresholds: How much worse is too much.
        find_floor: The noise floor of the machine that made a record.

    Raises:
        ConfigurationError: Nothing can be compared; the message says what stands in the way.
    """
    pairs, left_out = pair_up(new, baseline)
    timed = [len(list_readings(p) if p.takes_turns else list_stored_readings(p)) for p in pairs]
    left_out += [
        found
        for pair, count in zip(pairs, timed, strict=True)
        if not count and (found := explain_no_speed(pair))
    ]
    # How often equal sides may break a gate, divided among what it reads (Bonferroni) and can tell.
    tellable = [count if _can_tell(pair) else 0 for pair, count in zip(pairs, timed, strict=True)]
    counts = sum(tellable), sum(map(_can_tell, pairs))
    error, compile_error = ((1 - CONFIDENCE) / max(1, count) for count in counts)
    checks: list[Check] = []
    for pair in pairs:
        if pair.takes_turns:
            checks += check_speed(pair, thresholds, floor=find_floor(pair.new[0]), error=error)
        else:
            checks += check_stored_speed(pair, thresholds, confidence=1 - error)
        checks += check_memory(pair, thresholds)
        checks += check_compilation(pair, thresholds, confidence=1 - compile_error)
        checks += check_accuracy(pair, thresholds)
    checks += check_agreement(new, thresholds)
    order: tuple[Verdict, ...] = ("broken", "not told", "holds")
    result = CheckResult(
        checks=tuple(sorted(checks, key=lambda check: order.index(check.verdict))),
        left_out=tuple(left_out),
        differences=tuple(dict.fromkeys(d for pair in pairs for d in pair.differences)),
        missing=list_missing(new, baseline),
        lost=list_lost(new, baseline),
    )
    if (not checks or (baseline and not pairs)) and not result.failed:
        raise ConfigurationError(_explain_nothing(left_out, new, baseline))
    return result


def _can_tell(pair: Pair) -> bool:
    """Returns whether there are runs enough for any verdict on a time."""
    if pair.takes_turns:
        return len(pair.processes()) >= MIN_PAIRS
    return min(len(pair.new), len(pair.baseline)) >= MIN_RUNS


def _explain_nothing(
    left_out: Sequence[LeftOut], new: Sequence[RunRecord], baseline: Sequence[RunRecord]
) -> str:
    reasons = "; ".join(f"{one.what}: {one.why}" for one in left_out[:5])
    more = f"; and {len(left_out) - 5} more" if len(left_out) > 5 else ""
    return (
        "Nothing can be checked: a check needs runs of equal workload and configuration on both sides. "
        f"Measure the baseline with the same settings. Received: {len(new)} new and {len(baseline)} baseline "
        f"records; {reasons or 'none holds a figure that both sides have'}{more}"
    )
