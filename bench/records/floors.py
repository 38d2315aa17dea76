"""The noise floor of a machine: what A/A comparisons gave there, kept in the user's cache folder."""

import re
from datetime import datetime, timedelta
from pathlib import Path

import msgspec

from .atomic import write_file
from .record import Environment
from .store import RecordError

STALE_AFTER = timedelta(days=30)
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
    path = _path_of(floor.fingerprint, floor.scenario_class, folder)
    write_file(path, msgspec.json.format(msgspec.json.encode(floor)) + b"\n", overwrite=True)
    return path


def load_floor(fingerprint: str, scenario_class: str, folder: Path | None = None) -> Floor | None:
    """Returns the floor of a class of scenarios on a machine; None where none was measured.

    Raises:
        RecordError: The file cannot be read.
    """
    path = _path_of(fingerprint, scenario_class, folder)
    try:
        return msgspec.json.decode(path.read_bytes(), type=Floor)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError) as error:
        raise RecordError(
            f"A noise floor is a small JSON file, whole ({error}). Remove it and run `tpuens-bench "
            f"calibrate` again. Received: {path}"
        ) from error


def floor_state(floor: Floor | None, environment: Environment, now: datetime) -> str:
    """Returns "fresh", "missing", or "stale: " and why.

    A floor is stale on other hardware, under another version of Python, TensorFlow or Keras, and after 30
    days: neighbours on the same host, its firmware and its cooling change without a trace in any version.

    Args:
        floor: The machine's; None where none was measured.
        environment: Of the runs that it is to judge.
        now: With its time zone.
    """
    if floor is None:
        return "missing"
    if floor.fingerprint != environment.fingerprint:
        return "stale: measured on other hardware"
    for name in _VERSIONS_THAT_MATTER:
        before, after = floor.versions.get(name), environment.versions.get(name)
        if before != after:
            return f"stale: measured with {name} {before}, not {after}"
    age = now - datetime.fromisoformat(floor.created.replace("Z", "+00:00"))
    return f"stale: measured {age.days} days ago" if age > STALE_AFTER else "fresh"


def _path_of(fingerprint: str, scenario_class: str, folder: Path | None) -> Path:
    if folder is None:
        from tpuens.data.photographs import cache_folder

        folder = cache_folder() / "floors"
    return folder / f"{fingerprint}-{re.sub(r'[^A-Za-z0-9.-]+', '-', scenario_class)}.json"
