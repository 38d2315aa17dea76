"""A file that is there whole or not at all, whatever happens while it is written."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from .errors import DataError

PICTURE_REFUSAL = "A picture cannot be written: make room or choose another file."


@contextlib.contextmanager
def whole_file(path: Path, refusal: str, *, part: Path | None = None) -> Iterator[Path]:
    """Gives a path to write to, and after the block what lies there the name that it is to have.

    Where the block fails, nothing of it is left, and what lay under the name before stays.

    Args:
        path: The name; its folder is made where it is missing.
        refusal: What to say where it cannot be written: the rule, and what would do.
        part: The path to write to; in the same folder. None for the name with ``.part`` behind it.

    Raises:
        DataError: It cannot be written.
    """
    part = part or path.with_name(f"{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield part
        part.replace(path)
    except OSError as error:
        raise DataError(f"{refusal} Received: {path} ({error.strerror})") from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink()
