"""The report as a page of its own: charts, tables, words."""

import re
import subprocess
import sys
from html.parser import HTMLParser
from xml.etree import ElementTree

import matplotlib
import msgspec
import pytest

from bench.analysis.pooling import pool
from bench.analysis.summary import summarise
from bench.records.store import latest_records
from bench.reporting.charts import draw_charts
from bench.reporting.comparison import comparison_table
from bench.reporting.contents import collect_contents
from bench.reporting.drawing import BAR_LIMIT
from bench.reporting.html import render_html, write_report
from tpuens.errors import ConfigurationError, RunError

VOID = {"meta", "br", "link", "img", "input", "hr"}


class Page(HTMLParser):
    """Collects what a page holds, and refuses one whose elements do not close as they open."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(text)
        assert self._open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        self.text += f"{data} "


@pytest.fixture(scope="module")
def html(study):
    return render_html(study)


@pytest.fixture(scope="module")
def charts(study):
    return charts_of(study)


@pytest.fixture(scope="module")
def few(study):
    """Returns a run on each machine, an ensemble and a failure: enough for every kind of text."""
    return [study[0], study[9], study[11], study[13]]


@pytest.fixture(scope="module")
def few_charts(few):
    return charts_of(few)


def charts_of(records):
    return draw_charts(pool(summarise(records)), records)


def test_a_page_loads_nothing_from_anywhere(html):
    page = Page(html)
    loading = [
        value
        for _, attributes in page.elements
        for name, value in attributes.items()
        if name in ("src", "href", "xlink:href", "srcset", "data", "action")
    ]
    assert loading
    assert all(str(value).startswith("#") for value in loading)
    assert set(re.findall(r"url\((.)", html)) <= {"#"}
    assert "@import" not in html
    assert not {"script", "link", "iframe", "object", "img"} & {tag for tag, _ in page.elements}


def test_ids_are_unique_and_every_reference_has_its_target(html):
    page = Page(html)
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    targets = {str(attributes["href"])[1:] for _, attributes in page.elements if "href" in attributes}
    targets |= set(re.findall(r"url\(#([^)]+)\)", html))
    for _, attributes in page.elements:
        targets |= set(str(attributes.get("aria-labelledby", "")).split())
    assert targets <= set(ids)


def test_a_page_fits_a_phone_and_the_dark(html):
    page = Page(html)
    assert ("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}) in page.elements
    assert "prefers-color-scheme: dark" in html
    tables = sum(tag == "table" for tag, _ in page.elements)
    assert html.count('<div class="scroll"') == tables > 5


def test_a_report_says_in_words_what_was_measured_where(html):
    text = " ".join(Page(html).text.split())
    for sentence in (
        "26 runs (22 ok, 2 failed, 2 skipped) of the suite quick on 2 machines",
        "laptop : Example CPU 9000 (4 cores, 8 threads, AVX-512), 16 GiB of memory, Linux 6.1",
        "1 × Example GPU 200 of 139 GiB",
        "Runs were repeated up to 3 times",
        "One run claims no comparison",
        "ratio of single runs; no comparison is claimed",
        "Out of memory: a smaller --batch-size would do.",
        "No TPU is visible on this machine.",
        "ResourceExhaustedError: OOM <tensor>",
        "The load was 1.5 on 4 cores; close other programs.",
        "TF_ENABLE_ONEDNN_OPTS",
        "too few samples (40 of 299)",
        "94.0 % in 0 of 1",
    ):
        assert sentence in text, sentence


def test_single_runs_are_said_to_claim_nothing(records):
    html = render_html([records.record(series=(records.series(),))])
    assert "Everything ran once, so no" in html
    assert "Machine beside machine" not in html


def test_an_attempt_that_a_later_one_replaced_is_not_counted(records):
    failed = records.record(request_key="a", status="failed", reason="Killed.")
    attempts = [failed, records.record(request_key="a", series=(records.series(),))]
    html = render_html(latest_records(attempts), superseded=1)
    assert "1 record of earlier attempts" in html
    assert "Killed." not in html


def test_two_versions_in_two_folders_stand_apart_in_every_table_and_chart(records):
    runs = [
        records.record(
            request_key="a",
            workload={"phase": phase},
            series=(records.series(parameters={"n": 10}), records.latencies(0.1, 0.2, n=20)),
            environment=records.environment(versions={"tensorflow": version}),
        )
        for phase in ("train", "kernel")
        for version in ("2.20.0", "2.21.0")
    ]
    assert len(charts_of(runs)) == 4
    html = render_html(latest_records(*([run] for run in runs)))
    assert "Everything ran once" in html  # neither is a repeat of the other
    for chart in charts_of(runs):
        texts = ["".join(text.itertext()) for text in ElementTree.fromstring(chart.svg).iter("text")]
        for version in ("2.20.0", "2.21.0"):
            assert f"tensorflow {version}" in html
            assert any(version in text for text in texts), chart.caption


def test_the_reference_is_the_machine_of_the_first_folder_and_not_of_the_oldest_record(records):
    old, new = (
        records.record(series=(records.series(),), environment=records.environment(label))
        for label in ("old", "new")
    )
    assert "reference machine &#39;new&#39;" in render_html(latest_records([new], [old]))


def test_the_page_and_the_markdown_say_from_where_a_gpu_is_faster(study, tmp_path):
    products = [record for record in study if record.workload.scenario == "matmul"]
    html = write_report(tmp_path, collect_contents(products)).read_text(encoding="utf-8")
    for text in (html, (tmp_path / "report.md").read_text(encoding="utf-8").replace("\\", "")):
        assert "gpu-server (strategy one-device, float32 (tf32)) the GPU wins at every size" in text
        assert "nothing to compare on laptop: matrices were multiplied on one kind of device only" in text


def test_accuracy_stands_beside_the_speed_of_two_machines(study):
    table = comparison_table(pool(summarise(study)), ["laptop", "gpu-server"], None)
    rows = [dict(zip(table.headers, row, strict=True)) for row in table.rows]
    epoch = next(row for row in rows if row["scenario"] == "train-epoch: both")
    assert epoch["top-1 accuracy (%)"] == epoch["reference accuracy (%)"] == "91.3 (train-epoch)"
    product = next(row for row in rows if row["scenario"] == "matmul: gpu, n = 512")
    assert product["reference strategy"] == "one-device, on its cpu"
    assert product["top-1 accuracy (%)"] == ""


def test_an_unknown_reference_machine_is_refused_with_the_known_ones(few):
    with pytest.raises(ConfigurationError, match=r"Unknown machine.*gpu-server, laptop"):
        render_html(few, "tpu-server")


def test_a_report_of_failures_alone_still_says_why(records):
    html = render_html(
        [records.record(status="failed", reason="Killed.", environment=None, memory=None, phases={})]
    )
    assert "Killed." in html
    assert "<figure>" not in html


def test_foreign_text_does_no_harm(few):
    evil = '<script>alert(1)</script>" $\\frac{x$ _a ]]> \x1b[2J\x00 🚀 #000000 url(#p)'
    records = [
        msgspec.structs.replace(
            record,
            suite=evil,
            reason=evil if record.status != "ok" else None,
            log_tail=(evil,) if record.status != "ok" else (),
            workload=msgspec.structs.replace(record.workload, backbone=evil),
            environment=msgspec.structs.replace(
                record.environment, machine_label=evil + record.environment.machine_label
            ),
        )
        for record in few
    ]
    html = render_html(records)
    page = Page(html)
    assert "script" not in {tag for tag, _ in page.elements}
    assert "alert(1)" in page.text
    assert "$\\frac{x$" in page.text
    assert "\x1b" not in html
    assert "\x00" not in html


def test_charts_of_the_same_records_are_the_same_whatever_a_users_matplotlib_settings(few, few_charts):
    with matplotlib.rc_context({"font.size": 30, "text.usetex": True, "xtick.direction": "in"}):
        assert charts_of(few) == few_charts
        assert matplotlib.rcParams["font.size"] == 30


def test_what_a_command_imports_at_once_is_light():
    code = (
        "import sys, bench.records.store, bench.analysis.frame, bench.reporting.tables, bench.reporting.html;"
        "print({'numpy', 'pandas', 'scipy', 'matplotlib', 'jinja2', 'rich', 'tensorflow'} & set(sys.modules))"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout == "set()\n"


def test_charts_are_named_and_have_units_on_their_axes(charts):
    expected = {
        "Throughput of train-step": ["examples per second (logarithmic)"],
        "Throughput of train-epoch": ["examples per second"],
        "Step times of train-step": ["milliseconds per step", "share of steps (%)"],
        "Rate of matrix products": ["GFLOP/s (logarithmic)", "n, of n × n matrices (logarithmic)"],
        "Accuracy of ensembles and their members": ["top-1 accuracy on the test split (%)"],
        "Where the time of a run goes": ["seconds"],
    }
    found = {}
    for chart in charts:
        svg = ElementTree.fromstring(chart.svg)
        title, description = svg[0], svg[1]
        assert (title.tag, description.tag, svg.get("role")) == ("title", "desc", "img")
        assert svg.get("aria-labelledby") == f"{title.get('id')} {description.get('id')}"
        assert description.text == chart.caption
        found[title.text] = ["".join(text.itertext()) for text in svg.iter("text")]
    for title, labels in expected.items():
        assert title in found[title]  # also to be seen
        assert set(labels) <= set(found[title]), title


def test_charts_take_the_colour_of_the_page(charts):
    for chart in charts:
        svg = ElementTree.fromstring(chart.svg)
        styles = " ".join(element.get("style", "") for element in svg.iter())
        assert "#000000" not in styles
        assert "currentColor" in styles
        assert "fill: #ffffff" not in styles
        assert not list(svg.iter("style"))  # such a rule would reach all of the page


def test_a_bar_is_as_long_as_its_throughput(records):
    runs = [
        records.record(workload={"backbone": name}, series=(records.series(examples=(0, 0, examples)),))
        for name, examples in (("a", 300), ("b", 600))
    ]
    svg = ElementTree.fromstring(charts_of(runs)[0].svg)
    widths = []
    for path in svg.iter("path"):
        if "#0072b2" in path.get("style", ""):
            numbers = [float(number) for number in re.findall(r"[\d.]+", path.get("d", ""))]
            widths.append(max(numbers[::2]) - min(numbers[::2]))
    assert len(widths) == 2
    assert widths[1] / widths[0] == pytest.approx(2.0, rel=1e-3)


def test_a_crowded_chart_says_what_it_leaves_out(records):
    runs = [
        records.record(workload={"backbone": f"net{number}"}, series=(records.series(),))
        for number in range(BAR_LIMIT + 6)
    ]
    throughput, _ = charts_of(runs)
    assert "6 more are not drawn" in throughput.caption


def test_a_report_is_three_files_and_replaces_the_one_before(few, tmp_path):
    (tmp_path / "report.html").write_text("old")
    path = write_report(tmp_path, collect_contents(few, "gpu-server"))
    assert path == tmp_path / "report.html"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["report.csv", "report.html", "report.md"]
    html = path.read_text(encoding="utf-8")
    assert html.startswith("<!doctype html>")
    assert "Speed-up over the reference machine &#39;gpu-server&#39;" in html
    markdown = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "## Throughput" in markdown
    assert "- **laptop**: Example CPU 9000" in markdown
    rows = (tmp_path / "report.csv").read_text(encoding="utf-8").splitlines()
    assert len(rows) == 1 + len(summarise(few))  # every run by itself


def test_a_report_that_cannot_be_written_names_the_folder(few, tmp_path):
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(RunError, match=r"report\.csv.*taken"):
        write_report(tmp_path / "taken", collect_contents(few[2:3]))
