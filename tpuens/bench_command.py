"""The doorstep of the command `tpuens-bench`.

It stands here, outside `bench`, because another distribution can own that top-level name: then ours
cannot be imported, and only code from elsewhere can say so. It is the one place in `tpuens` that names
`bench`, and only when the command is run.
"""

import importlib
import sys

from .cli import run_app


def main() -> None:
    """Runs `tpuens-bench`, or says whose `bench` was found in its place."""
    package = importlib.import_module("bench")
    if getattr(package, "DISTRIBUTION", None) != "tpuens":
        where = getattr(package, "__file__", None) or "a folder without __init__.py"
        print(  # noqa: T201
            "Error: another package named 'bench' stands in the place of tpuens's own. Uninstall it, or use "
            f"a virtual environment with tpuens alone. Found: {where}",
            file=sys.stderr,
        )
        sys.exit(2)
    run_app(importlib.import_module("bench.cli").app)
