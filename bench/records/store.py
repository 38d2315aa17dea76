"""The folder that keeps records: one JSON file a run, written at once and never overwritten."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import msgspec

from tpuens import __version__
from tpuens.errors import RunError, TpuensError

from .atomic import write_file
from .record import SCHEMA_VERSION, RunRecord, Series, Turns, decode_record, encode_record

RECORDS_FOLDER = "records"
_PLAN_FILE = "plan.json"  # lies in a run folder that has no records yet

Upgrade = Callable[[dict[str, Any]], dict[str, Any]]


def _move_cache(payload: dict[str, Any]) -> dict[str, Any]:
    """Version 1 kept whether images were cached among the workload's options."""
    workload = dict(payload["workload"])
    options = dict(workload.get("options", {}))
    cache = options.pop("cache", None)
    configuration = payload["configuration"] | ({"cache": cache} if cache is not None else {})
    return payload | {"workload": workload | {"options": options}, "configuration": configuration}


# From a schema version to the function that returns the same record one version later. A step is never
# removed, and each has its golden file in tests/golden.
UPGRADES: dict[int, Upgrade] = {1: _move_cache}


class RecordError(TpuensError):
    """A record, or a folder of records, that cannot be read."""


def write_record(folder: Path, record: RunRecord) -> Path:
    """Writes a record into a run folder and returns the file's path, ``folder/records/<name>-<id>.json``.

    Raises:
        RunError: The record could not be read again (JSON holds finite numbers only), the file is there
            already, the disk is full or the folder cannot be written. Nothing is left behind.
    """
    content = encode_record(record)
    try:
        _check(decode_record(msgspec.json.decode(content)))
    except ValueError as error:  # msgspec's ValidationError is one
        raise RunError(
            f"A record must be readable again: its numbers are finite and its series as long as each other. "
            f"Leave out what was not measured. Received: {error}, in record {record.id!r}"
        ) from error
    path = folder / RECORDS_FOLDER / _file_name(record)
    write_file(path, content, overwrite=False)
    return path


def read_record(path: Path) -> RunRecord:
    """Returns the record in a file, upgraded to the present schema version.

    Raises:
        RecordError: The file cannot be read, is no JSON, has no schema version, a newer or a forgotten
            one, or holds a wrong field; the message names the file and says what to do.
    """
    try:
        payload = msgspec.json.decode(path.read_bytes())
    except OSError as error:
        raise RecordError(
            f"Cannot read the record: {error.strerror or error}. Check the path and its permissions. "
            f"Received: {path}"
        ) from error
    except msgspec.DecodeError as error:
        raise RecordError(
            f"A record is one JSON object, whole ({error}). Fetch the file again, or move it away to read "
            f"the others. Received: {path}"
        ) from error
    return parse_record(payload, path)


def parse_record(payload: Any, path: Path) -> RunRecord:
    """Returns the record that a JSON object of any known schema version holds.

    Raises:
        RecordError: As `read_record`; the message names the file that the object comes from.
    """
    upgraded = _upgrade(payload, path, UPGRADES, SCHEMA_VERSION)
    try:
        record = decode_record(upgraded)
        _check(record)
    except ValueError as error:  # msgspec's ValidationError is one
        raise RecordError(
            f"A record holds what its schema version {SCHEMA_VERSION} says, but: {error}. If the file was "
            f"edited, restore it; else move it away to read the others. Received: {path}"
        ) from error
    return record


def read_folder(folder: Path) -> list[RunRecord]:
    """Returns all records of a run folder, of its ``records`` subfolder, or of one file, oldest first.

    Raises:
        RecordError: Nothing is there, or one of the files cannot be read.
    """
    return sorted(map(read_record, list_records(folder)), key=_age)


def list_records(folder: Path) -> list[Path]:
    """Returns the files of a run folder, of its ``records`` subfolder, or the one file that is given.

    Raises:
        RecordError: Nothing is there.
    """
    if folder.is_file():
        return [folder]
    if not folder.is_dir():
        raise RecordError(
            f"Expected a run folder, its '{RECORDS_FOLDER}' subfolder or one record (.json), but nothing is "
            f"there. `tpuens-bench run` makes run folders. Received: {folder}"
        )
    inner = folder / RECORDS_FOLDER
    paths = sorted((inner if inner.is_dir() else folder).glob("*.json"))
    paths = [path for path in paths if path.name != _PLAN_FILE]
    if not paths:
        runs = sorted(path.parent.name for path in folder.glob(f"*/{RECORDS_FOLDER}"))
        hint = f" It holds run folders; give one of them: {', '.join(runs[:5])}." if runs else ""
        raise RecordError(
            f"No record (.json) is in this folder.{hint} `tpuens-bench run` writes records. "
            f"Received: {folder}"
        )
    return paths


