"""Settings that `run --tune` has found, kept in the user's cache folder by machine and request."""

from datetime import datetime
from pathlib import Path

import msgspec

from .kept import kept_path, load_kept, save_kept, why_stale
from .record import Tuning

_KIND = "tunings"
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
    return save_kept(kept, kept_path(_KIND, kept.fingerprint, kept.key, folder))


def load_tuning(fingerprint: str, key: str, folder: Path | None = None) -> KeptTuning | None:
    """Returns what was found for a request on a machine; None where nothing was.

    Raises:
        RecordError: The file cannot be read.
    """
    return load_kept(kept_path(_KIND, fingerprint, key, folder), KeptTuning, "Give --retune.")


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
    stale = why_stale("tuned", kept.created, now, (kept.versions, versions), _VERSIONS_THAT_MATTER)
    return f"stale: {stale}" if stale else "fresh"
