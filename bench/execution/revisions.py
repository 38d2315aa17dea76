"""Another commit of this project: its tree beside ours, and runs made by its own code."""

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from tpuens.errors import ConfigurationError, RunError

from ..records.atomic import write_file
from ..records.record import RunRecord
from ..records.store import read_folder
from ..suites import Request
from .start import ROOT
from .suite_run import PLAN_FILE

_START = "import sys; sys.path[0] = sys.argv.pop(1); from tpuens.bench_command import main; main()"


@contextlib.contextmanager
def check_out(revision: str, root: Path = ROOT) -> Iterator[Path]:
    """Yields the root of a source tree of the revision, in a temporary folder that is removed afterwards.

    Args:
        revision: A branch, tag or commit, as git names them.
        root: A clone of the project.

    Raises:
        ConfigurationError: `root` is no clone, or there is no such revision in it.
    """
    if not (root / ".git").exists():
        raise ConfigurationError(
            "Only a clone of the project holds its other commits: install tpuens from a clone "
            f"(pip install -e .), or give --baseline. Received: against={revision!r}, outside one"
        )
    answer = _git(root, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")
    if revision.startswith("-") or answer.returncode:
        raise ConfigurationError(
            "Expected a branch, tag or commit that this clone holds; a shallow one holds few: `git fetch "
            f"--unshallow`. Received: against={revision!r}"
        )
    with tempfile.TemporaryDirectory(prefix="tpuens-check-") as folder:
        tree = Path(folder) / "tree"
        added = _git(root, "worktree", "add", "--quiet", "--detach", str(tree), answer.stdout.strip())
        if added.returncode:
            raise RunError(f"git cannot check {revision} out beside this tree: {added.stderr.strip()}")
        try:
            yield tree
        finally:
            _git(root, "worktree", "remove", "--force", str(tree))


def run_at(tree: Path, request: Request, folder: Path) -> RunRecord:
    """Returns the record of a run that another tree's own launcher and worker made.

    That tree's own schema counts: settings that are at their defaults are left out of what it is asked for,
    so that it need not know them, and its record is upgraded on reading.

    Args:
        tree: The root of its source.
        request: What to run.
        folder: A folder of its own for plan, record and log.

    Raises:
        ConfigurationError: That tree knows no such request; the message says which field it refuses.
        RunError: It made no record.
    """
    plan = {"suite": request.suite, "requests": [_told(request)]}
    write_file(folder / PLAN_FILE, msgspec.json.encode(plan), overwrite=False)
    command = [
        sys.executable,
        "-c",
        _START,
        str(tree),
        "run",
        "--resume",
        "--results",
        str(folder.absolute()),
    ]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    if (folder / "records").is_dir():
        return read_folder(folder)[-1]
    said = answer.stderr.strip().splitlines()[-1:] or [f"exit code {answer.returncode}"]
    if answer.returncode == 2:
        raise ConfigurationError(
            "The other commit does not know such a run: leave out the setting that it refuses, or choose a "
            f"later commit. Received: {said[0]}"
        )
    raise RunError(f"The other commit's own `tpuens-bench run` made no record: {said[0]}")


def _told(struct: msgspec.Struct) -> dict[str, Any]:
    """Returns those fields of a request that are not at their defaults."""
    told = {}
    for field in msgspec.structs.fields(type(struct)):
        value = getattr(struct, field.name)
        made = field.default_factory is not msgspec.NODEFAULT
        if value != (field.default_factory() if made else field.default):
            told[field.name] = _told(value) if isinstance(value, msgspec.Struct) else value
    return told


def _git(root: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    # Inside a git hook the variables GIT_DIR and GIT_INDEX_FILE would point elsewhere.
    environ = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    command = ["git", "-C", str(root), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environ)
