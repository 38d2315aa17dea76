"""The file checksums.json in a folder of records: what they were made from, and every shard's SHA-256."""

import hashlib
from collections.abc import Collection
from pathlib import Path

import msgspec

from ..errors import DataError

MANIFEST_FILE = "checksums.json"


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What lies in a folder of records.

    Attributes:
        source: The fingerprint of the examples of each split.
        encoding: How the images are stored, in words.
        sha256: The checksum of every shard that is written, by its path below the folder.
    """

    source: dict[str, str]
    encoding: str
    sha256: dict[str, str]


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Writes the manifest into its folder, whole or not at all."""
    content = msgspec.json.encode(manifest, order="sorted")  # whatever order the shards were made in
    write_whole(folder / MANIFEST_FILE, msgspec.json.format(content, indent=1) + b"\n")


def write_whole(file: Path, content: bytes) -> None:
    """Writes a file whole or not at all, and makes its folder where it is missing."""
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f".{file.name}.part")
    part.write_bytes(content)
    part.replace(file)


def read_manifest(folder: Path) -> Manifest:
    """Returns the manifest in a folder.

    Raises:
        DataError: There is none, or it is not what `write_manifest` writes.
    """
    file = folder / MANIFEST_FILE
    try:
        return msgspec.json.decode(file.read_bytes(), type=Manifest)
    except FileNotFoundError as error:
        raise DataError(
            f"Records that `tpuens data convert` wrote have a {MANIFEST_FILE} beside them; give the folder "
            f"that holds it. Received: {folder} without one"
        ) from error
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise DataError(
            f"{MANIFEST_FILE} is broken: convert into another folder. Received: {file}: {error}"
        ) from error


def find_whole_shards(folder: Path, wanted: Manifest, planned: Collection[str]) -> dict[str, str]:
    """Returns the checksums of the planned shards that lie in a folder unchanged.

    Args:
        folder: Where a conversion is to write; it need not be there.
        wanted: What is to be converted, and how.
        planned: The shards that this makes.

    Raises:
        DataError: The folder holds something else.
    """
    if not folder.exists() or not any(folder.iterdir()):
        return {}
    found = read_manifest(folder)
    if not found.sha256:  # stopped before its first shard, by a broken image perhaps that is mended now
        return {}
    differing = [name for name in ("source", "encoding") if getattr(found, name) != getattr(wanted, name)]
    if not found.sha256.keys() <= set(planned):
        differing.append("shards")
    if differing:
        raise DataError(
            "A folder takes the records of one data set, converted in one way: give another --output, or "
            f"remove the folder. Received: {folder}, where {' and '.join(differing)} differ"
        )
    return {name: checksum for name, checksum in found.sha256.items() if _is_whole(folder / name, checksum)}


def verify_records(folder: Path) -> int:
    """Returns how many shards a folder of converted records holds, once the checksum of each is right.

    Raises:
        DataError: There is no manifest; or shards are missing, changed, or not in it.
    """
    checksums = read_manifest(folder).sha256
    there = {file.relative_to(folder).as_posix() for file in folder.glob("*/*.tfrec")}
    faults = [f"{name} is missing" for name in checksums if name not in there]
    faults += [f"{name} is not listed" for name in sorted(there - checksums.keys())]
    faults += [
        f"{name} has changed"
        for name, checksum in checksums.items()
        if name in there and not _is_whole(folder / name, checksum)
    ]
    if faults:
        shown = ", ".join(faults[:10]) + (f" and {len(faults) - 10} more" if len(faults) > 10 else "")
        raise DataError(
            f"Every shard must be as {MANIFEST_FILE} lists it: run the same `tpuens data convert` again, "
            f"which writes those anew that are not. Received: {folder}: {shown}"
        )
    return len(checksums)


def hash_file(file: Path) -> str:
    """Returns the SHA-256 of a file's content, in hex."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _is_whole(file: Path, checksum: str) -> bool:
    return file.is_file() and hash_file(file) == checksum
