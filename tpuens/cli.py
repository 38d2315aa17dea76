"""The command line of the core: a thin layer over the Python API.

Nothing heavy is imported until a command needs it, so that --help answers at once.
"""

import sys
from collections.abc import Callable
from typing import Any

import typer

from .commands.data import data_app
from .commands.devices import devices
from .commands.ensemble import ensemble
from .commands.fuse import fuse
from .commands.predict import predict
from .commands.schedule import schedule
from .commands.sweep import sweep
from .commands.train import train_app
from .errors import TpuensError

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Train and ensemble Keras image classifiers on CPU, GPU and TPU.",
)
app.command()(devices)
app.add_typer(data_app, name="data")
app.add_typer(train_app, name="train")
app.command()(predict)
app.command()(ensemble)
app.command()(fuse)
app.command()(schedule)
app.command()(sweep)


def main() -> None:
    """Runs the command line; a TpuensError becomes one message on standard error and an exit code."""
    run_app(app)


def run_app(application: Callable[[], Any]) -> None:
    """Runs a typer application the way this project's commands end: message, no traceback, exit code."""
    try:
        application()
    except TpuensError as error:
        print(f"Error: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(error.exit_code)
    except Exception as error:
        # TensorFlow's, which is not imported here; it calls full disks so too.
        if type(error).__name__ != "ResourceExhaustedError" or "No space left" in str(error):
            raise
        print(  # noqa: T201
            "Error: There is no memory left for this. What takes less, where the command has it: a smaller "
            "--batch-size or --image-size; on an accelerator --dtype-policy mixed_float16 or mixed_bfloat16. "
            f"TensorFlow said: {str(error).partition(chr(10))[0][:300]}",
            file=sys.stderr,
        )
        sys.exit(1)
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)  # noqa: T201
        sys.exit(130)
