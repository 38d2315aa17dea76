"""How a process of this project's own begins."""

from pathlib import Path
from typing import BinaryIO

from tpuens.errors import RunError

# The parent of this package's folder: put first on a child's path, so that no folder of the name `bench` in
# the user's working directory can stand in for ours.
ROOT = Path(__file__).resolve().parents[2]
# What a child begins with, its first argument such a folder: that comes first on its path, and on Linux it
# ends with its parent, also where that is killed and the child is held or busy.
WITH_PARENT = """
import sys; sys.path[0] = sys.argv[1]
import ctypes, signal
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
"""


def open_log(path: Path) -> BinaryIO:
    """Returns the file for what a process prints, in a folder that is made.

    Raises:
        RunError: It cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("wb")
    except OSError as error:
        raise RunError(
            "The log of a run cannot be written: make room or choose another --results. "
            f"Received: {path} ({error.strerror})"
        ) from error
