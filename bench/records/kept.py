"""What is known of a machine until something changes there: small JSON files in the user's cache folder."""

import re
from datetime import datetime, timedelta
from pathlib import Path
from typing import TypeVar

import msgspec

from .atomic import write_file
from .store import RecordError

Kept = TypeVar("Kept", bound=msgspec.Struct)

# Neighbours on the same host, its firmware and its cooling change without a trace in any version.
STALE_AFTER = timedelta(days=30)


def save_kept(kept: msgspec.Struct, path: Path) -> Path:
    """Writes it in the place of what was there and returns the file's path."""
    write_file(path, msgspec.json.format(msgspec.json.encode(kept)) + b"\n", overwrite=True)
    return path


def load_kept(path: Path, kind: type[Kept], remedy: str) -> Kept | None:
    """Returns what a file holds; None where there is none.

    Args:
        path: From `kept_path`.
        kind: What it holds.
        remedy: What would do where it cannot be read, as a sentence.

    Raises:
        RecordError: The file cannot be read.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError) as error:
        raise RecordError(f"It is a small JSON file, whole ({error}). {remedy} Received: {path}") from error


def kept_path(kind: str, fingerprint: str, name: str, folder: Path | None) -> Path:
    """Returns where something is kept of a machine; without a folder it is the user's cache folder."""
    if folder is None:
        from tpuens.data.photographs import cache_folder

        folder = cache_folder() / kind
    return folder / f"{fingerprint}-{re.sub(r'[^A-Za-z0-9.-]+', '-', name)}.json"


def why_stale(
    done: str,
    created: str,
    now: datetime,
    versions: tuple[dict[str, str], dict[str, str]],
    names: tuple[str, ...],
) -> str | None:
    """Returns why what is kept no longer holds, in words; None where it does.

    Args:
        done: What was done then: "measured", "tuned".
        created: When, ISO 8601, UTC.
        now: With its time zone.
        versions: Then, and now.
        names: Of those versions that matter, since another one runs other code.
    """
    for name in names:
        before, after = (one.get(name) for one in versions)
        if before != after:
            return f"{done} with {name} {before}, not {after}"
    age = now - datetime.fromisoformat(created.replace("Z", "+00:00"))
    return f"{done} {age.days} days ago" if age > STALE_AFTER else None
