"""The parent: one fresh worker process a run, watched, and a record whatever becomes of it."""

from collections.abc import Callable
from pathlib import Path

from ..records.record import RunRecord, Turns
from ..suites import Request
from .limits import Limits
from .live_worker import LiveWorker
from .messages import Progress


def launch_run(
    request: Request,
    *,
    log: Path,
    limits: Limits,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    should_stop: Callable[[], bool] = lambda: False,
    root: Path | None = None,
    turns: Turns | None = None,
    command: list[str] | None = None,
) -> RunRecord:
    """Runs one request in a worker process and returns its record, whatever becomes of the worker.

    A crash, a kill, a hang, too much memory or an error in Python gives a failed record with the last
    lines of the worker's log. KeyboardInterrupt stops the worker and is passed on.

    Args:
        request: What to run.
        log: File for everything that the worker prints.
        limits: When to stop it.
        on_progress: Told what the worker is at.
        should_stop: Asked a few times a second whether to stop the worker.
        root: The source tree that the worker runs; None for this one.
        turns: Which part of a comparison the run is.
        command: Another program in the worker's place, for tests.
    """
    with LiveWorker(request, log=log, limits=limits, root=root, command=command) as worker:
        while worker.follow(on_progress=on_progress, should_stop=should_stop) is not None:
            continue  # answers that nobody has asked for
    return worker.make_record(turns)
