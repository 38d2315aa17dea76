"""What a comparison is for and may cost, and the folder that holds it."""

import math
import uuid
from pathlib import Path
from typing import Literal

import msgspec

from tpuens.errors import ConfigurationError

from ..analysis.ratios import MIN_PAIRS
from ..records.atomic import write_file
from ..records.record import RunRecord
from ..records.store import RECORDS_FOLDER, read_folder
from ..scenarios.table import SCENARIOS
from ..suites import Request
from .suite_run import PLAN_FILE
from .turns import ARMS, SETTLE_SECONDS

Manner = Literal["turns", "one-process", "whole-runs"]
Roots = tuple[Path | None, Path | None]

# On a busy 2-core machine a pair of the small train-step took 6 to 9 s to start, side by side. A turn of a
# quarter of a second is long beside what goes with it (a message and two readings of the machine, a few
# milliseconds), and short beside what disturbs a machine. With 16 of them the pairs' log-ratios had a
# standard deviation of 1.5 to 2 % by wall time and 0.7 to 0.9 % by CPU time; another pair says more than
# more turns.
START_SECONDS = 9.0
TURNS, TURN_SECONDS = 16, 0.25
# Of what works ahead, and is stopped in between: what it does between the end of a turn and the stop, some
# milliseconds, is to be small beside a turn, and a turn is to hold several batches.
AHEAD_TURNS, AHEAD_TURN_SECONDS = 8, 1.0


class ComparisonPlan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a comparison's folder was started for."""

    comparison: str
    a: Request
    b: Request


def open_plan(folder: Path, a: Request, b: Request) -> ComparisonPlan:
    """Returns the plan of a folder, which is started where there is none.

    Raises:
        ConfigurationError: It was started for something else.
    """
    if (folder / PLAN_FILE).exists():
        plan = load_plan(folder)
        if (plan.a, plan.b) != (a, b):
            raise ConfigurationError(
                "A comparison has a folder of its own: choose another --results. "
                f"Received: results={str(folder)!r}, which was started for other arms"
            )
        return plan
    plan = ComparisonPlan(comparison=uuid.uuid4().hex[:12], a=a, b=b)
    content = msgspec.json.format(msgspec.json.encode(plan), indent=1) + b"\n"
    write_file(folder / PLAN_FILE, content, overwrite=False)
    return plan


def load_plan(folder: Path) -> ComparisonPlan:
    """Returns what a comparison's folder was started for.

    Raises:
        ConfigurationError: It was started for no comparison, or by another version.
    """
    try:
        return msgspec.json.decode((folder / PLAN_FILE).read_bytes(), type=ComparisonPlan)
    except (OSError, msgspec.DecodeError) as error:
        raise ConfigurationError(
            f"Only a folder that `tpuens-bench compare` has started can be gone on with ({error}). "
            f"Received: results={str(folder)!r}"
        ) from None


def next_number(folder: Path) -> int:
    """Returns the number of the next pair; that of a pair that failed is not given again."""
    if not any((folder / RECORDS_FOLDER).glob("*.json")):
        return 0
    return max((one.turns.pair for one in read_folder(folder) if one.turns), default=-1) + 1


def list_pairs(folder: Path) -> list[RunRecord]:
    """Returns the records of a comparison's complete pairs, A before B; none where it has no records yet."""
    if not any((folder / RECORDS_FOLDER).glob("*.json")):
        return []
    pairs: dict[int, dict[str, RunRecord]] = {}
    for record in read_folder(folder):
        if record.turns and record.status == "ok":
            pairs.setdefault(record.turns.pair, {})[record.turns.arm] = record
    return [pairs[number][arm] for number in sorted(pairs) if len(pairs[number]) == 2 for arm in ARMS]


def check_comparable(a: Request, b: Request) -> None:
    """Checks that both arms can take turns with something.

    Raises:
        ConfigurationError: They are different scenarios, or one without such a probe.
    """
    names = [a.scenario.name, b.scenario.name]
    able = [row.name for row in SCENARIOS.values() if row.compares]
    if names[0] != names[1] or names[0] not in able:
        raise ConfigurationError(
            f"Both arms time the same scenario, one of: {', '.join(able)}. "
            f"Received: scenario={' and '.join(dict.fromkeys(names))!r}"
        )


def choose_turns(request: Request, turns: int | None = None) -> tuple[int, float]:
    """Returns how many turns each arm takes with a probe, and how long one is, in seconds.

    Args:
        request: One of the arms.
        turns: So many, where that is given.
    """
    number, seconds = TURNS, TURN_SECONDS
    if SCENARIOS[request.scenario.name].works_ahead:
        number, seconds = AHEAD_TURNS, AHEAD_TURN_SECONDS
    return turns or number, seconds


def estimate_pair_seconds(
    a: Request, b: Request, manner: Manner, turns: int | None = None, *, one_by_one: bool = False
) -> float:
    """Returns about how long a pair takes on a 2-core machine, for want of anything measured."""
    whole = max(a.scenario.seconds, b.scenario.seconds)
    if manner == "whole-runs":
        return 2 * whole
    row = SCENARIOS[a.scenario.name]
    probes = row.probes or len(row.compares)
    number, seconds = choose_turns(a, turns)
    settling = SETTLE_SECONDS if one_by_one else 0
    return settling + max(whole, START_SECONDS + 2 * probes * number * seconds)


def check_budget(pair_seconds: float, budget_seconds: float, missing: int = MIN_PAIRS) -> None:
    """Checks that the pairs that are missing at least fit the budget.

    Raises:
        ConfigurationError: They do not; the message says what would.
    """
    needed = missing * pair_seconds
    if needed > budget_seconds:
        raise ConfigurationError(
            f"A comparison takes {missing} pairs of processes at least, here about {needed:.0f} s. "
            f"Give --budget {math.ceil(needed / 60)}m, or a smaller network. "
            f"Received: budget={budget_seconds:.0f} s"
        )


def choose_manner(a: Request, b: Request, roots: Roots) -> Manner:
    """Returns whether the arms can be alive side by side, and in how many processes.

    A TPU takes one process, which can have both arms where only what they compute differs. A source tree
    from before this protocol knows nothing of turns.
    """
    if any(root and not (root / "bench" / "execution" / "turns.py").exists() for root in roots):
        return "whole-runs"
    if any(request.strategy.startswith("tpu") for request in (a, b)):
        alike = (a.strategy, a.variables, roots[0]) == (b.strategy, b.variables, roots[1])
        return "one-process" if alike else "whole-runs"
    return "turns"
