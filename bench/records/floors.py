"""The noise floor of a machine: what A/A comparisons gave there, kept in the user's cache folder."""

from datetime import datetime
from pathlib import Path

import msgspec

from .kept import kept_path, load_kept, save_kept, why_stale
from .record import Environment

_KIND = "floors"
# Another version of these runs other code in the step.
_VERSIONS_THAT_MATTER = ("tensorflow", "keras", "python")


class Floor(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The difference that equal arms may show on one machine, as a share of the speed."""

    scenario_class: str  # what it holds for
    wall: float
    cpu: float | None  # None: no CPU strategy
    pairs: int
    created: str  # ISO 8601, UTC
    fingerprint: str  # of the hardware, as in `Environment`
    versions: dict[str, str] = {}


def save_floor(floor: Floor, folder: Path | None = None) -> Path:
    """Writes the floor in the place of the one before and returns the file's path.

    Args:
        floor: What A/A runs gave.
        folder: Where floors lie; None for the user's cache folder.
    """
    return save_kept(floor, kept_path(_KIND, floor.fingerprint, floor.scenario_class, folder))


def calibrate_call(scenario: str, manner: str) -> str:
    """Returns the command that measures the floor of a scenario whose runs were made in that manner."""
    return f"tpuens-bench calibrate {scenario}" + (" --whole-runs" if manner == "whole-runs" else "")


def load_floor(fingerprint: str, scenario_class: str, folder: Path | None = None) -> Floor | None:
    """Returns the floor of a class of scenarios on a machine; None where none was measured.

    Raises:
        RecordError: The file cannot be read.
    """
    path = kept_path(_KIND, fingerprint, scenario_class, folder)
    return load_kept(path, Floor, "Remove it and run `tpuens-bench calibrate` again.")


def floor_state(floor: Floor | None, environment: Environment, now: datetime) -> str:
    """Returns "fresh", "missing", or "stale: " and why.

    A floor is stale on other hardware, under another version of Python, TensorFlow or Keras, and after 30
    days.

    Args:
        floor: The machine's; None where none was measured.
        environment: Of the runs that it is to judge.
        now: With its time zone.
    """
    if floor is None:
        return "missing"
    if floor.fingerprint != environment.fingerprint:
        return "stale: measured on other hardware"
    versions = (floor.versions, environment.versions)
    stale = why_stale("measured", floor.created, now, versions, _VERSIONS_THAT_MATTER)
    return f"stale: {stale}" if stale else "fresh"
