"""New runs held against a baseline: every gate that the two sets of records allow."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from tpuens.errors import ConfigurationError

from ..records.floors import Floor
from ..records.record import RunRecord
from .accuracy_checks import check_accuracy, check_agreement
from .cost_checks import check_compilation, check_memory, check_stored_speed, list_stored_readings
from .gates import Check, LeftOut, Verdict, pair_up
from .speed_checks import check_speed, list_readings
from .statistics import CONFIDENCE
from .thresholds import Gate, Thresholds


@dataclass(frozen=True, kw_only=True)
class CheckResult:
    """What became of a check.

    Attributes:
        checks: Every figure that could be held against the baseline's, or against its like.
        left_out: New runs that could not, and why.
        differences: What of the environment differs between the two sides.
    """

    checks: tuple[Check, ...]
    left_out: tuple[LeftOut, ...]
    differences: tuple[str, ...]

    def count(self, verdict: Verdict) -> int:
        """Returns how many checks ended so."""
        return sum(check.verdict == verdict for check in self.checks)

    def exit_code(self, required: Iterable[Gate] = ()) -> int:
        """Returns 1 where a gate is broken, 2 where a required one could not be told, else 0.

        A gate that could not be told is no failure of the code that is checked, so it warns and no more;
        whoever must not go on without it requires it. A required gate without a check is not told either.
        """
        if self.count("broken"):
            return 1
        told = {gate: [c.verdict for c in self.checks if c.gate == gate] for gate in required}
        return 2 if any(not verdicts or "not told" in verdicts for verdicts in told.values()) else 0


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
    readings = sum(len(list_readings(p) if p.takes_turns else list_stored_readings(p)) for p in pairs)
    # How often equal sides may break a gate, divided among what it reads (Bonferroni).
    error, compile_error = ((1 - CONFIDENCE) / max(1, count) for count in (readings, len(pairs)))
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
    if not pairs and (baseline or not checks):
        raise ConfigurationError(_explain_nothing(left_out, new, baseline))
    order: tuple[Verdict, ...] = ("broken", "not told", "holds")
    return CheckResult(
        checks=tuple(sorted(checks, key=lambda check: order.index(check.verdict))),
        left_out=tuple(left_out),
        differences=tuple(dict.fromkeys(d for pair in pairs for d in pair.differences)),
    )


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
