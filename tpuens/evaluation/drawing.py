"""The frame of a picture: matplotlib in the house's style, and a PNG that is written whole or not at all.

The same drawing gives the same bytes with the same matplotlib, whatever the user's own settings of it say.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..whole import PICTURE_REFUSAL, whole_file

_STYLE = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "text.parse_math": False,  # a class name with two dollar signs is a name, not a formula
    "text.usetex": False,
}
_DPI = 120
_NAME_CHARACTERS = 24


@contextmanager
def drawing(path: Path, *, width: float, height: float) -> Iterator[Any]:
    """Gives a figure of so many inches, to be drawn on in the block, and writes it as a PNG after it."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context():
        # Not the backend: it belongs to whoever imported us.
        defaults = matplotlib.rcParamsDefault.items()
        matplotlib.rcParams.update({name: value for name, value in defaults if "backend" not in name})
        matplotlib.rcParams.update(_STYLE)
        figure = Figure(figsize=(width, height), dpi=_DPI, layout="constrained")
        FigureCanvasAgg(figure)
        yield figure
        with whole_file(path, PICTURE_REFUSAL) as part:
            figure.savefig(part, format="png", bbox_inches="tight", metadata={"Software": None})


def shorten(name: str) -> str:
    """Returns a name, its end replaced by an ellipsis where it is longer than a picture has room for."""
    return name if len(name) <= _NAME_CHARACTERS else f"{name[: _NAME_CHARACTERS - 1]}…"
