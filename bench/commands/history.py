"""`tpuens-bench history`: one scenario over commits and dates."""

from pathlib import Path
from typing import Annotated

import typer

from ..scenarios.table import SCENARIOS


def history(
    scenario: Annotated[str, typer.Argument(help="A scenario from `tpuens-bench list`.")],
    folders: Annotated[
        list[Path], typer.Argument(help="Run folders, or folders of run folders such as results/runs.")
    ],
    output: Annotated[Path, typer.Option(help="Where the picture goes (SVG).")] = Path("history.svg"),
) -> None:
    """Draw one scenario over commits and dates, with the points where its level changes."""
    from ..analysis.history import collect_history
    from ..records.atomic import write_file
    from ..records.store import read_folder
    from ..reporting.history_chart import draw_history, history_sentences
    from ..reporting.svg import drawing_style, stand_alone

    name = SCENARIOS[scenario].name
    runs = [read_folder(run) for folder in folders for run in _run_folders(folder)]
    lines, common = collect_history(runs, name)
    with drawing_style():
        chart = draw_history(lines, name, common)
    write_file(output, stand_alone(chart.svg).encode(), overwrite=True)
    for sentence in history_sentences(lines):
        typer.echo(sentence)
    typer.echo(f"picture: {output}")


def _run_folders(folder: Path) -> list[Path]:
    inside = sorted(path.parent for path in folder.glob("*/records") if path.is_dir())
    return inside or [folder]
