"""How many processes share the tests."""

import os
from pathlib import Path

import pytest

ACCELERATORS = "nvidia[0-9]*", "accel[0-9]*", "vfio/[0-9]*"


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Returns a process a core, four at most, since each may hold TensorFlow; or 0: all stay in this one.

    Named files and markers are for one process, and so is a machine with an accelerator: a TPU takes no
    more, and TensorFlow takes all of a GPU's memory.
    """
    named = all(Path(argument.partition("::")[0]).is_file() for argument in config.args)
    if (
        named
        or config.option.markexpr != "not slow"
        or any(any(Path("/dev").glob(one)) for one in ACCELERATORS)
    ):
        return 0
    return min(4, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
