"""Settings that `run --tune` has found, kept in the user's cache folder by machine and request."""

from datetime import datetime, timedelta
from pathlib import Path

import msgspec

from .atomic import write_file
from .record import Tuning
from .store import RecordError

STALE_AFTER = timedelta(
    days=30
)  # as noise floors: what a machine does changes without a trace in any version
_VERSIONS_THAT_MATTER = ("tpuens", "tensorflow", "keras", "python")


class KeptTuning(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a search has found, and what it holds for."""

    fingerprint: str  # of the hardware, as in `Environment`
    key: str  # of what was tuned
    created: str  # ISO 8601, UTC
    versions: dict[str, str]
    tuning: Tuning


def save_tuning(kept: KeptTuning, folder: Path | None = None) -> Path:
    """Writes what was found in the place of what was there and returns the file's path.

    Args:
        kept: All of it.
        folder: Where tunings lie; None for the user's cache folder.
    """
    path = _path_of(kept.fingerprint, kept.key, folder)
    write_file(path, msgspec.json.format(msgspec.json.encode(kept)) + b"\n", overwrite=True)
    return path


def load_tuning(fingerprint: str, key: str, folder: Path | None = None) -> KeptTuning | None:
    """Returns what was found for a request on a machine; None where nothing was.

    Raises:
        RecordError: The file cannot be read.
    """
    path = _path_of(fingerprint, key, folder)
    try:
        return msgspec.json.decode(path.read_bytes(), type=KeptTuning)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError) as error:
        raise RecordError(
            f"A kept tuning is a JSON file, whole ({error}). Give --retune. Received: {path}"
        ) from error


def tuning_state(kept: KeptTuning | None, versions: dict[str, str], now: datetime) -> str:
    """Returns "fresh", "missing", or "stale: " and why.

    It is stale under another version of what runs in the step, and after 30 days.

    Args:
        kept: What was found; None where nothing was.
        versions: As they are now, from `collect_versions`.
        now: With its time zone.
    """
    if kept is None:
        return "missing"
    for name in _VERSIONS_THAT_MATTER:
        before, after = kept.versions.get(name), versions.get(name)
        if before != after:
            return f"stale: tuned with {name} {before}, not {after}"
    age = now - datetime.fromisoformat(kept.created.replace("Z", "+00:00"))
    return f"stale: tuned {age.days} days ago" if age > STALE_AFTER else "fresh"


def _path_of(fingerprint: str, key: str, folder: Path | None) -> Path:
    if folder is None:
        from tpuens.data.photographs import cache_folder

        folder = cache_folder() / "tunings"
    return folder / f"{fingerprint}-{key}.json"
