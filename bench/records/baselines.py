"""Named baselines: copies of records under results/baselines, for later runs to be held against."""

import re
import secrets
import shutil
from collections.abc import Sequence
from pathlib import Path

from tpuens.errors import ConfigurationError, RunError

from .record import RunRecord
from .store import latest_records, read_folder, write_record

BASELINES_FOLDER = Path("results") / "baselines"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def set_baseline(
    name: str, folders: Sequence[Path], *, replace: bool = False, root: Path = BASELINES_FOLDER
) -> Path:
    """Copies the records of run folders that are ok into a baseline, and returns the baseline's folder.

    Readers see the old baseline or the new one, never half of either.

    Args:
        name: Letters, digits, ".", "_" and "-".
        folders: Run folders, such as of several days; the baseline that is there may be one of them.
        replace: Whether a baseline of that name may be there already.
        root: Where baselines lie.

    Raises:
        ConfigurationError: The name cannot be one, is taken, or the folders hold no runs that are ok.
        RecordError: A folder cannot be read.
    """
    if not _NAME.fullmatch(name):
        raise ConfigurationError(
            f"A baseline is named by letters, digits, '.', '_' and '-'. Received: name={name!r}"
        )
    place = root / name
    if place.exists() and not replace:
        raise ConfigurationError(
            f"A baseline is not overwritten unless asked: give --replace, or another name. Received: {name!r}"
        )
    runs = {record.id: record for folder in folders for record in _read(folder, root)}
    records = [record for record in runs.values() if record.status == "ok"]
    if not records or any(record.turns for record in records):
        held = "runs of both arms of a comparison" if records else "no run that is ok"
        raise ConfigurationError(
            f"A baseline is what one state of the code measured, by `tpuens-bench run`. "
            f"Received: {', '.join(map(str, folders))}, with {held}"
        )
    _write(records, place, root)
    return place


def read_baseline(name_or_path: str, root: Path = BASELINES_FOLDER) -> list[RunRecord]:
    """Returns the records of a named baseline, or of the folder that the path names, oldest first.

    Raises:
        ConfigurationError: It is neither.
        RecordError: It cannot be read.
    """
    return _read(find_baseline(name_or_path, root), root)


def find_baseline(name_or_path: str, root: Path = BASELINES_FOLDER) -> Path:
    """Returns the folder of a named baseline, or the path itself where it is one.

    Raises:
        ConfigurationError: It is neither.
    """
    for place in (root / name_or_path, Path(name_or_path)):
        if place.exists():
            return place
    known = ", ".join(list_baselines(root)) or "none yet"
    raise ConfigurationError(
        f"Expected a baseline or a folder of records. Baselines under {root}: {known}. "
        f"`tpuens-bench baseline set NAME FOLDER` makes one. Received: baseline={name_or_path!r}"
    )


def list_baselines(root: Path = BASELINES_FOLDER) -> list[str]:
    """Returns the names of the baselines, sorted."""
    return sorted(path.name for path in root.glob("*/") if _NAME.fullmatch(path.name))


def _read(folder: Path, root: Path) -> list[RunRecord]:
    """Returns what counts of a folder; of a baseline all, since it may hold the same runs of several days."""
    records = read_folder(folder)
    return records if folder.resolve().parent == root.resolve() else latest_records(records)


def _write(records: Sequence[RunRecord], place: Path, root: Path) -> None:
    mark = secrets.token_hex(4)
    fresh, old = root / f".{place.name}.{mark}.partial", root / f".{place.name}.{mark}.old"
    try:
        for record in records:
            write_record(fresh, record)
        if place.exists():
            place.rename(old)
        fresh.rename(place)
    except OSError as error:
        raise RunError(f"Cannot write the baseline: {error.strerror or error}. Received: {place}") from error
    finally:
        for leftover in (fresh, old):
            shutil.rmtree(leftover, ignore_errors=True)
