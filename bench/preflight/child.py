"""A child process that answers one order, watched: what it takes is limited, and it can be stopped."""

import contextlib
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import msgspec
import psutil

from ..execution.limits import Limits
from ..execution.live_worker import ROOT
from ..measuring.scrubbing import publishable
from ..records.record import Struct
from .messages import ANSWER

_LOG = "log.txt"
_LOG_LINES = 5
_POLL_SECONDS = 0.2
# On Linux it ends with its parent, also where that is killed: a compile holds up to 10 GB for an hour.
_START = """
import ctypes, importlib, signal, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
sys.path[0] = sys.argv[1]
importlib.import_module(sys.argv[3]).main()
"""

AnswerT = TypeVar("AnswerT", bound=Struct)


class StoppedError(Exception):
    """A child that gave no answer; the text says why."""


def ask_child(
    module: str,
    order: Struct,
    answer: type[AnswerT],
    folder: Path,
    *,
    limits: Limits,
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
        limits: When it is stopped.
        variables: The environment of the child.
        should_stop: Asked a few times a second whether to stop it.
        root: Where the module's package lies.

    Raises:
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
        why = _watch(process, limits, should_stop)
    finally:
        _kill(process.pid)
        process.wait()
    if why is not None:
        raise StoppedError(why)
    if process.returncode:
        raise StoppedError(_explain_end(process.returncode, folder / _LOG))
    return msgspec.json.decode((folder / ANSWER).read_bytes(), type=answer)


def _watch(process: subprocess.Popen[bytes], limits: Limits, should_stop: Callable[[], bool]) -> str | None:
    """Returns why a process must be stopped; None once it has ended by itself."""
    deadline = time.monotonic() + limits.seconds
    while process.poll() is None:
        if should_stop():
            return "It was stopped by the user."
        if time.monotonic() > deadline:
            return f"It took longer than {limits.seconds:.0f} s and was stopped. Raise --time-limit."
        with contextlib.suppress(psutil.Error):
            child = psutil.Process(process.pid)
            resident = sum(one.memory_info().rss for one in [child, *child.children(recursive=True)])
            if resident > limits.memory_bytes:
                return (
                    f"It held {resident / 2**30:.1f} GiB, more than the limit of "
                    f"{limits.memory_bytes / 2**30:.1f} GiB, and was stopped. Raise --memory-limit, or give "
                    "--jobs 1 so that one has all of it."
                )
        time.sleep(_POLL_SECONDS)
    return None


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
