"""A child process that answers one order, watched: what it takes is limited, and it can be stopped."""

import contextlib
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import msgspec
import psutil

from ..execution.start import ROOT, WITH_PARENT
from ..measuring.scrubbing import publishable
from ..records.record import Struct
from .messages import ANSWER

_LOG = "log.txt"
_LOG_LINES = 5
_POLL_SECONDS = 0.2
_START = f"{WITH_PARENT}\nimport importlib; importlib.import_module(sys.argv[3]).main()"

AnswerT = TypeVar("AnswerT", bound=Struct)


class StoppedError(Exception):
    """A child that gave no answer; the text says why."""


class CrowdedError(StoppedError):
    """A child that had no room beside others; alone it may have."""


class Room:
    """The memory that children share; where they hold too much together, the youngest has to end.

    Args:
        limit: Bytes.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held: dict[int, int] = {}  # by process, the oldest first
        self._lock = threading.Lock()

    def note(self, pid: int, held: int) -> None:
        """Notes what a child holds.

        Raises:
            StoppedError: It is the youngest, and all of them hold too much.
        """
        with self._lock:
            self._held[pid] = held
            together = sum(self._held.values())
            if together <= self._limit or pid != next(reversed(self._held)):
                return
            too_much = f"{together / 2**30:.1f} GiB, more than the limit of {self._limit / 2**30:.1f} GiB"
            if len(self._held) > 1:
                raise CrowdedError(f"It and those beside it held {too_much}, and it was stopped.")
            raise StoppedError(
                f"It held {too_much}, and was stopped. "
                "Raise --memory-limit; beyond the memory there is, swap serves."
            )

    def forget(self, pid: int) -> None:
        """Forgets a child that has ended."""
        with self._lock:
            self._held.pop(pid, None)


def ask_child(
    module: str,
    order: Struct,
    answer: type[AnswerT],
    folder: Path,
    *,
    seconds: float,
    room: Room,
    variables: dict[str, str],
    should_stop: Callable[[], bool] = lambda: False,
    root: Path = ROOT,
) -> AnswerT:
    """Returns what a module's `main` answered in a process of its own.

    Args:
        module: With a `main` that reads the order from standard input and writes the answer into the folder.
        order: What to do.
        answer: What it gives.
        folder: Empty; the child may leave more there.
        seconds: After which it is stopped.
        room: That it shares with others.
        variables: The environment of the child.
        should_stop: Asked a few times a second whether to stop it.
        root: Where the module's package lies.

    Raises:
        CrowdedError: It had no room beside others.
        StoppedError: It took too long or too much memory, was killed, or failed.
    """
    with (folder / _LOG).open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", _START, str(root), str(folder), module],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            env=variables,
            start_new_session=True,  # Ctrl-C reaches the parent alone, which then decides
        )
    try:
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(msgspec.json.encode(order))
            process.stdin.close()
        _watch(process, seconds, room, should_stop)
    finally:
        _kill(process.pid)
        process.wait()
        room.forget(process.pid)
    if process.returncode:
        raise StoppedError(_explain_end(process.returncode, folder / _LOG))
    return msgspec.json.decode((folder / ANSWER).read_bytes(), type=answer)


def _watch(
    process: subprocess.Popen[bytes], seconds: float, room: Room, should_stop: Callable[[], bool]
) -> None:
    """Returns once a process has ended by itself.

    Raises:
        StoppedError: It must end before.
    """
    deadline = time.monotonic() + seconds
    while process.poll() is None:
        if should_stop():
            raise StoppedError("It was stopped by the user.")
        if time.monotonic() > deadline:
            raise StoppedError(f"It took longer than {seconds:.0f} s and was stopped. Raise --time-limit.")
        with contextlib.suppress(psutil.Error):
            child = psutil.Process(process.pid)
            room.note(
                process.pid, sum(one.memory_info().rss for one in [child, *child.children(recursive=True)])
            )
        time.sleep(_POLL_SECONDS)


def _kill(pid: int) -> None:
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        for member in [*process.children(recursive=True), process]:
            with contextlib.suppress(psutil.Error):
                member.kill()


def _explain_end(code: int, log: Path) -> str:
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    said = publishable(" / ".join(lines[-_LOG_LINES:]))
    if code == -9:
        return "It was killed (SIGKILL); on a machine whose memory is full the system does so. Give --jobs 1."
    return f"It ended with code {code}: {said}"
