"""Files that are there whole or not at all, whatever happens while they are written."""

import errno
import os
import secrets
from pathlib import Path

from tpuens.errors import RunError

# What `link` answers on a file system without hard links (some network and FUSE mounts, exFAT).
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}


def write_file(path: Path, content: bytes, *, overwrite: bool) -> None:
    """Writes a file at once: readers see the whole of it or nothing, and nothing half-written is left.

    The bytes go to a hidden ``*.partial`` file in the same folder, which is synced to the disk and then
    takes the file's name. The folder is made where it is missing.

    Raises:
        RunError: The disk is full or the folder cannot be written; or the file is there already and
            `overwrite` is False.
    """
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        taken = not _take_name(partial, path, overwrite=overwrite)
    except OSError as error:
        raise RunError(
            f"Cannot write {path.name}: {error.strerror or error}. Free some space or give a folder that "
            f"can be written, then run again. Received: {path}"
        ) from error
    finally:
        _remove(partial)
    if taken:
        raise RunError(
            f"A file that is there already is never overwritten here. Give another folder, or move the file "
            f"away. Received: {path}"
        )


def _take_name(partial: Path, path: Path, *, overwrite: bool) -> bool:
    """Returns whether the partial file could take the name; only with `overwrite` from another file."""
    if overwrite:
        partial.replace(path)
        return True
    try:
        os.link(partial, path)  # unlike a rename, it fails where the name is taken
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        return _reserve_and_replace(partial, path)
    return True


def _reserve_and_replace(partial: Path, path: Path) -> bool:
    try:
        path.open("xb").close()
    except FileExistsError:
        return False
    try:
        partial.replace(path)
    except OSError:
        _remove(path)  # ours, and still empty
        raise
    return True


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError:  # such as NotADirectoryError below a file; the first error is the one to tell
        return
