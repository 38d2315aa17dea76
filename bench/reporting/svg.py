"""matplotlib figures as SVG that can stand inline in a page: same input, same bytes; light and dark."""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from xml.etree import ElementTree

_SVG = "{http://www.w3.org/2000/svg}"
_LINK = "{http://www.w3.org/1999/xlink}href"

# Okabe & Ito, Color Universal Design (2008), without black; the yellow, faint on white, comes last.
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#999999", "#F0E442")

WIDTH_INCHES = 4.5  # 324 points: the text stays legible when a phone scales the chart down

_STYLE = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.labelsize": 9,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.parse_math": False,  # a label with two dollar signs is a label, not a formula
    "text.usetex": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "tpuens",
}


@contextmanager
def drawing_style() -> Iterator[None]:
    """Sets matplotlib's parameters for our charts, whatever the user's own say, and puts them back."""
    import matplotlib

    with matplotlib.rc_context():
        # Not the backend: it belongs to whoever imported us.
        defaults = matplotlib.rcParamsDefault.items()
        matplotlib.rcParams.update({name: value for name, value in defaults if "backend" not in name})
        matplotlib.rcParams.update(_STYLE)
        yield


def render_figure(figure: Any, *, name: str, title: str, description: str) -> str:
    """Returns a `matplotlib.figure.Figure` as one ``<svg>`` element; call it within `drawing_style`.

    Black becomes the page's text colour, the background transparent, and every id begins with `name`, so
    that charts do not take each other's clip paths.

    Args:
        figure: The figure.
        name: Unique on the page; letters, digits and hyphens.
        title: What screen readers say it is.
        description: What it shows, for screen readers.
    """
    figure.patch.set_visible(False)
    for axes in figure.axes:
        axes.patch.set_visible(False)
    output = io.StringIO()
    with warnings.catch_warnings():
        # The browser draws the text, with fonts of its own.
        warnings.filterwarnings("ignore", message=".*missing from font.*")
        figure.savefig(output, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    return _inline(output.getvalue(), name, title, description)


def stand_alone(svg: str) -> str:
    """Returns an inline chart as a file of its own: dark on white, whatever shows it."""
    dressed = '<svg xmlns="http://www.w3.org/2000/svg" style="background:white" '
    return svg.replace("currentColor", "#333").replace("<svg ", dressed, 1)


def _inline(document: str, name: str, title: str, description: str) -> str:
    root = ElementTree.fromstring(document)
    view_box = root.get("viewBox", "")
    root.attrib = {
        "viewBox": view_box,
        # Its own size; the page's style sheet lets it shrink.
        "width": view_box.split()[2],
        "role": "img",
        "aria-labelledby": f"{name}-title {name}-desc",
        "fill": "currentColor",
        "stroke-linejoin": "round",
        "stroke-linecap": "butt",
    }
    parents = [parent for parent in root.iter() if len(parent)]
    for parent in parents:
        for child in list(parent):
            # matplotlib's rule for "*" would reach all of the page.
            if child.tag in (f"{_SVG}metadata", f"{_SVG}style"):
                parent.remove(child)
    _scope_ids(root, name)
    for element in root.iter():
        element.tag = element.tag.removeprefix(_SVG)
        if "style" in element.attrib:
            style = element.attrib["style"].replace("#000000", "currentColor")
            element.set("style", style.replace("'DejaVu Sans', sans-serif", "sans-serif"))
    for place, (tag, text) in enumerate((("title", title), ("desc", description))):
        heading = ElementTree.Element(tag, {"id": f"{name}-{tag}"})
        heading.text = text
        root.insert(place, heading)
    return ElementTree.tostring(root, encoding="unicode")


def _scope_ids(root: ElementTree.Element, name: str) -> None:
    """Puts the name before each id that something refers to, and drops the others."""
    references: set[str] = set()
    for element in root.iter():
        link = element.attrib.pop(_LINK, None)
        if link is not None:
            references.add(link.removeprefix("#"))
            element.set("href", f"#{name}-{link.removeprefix('#')}")
        clip = element.get("clip-path")
        if clip is not None:
            references.add(clip.removeprefix("url(#").removesuffix(")"))
            element.set("clip-path", clip.replace("url(#", f"url(#{name}-"))
    for element in root.iter():
        own = element.attrib.pop("id", None)
        if own in references:
            element.set("id", f"{name}-{own}")
