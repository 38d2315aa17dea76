"""How much worse a figure may get before `tpuens-bench check` calls it broken.

The user's pyproject.toml says so, the command line may say otherwise:

    [tool.tpuens-bench.check]
    speed = 0.08
    [tool.tpuens-bench.check.scenario.train-step]
    speed = 0.04

What is said of one scenario goes before what is said of all, and of the two the command line before the file.
"""

import math
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from tpuens.errors import ConfigurationError, unknown_name_error

Gate = Literal["speed", "memory", "compile", "accuracy", "agreement"]
GATES: tuple[Gate, ...] = get_args(Gate)

# Each with its reason:
# speed      a planted 10 % must be found, and 5 % is what taking turns can tell on a busy 2-core machine
# memory     a process's peak differs by a few per cent from run to run, with the allocator's moods
# compile    the first step happens once a process, so that nothing averages the machine's noise out
# accuracy   one point: half of what members commonly differ by between seeds
# agreement  one point: rounding flips a few examples near the border, a wrong kernel far more
DEFAULTS: Mapping[Gate, float] = {
    "speed": 0.05,
    "memory": 0.10,
    "compile": 0.25,
    "accuracy": 0.01,
    "agreement": 0.01,
}

# Memory and compile time can more than double; a speed or an accuracy cannot fall by more than all of it.
_UNBOUNDED: tuple[Gate, ...] = ("memory", "compile")

_TABLE = "tool.tpuens-bench.check"


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """The thresholds of a call, by gate and by (scenario, gate), as shares: 0.05 is 5 %, or 5 points."""

    general: Mapping[Gate, float] = field(default_factory=dict)
    of_scenario: Mapping[tuple[str, Gate], float] = field(default_factory=dict)

    def of(self, gate: Gate, scenario: str) -> float:
        """Returns the threshold of a gate in a scenario."""
        return self.of_scenario.get((scenario, gate), self.general.get(gate, DEFAULTS[gate]))

    def overridden_by(self, others: "Thresholds") -> "Thresholds":
        """Returns these with what the others set in their place."""
        return Thresholds(
            general={**self.general, **others.general},
            of_scenario={**self.of_scenario, **others.of_scenario},
        )


def load_thresholds(start: Path, told: Sequence[str] = (), *, scenarios: Collection[str]) -> Thresholds:
    """Returns the thresholds of the nearest pyproject.toml, under those that the command line tells.

    Args:
        start: The folder from which to look upwards.
        told: "speed=0.05" or "train-step.speed=0.1".
        scenarios: The names that a scenario may have.

    Raises:
        ConfigurationError: The file cannot be read, a name is unknown, or a value is no share.
    """
    start = start.absolute()
    files = [folder / "pyproject.toml" for folder in (start, *start.parents)]
    nearest = next((file for file in files if file.is_file()), None)
    from_file = _read_file(nearest, scenarios) if nearest else Thresholds()
    return from_file.overridden_by(_read_options(told, scenarios))


def check_gate(name: str, where: str) -> Gate:
    """Returns the name of a gate as it came.

    Raises:
        ConfigurationError: There is no such gate; the message names the nearest.
    """
    for gate in GATES:
        if gate == name:
            return gate
    raise unknown_name_error("gate", where, name, GATES)


def _read_file(path: Path, scenarios: Collection[str]) -> Thresholds:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib

    try:
        found: Any = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:  # what tomllib and a wrong encoding raise are ValueErrors
        raise ConfigurationError(
            f"Thresholds are read from pyproject.toml, and this one cannot be: {error}. Received: {path}"
        ) from error
    for name in ("tool", "tpuens-bench", "check"):
        found = _as_table(found.get(name, {}), _TABLE)
    of_scenarios = _as_table(found.get("scenario", {}), f"{_TABLE}.scenario")
    general = {
        gate: _share(value, gate, f"{_TABLE}.{name}")
        for name, value in found.items()
        if name != "scenario"
        for gate in [check_gate(name, _TABLE)]
    }
    of_scenario = {
        (_check_scenario(scenario, _TABLE, scenarios), gate): _share(value, gate, f"{where}.{name}")
        for scenario, values in of_scenarios.items()
        for where in [f"{_TABLE}.scenario.{scenario}"]
        for name, value in _as_table(values, where).items()
        for gate in [check_gate(name, where)]
    }
    return Thresholds(general=general, of_scenario=of_scenario)


def _read_options(told: Iterable[str], scenarios: Collection[str]) -> Thresholds:
    general: dict[Gate, float] = {}
    of_scenario: dict[tuple[str, Gate], float] = {}
    for text in told:
        name, equals, value = text.partition("=")
        if not equals:
            raise ConfigurationError(
                "Expected GATE=SHARE or SCENARIO.GATE=SHARE, such as speed=0.05 or train-step.speed=0.05. "
                f"Received: threshold={text!r}"
            )
        scenario, dot, last = name.rpartition(".")
        gate = check_gate(last, "threshold")
        share = _share(value, gate, f"threshold {name}")
        if dot:
            of_scenario[_check_scenario(scenario, "threshold", scenarios), gate] = share
        else:
            general[gate] = share
    return Thresholds(general=general, of_scenario=of_scenario)


def _check_scenario(name: str, where: str, scenarios: Collection[str]) -> str:
    if name not in scenarios:
        raise unknown_name_error("scenario", where, name, scenarios)
    return name


def _share(value: Any, gate: Gate, where: str) -> float:
    try:
        share = float(value)
    except (TypeError, ValueError):
        share = math.nan
    if isinstance(value, bool) or not 0 <= share < math.inf:
        raise ConfigurationError(
            f"A threshold is a share, 0 or more: 0.05 is 5 %. Received: {where}={value!r}"
        )
    if share >= 1 and gate not in _UNBOUNDED:
        raise ConfigurationError(
            f"Nothing loses more than all of its {gate}, so this threshold is a share below 1: 0.05 is 5 %. "
            f"Received: {where}={value!r}"
        )
    return share


def _as_table(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ConfigurationError(f"[{where}] holds names and shares. Received: {value!r}")
    return value
