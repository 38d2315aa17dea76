"""The report as one HTML file that needs nothing else, and beside it as Markdown and CSV."""

from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path

from ..records.atomic import write_file
from ..records.record import RunRecord
from .charts import draw_charts
from .contents import HOW_TO_READ, Contents, collect_contents
from .drawing import Chart
from .tables import csv_text, markdown_table, markdown_text


def render_html(
    records: Sequence[RunRecord],
    reference: str | None = None,
    superseded: int = 0,
    prices: Mapping[str, float] | None = None,
) -> str:
    """Returns a report on the records as a page that loads nothing from anywhere.

    Args:
        records: Of any machines and suites, at least one, as `latest_records` gives them.
        reference: The machine that the others are compared with; by default that of the first record.
        superseded: How many records of earlier attempts were left out.
        prices: In dollars an hour, as `bench.analysis.economics.parse_prices` gives them.

    Raises:
        ConfigurationError: No record is of the reference machine, or of a machine or device with a price.
    """
    return _render_html(collect_contents(records, reference, superseded, prices))


def write_report(folder: Path, contents: Contents) -> Path:
    """Writes report.html, report.md and report.csv into a folder and returns the path of the first.

    A report that is there already is replaced. The CSV has every run by itself; in the others repeats are
    pooled.

    Raises:
        RunError: The disk is full or the folder cannot be written.
    """
    pages = {
        "report.csv": csv_text(contents.rows),
        "report.md": render_markdown(contents, HOW_TO_READ),
        "report.html": _render_html(contents),
    }
    for name, text in pages.items():
        write_file(folder / name, text.encode(), overwrite=True)
    return folder / "report.html"


def _render_html(contents: Contents) -> str:
    return render_page(contents, draw_charts(contents.pooled, contents.records), HOW_TO_READ)


def render_page(contents: Contents, charts: Sequence[Chart], how_to_read: Sequence[str]) -> str:
    """Returns contents as a page that loads nothing from anywhere."""
    import jinja2

    files = resources.files(__package__)
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string(files.joinpath("report.html").read_text(encoding="utf-8"))
    return template.render(
        contents=contents,
        charts=charts,
        how_to_read=how_to_read,
        style=files.joinpath("report.css").read_text(encoding="utf-8"),
    )


def render_markdown(contents: Contents, how_to_read: Sequence[str]) -> str:
    """Returns contents as Markdown, without charts."""
    parts = [f"# {contents.title}\n", *(f"{markdown_text(sentence)}\n" for sentence in contents.summary)]
    parts += [f"- **{markdown_text(name)}**: {markdown_text(text)}" for name, text in contents.machines]
    parts += ["\n## How to read it\n", *(f"- {markdown_text(sentence)}" for sentence in how_to_read), ""]
    parts += [markdown_table(table) for table in contents.tables]
    if contents.comparison:
        parts.append(markdown_table(contents.comparison))
    if contents.environment:
        parts.append(markdown_table(contents.environment))
    return "\n".join(parts)
