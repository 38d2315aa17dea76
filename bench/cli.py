"""The command line of the instrument. Nothing heavy is imported until a command needs it."""

import typer

from .commands.baseline import app as baseline_app
from .commands.calibrate import calibrate
from .commands.check import check
from .commands.choose import choose
from .commands.compare import compare
from .commands.env import show_environment
from .commands.export import export
from .commands.history import history
from .commands.import_results import import_results
from .commands.list import list_all
from .commands.preflight import preflight
from .commands.report import report
from .commands.run import run
from .commands.selftest import selftest

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Measure image classification on this machine: speed, accuracy, and where the time goes.",
)
app.command("list")(list_all)
app.command()(run)
app.command()(report)
app.command()(compare)
app.command()(calibrate)
app.command()(choose)
app.command()(history)
app.command()(selftest)
app.command()(preflight)
app.command()(export)
app.command("import")(import_results)
app.command("env")(show_environment)
app.command()(check)
app.add_typer(baseline_app, name="baseline")
