"""Parts of a long piece of work, each with a folder of its own, so that it can be gone on with."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from tpuens.errors import InterruptedRunError, TpuensError

from ..analysis.selftest_results import DONE_FILE, Done
from ..records.atomic import write_file


@dataclass(frozen=True, kw_only=True)
class Item:
    """One part.

    Attributes:
        name: Also of its folder.
        seconds: About how long it takes.
        run: Fills its folder.
    """

    name: str
    seconds: float
    run: Callable[[Path], object]


def run_items(
    items: Sequence[Item],
    folder: Path,
    *,
    tell: Callable[[str], None],
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Runs what is not done yet. An item that fails says so in its folder, and is run again another time.

    Args:
        items: What to run.
        folder: Where each item has a folder of its name.
        tell: Told what is done and how long the rest takes.
        clock: Seconds, monotonic.

    Raises:
        InterruptedRunError: Ctrl-C; what is done is kept, and a comparison is gone on with.
    """
    for number, item in enumerate(items, start=1):
        if is_done(folder / item.name):
            continue
        left = sum(one.seconds for one in items[number - 1 :] if not is_done(folder / one.name))
        tell(f"{number}/{len(items)} {item.name}, about {left / 60:.0f} minutes left")
        start, error = clock(), None
        try:
            item.run(folder / item.name)
        except InterruptedRunError:
            raise
        except TpuensError as failed:
            error = str(failed)
            tell(f"{item.name} failed: {error}")
        done = Done(seconds=clock() - start, error=error)
        write_file(folder / item.name / DONE_FILE, msgspec.json.encode(done) + b"\n", overwrite=True)


def is_done(folder: Path) -> bool:
    """Returns whether an item has been run and did not fail."""
    path = folder / DONE_FILE
    return path.is_file() and msgspec.json.decode(path.read_bytes(), type=Done).error is None
