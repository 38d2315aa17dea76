"""The Python in README and on the recipes' pages names what there is."""

import ast
import re
from importlib.util import find_spec
from pathlib import Path

import pytest

from bench.execution.limits import Limits
from bench.records.record import RunRecord
from bench.scenarios.table import SCENARIOS
from bench.suites import Request

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "results" / "README.md",
    *sorted((ROOT / "tpuens" / "recipes").glob("*.md")),
]
EXAMPLES = {
    f"{page.relative_to(ROOT)} {number}": code
    for page in PAGES
    for number, code in enumerate(re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), re.DOTALL), 1)
    if re.search(r"^from (tpuens|bench)\b", code, re.MULTILINE)  # others call commands alone
}


def module_file(module: str) -> Path:
    """Returns the file of a module of ours; its packages are imported, it is not."""
    spec = find_spec(module)
    assert spec is not None
    assert spec.origin is not None, module
    return Path(spec.origin)


def functions_and_classes(path: Path) -> dict[str, ast.FunctionDef | ast.ClassDef]:
    body = ast.parse(path.read_text("utf-8")).body
    return {node.name: node for node in body if isinstance(node, ast.FunctionDef | ast.ClassDef)}


def accepts(node: ast.FunctionDef | ast.ClassDef) -> set[str]:
    """Returns the names that a function or a dataclass takes."""
    if isinstance(node, ast.ClassDef):
        return {
            one.target.id
            for one in node.body
            if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name)
        }
    return {one.arg for one in (*node.args.args, *node.args.kwonlyargs)}


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 3


@pytest.mark.parametrize("code", EXAMPLES.values(), ids=EXAMPLES)
def test_an_example_imports_and_calls_what_there_is(code: str) -> None:
    tree = ast.parse(code)
    ours = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith(("tpuens", "bench")):
            there = functions_and_classes(module_file(node.module))
            ours |= {alias.name: there[alias.name] for alias in node.names}
    assert ours
    for call in ast.walk(tree):
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in ours:
            assert {keyword.arg for keyword in call.keywords} <= accepts(ours[call.func.id])


def test_the_picture_of_the_phases_is_the_one_that_its_example_cuts_out(monkeypatch):
    drawn: dict[Path, str] = {}
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(Path, "write_text", lambda path, text: drawn.update({path: text}))
    (code,) = (code for code in EXAMPLES.values() if "phases.svg" in code)
    exec(code, {})
    ((path, text),) = drawn.items()
    assert words(text) == words(path.read_text("utf-8"))


def words(svg: str) -> list[str]:
    return re.findall(r"<(?:text|title)[^>]*>(.*?)</", svg)


def test_the_example_of_the_instrument_reads_and_compares_what_it_ran(records, monkeypatch, capsys):
    seconds = {"cpu": (2.0, 2.0, 2.0), "cpu-mirrored:2": (1.0, 1.0, 1.0)}

    def launch_run(request: Request, *, log: Path, limits: Limits) -> RunRecord:
        assert request.scenario.name in SCENARIOS
        series = records.series(seconds=seconds[request.strategy])
        return records.record(configuration={"strategy": request.strategy}, series=(series,))

    monkeypatch.setattr("bench.execution.launcher.launch_run", launch_run)
    (code,) = (code for code in EXAMPLES.values() if "launch_run" in code)
    assert len(code.splitlines()) <= 12
    exec(code, {})
    rates, ratio = capsys.readouterr().out.splitlines()
    assert rates == "{'compute': 100.0}"
    assert float(ratio) == pytest.approx(2)
