"""How many processes share the tests."""

import os
from pathlib import Path

import pytest


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Returns a process a core, four at most: each may hold TensorFlow. Named files start none."""
    if all(Path(argument.partition("::")[0]).is_file() for argument in config.args):
        return 0
    return min(4, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