def latest_records(*folders: Iterable[RunRecord]) -> list[RunRecord]:
    """Returns one record for each request, repeat and machine of each run folder.

    They stand in the order of the folders, within each oldest first. The newest that is ok stands for its
    run, else the newest of all: so a run that was resumed counts once. Another folder is another run, even
    of the same request on the same machine; a record that is met twice counts once. A worker that died
    before it could name its machine counts to the one machine that ran the same request in its folder;
    where there is none or several, it stays on its own.

    Args:
        folders: Of each run folder all its records, as `read_folder` gives them.
    """
    latest = {record.id: record for records in folders for record in _latest_of_folder(records)}
    return list(latest.values())


def _latest_of_folder(records: Iterable[RunRecord]) -> list[RunRecord]:
    # The arms of a comparison may be the same request.
    runs: dict[tuple[str, int, Turns | None], list[RunRecord]] = defaultdict(list)
    for record in records:
        runs[record.request_key, record.repeat, record.turns].append(record)
    latest: list[RunRecord] = []
    for attempts in runs.values():
        known = {record.environment.fingerprint for record in attempts if record.environment}
        only = next(iter(known)) if len(known) == 1 else None
        best: dict[str | None, RunRecord] = {}
        for record in sorted(attempts, key=_age):
            machine = record.environment.fingerprint if record.environment else only
            if machine not in best or record.status == "ok" or best[machine].status != "ok":
                best[machine] = record
        latest.extend(best.values())
    return sorted(latest, key=_age)


def _upgrade(payload: Any, path: Path, upgrades: Mapping[int, Upgrade], target: int) -> dict[str, Any]:
    version = payload.get("schema_version") if isinstance(payload, dict) else None
    if not isinstance(version, int) or isinstance(version, bool):
        raise RecordError(
            f"A record says its schema_version, a whole number; this file does not, so it is no record of "
            f"tpuens or lost its first lines. Move it away to read the others. Received: {path}"
        )
    if version > target:
        raise RecordError(
            f"This tpuens ({__version__}) reads records up to schema version {target}; this "
            f"one has {version}{_writer(payload)}. Install a newer one: pip install --upgrade tpuens. "
            f"Received: {path}"
        )
    for step in range(version, target):
        if step not in upgrades:
            raise RecordError(
                f"Records of schema version {version} are no longer known: no step leads from {step} to "
                f"{step + 1}. Read it with the tpuens that wrote it{_writer(payload)}, or measure again. "
                f"Received: {path}"
            )
        payload = {**upgrades[step](payload), "schema_version": step + 1}
    upgraded: dict[str, Any] = payload
    return upgraded


def _writer(payload: dict[str, Any]) -> str:
    """Returns which tpuens wrote a record, as far as it can be told without knowing its schema."""
    environment = payload.get("environment")
    versions = environment.get("versions") if isinstance(environment, dict) else None
    version = versions.get("tpuens") if isinstance(versions, dict) else None
    return f", written by tpuens {version}" if version else ""


def _check(record: RunRecord) -> None:
    """Raises ValueError where a record fits its types but cannot be true."""
    _created(record)
    for series in record.series:
        for name, samples in _columns(series).items():
            if len(samples) != len(series.seconds):
                raise ValueError(
                    f"series {series.name!r} has {len(series.seconds)} samples in seconds but "
                    f"{len(samples)} in {name}"
                )
            if any(sample < 0 for sample in samples):
                raise ValueError(f"series {series.name!r} has a sample below zero in {name}")


def _columns(series: Series) -> dict[str, tuple[float, ...]]:
    optional = {name: getattr(series, name) for name in ("blocked_seconds", "call_seconds", "cpu_seconds")}
    present = {name: samples for name, samples in optional.items() if samples is not None}
    return {"steps": series.steps, "examples": series.examples, "seconds": series.seconds, **present}


def _created(record: RunRecord) -> datetime:
    try:  # Python 3.10 does not read the Z of ISO 8601
        created = datetime.fromisoformat(record.created.replace("Z", "+00:00"))
    except ValueError:
        raise ValueError(f"created is no date as ISO 8601 has it: {record.created!r}") from None
    return created if created.tzinfo else created.replace(tzinfo=timezone.utc)


def _age(record: RunRecord) -> tuple[datetime, str]:
    return _created(record), record.id


def _file_name(record: RunRecord) -> str:
    words = (record.workload.scenario, record.workload.backbone, record.configuration.strategy)
    readable = "-".join(word for word in words if word)
    parts = (f"{readable}-{record.repeat}"[:120], record.id)
    return "-".join(re.sub(r"[^A-Za-z0-9_.]+", "-", part) for part in parts) + ".json"
