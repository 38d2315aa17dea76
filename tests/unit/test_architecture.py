"""The rules of the house, read from the source: who may import whom, and what may be where."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MODULES = sorted([*(ROOT / "tpuens").rglob("*.py"), *(ROOT / "bench").rglob("*.py")])

# Where a module may import from inside its own package: its own layer and those before it.
TPUENS_LAYERS = (
    {"errors", "__version__"},
    {"registry"},
    {"hardware", "data", "models"},
    {"training"},
    {"evaluation"},
    {"ensembling"},
    {"recipes"},
    {"quiet", "progress", "tables"},
    {"commands"},
    {"cli"},
    {"bench_command"},
)
BENCH_LAYERS = (
    {"records"},
    {"analysis", "measuring"},
    {"reporting", "scenarios", "suites", "settings"},
    {"execution"},
    {"progress"},
    {"commands"},
    {"cli"},
    {"conftest"},
    {"test_scenarios"},
)
MAY_IMPORT_TENSORFLOW = ("bench/scenarios/", "bench/execution/worker.py", "bench/execution/runner.py")


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def nodes_of(path: Path) -> tuple[ast.AST, ...]:
    return tuple(ast.walk(ast.parse(path.read_text())))


@cache
def imports_of(path: Path) -> tuple[tuple[str, int], ...]:
    """Returns (absolute module, level of the import) for every import anywhere in the file."""
    return tuple(read_imports(path))


def read_imports(path: Path) -> Iterator[tuple[str, int]]:
    package = path.relative_to(ROOT).with_suffix("").parts[:-1]
    for node in nodes_of(path):
        if isinstance(node, ast.Import):
            yield from ((alias.name, 0) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*base, *([node.module] if node.module else [])])
            if node.module and node.level == 0:
                yield module, 0
            elif node.module:
                yield module, node.level
            else:
                yield from ((f"{module}.{alias.name}", node.level) for alias in node.names)


def test_there_are_modules_to_read() -> None:
    assert len(MODULES) > 40


@pytest.mark.parametrize("path", [p for p in MODULES if name_of(p).startswith("tpuens/")], ids=name_of)
def test_the_core_never_imports_the_instrument(path: Path) -> None:
    assert not [module for module, _ in imports_of(path) if module.split(".")[0] == "bench"]


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_only_one_module_names_tf_distribute(path: Path) -> None:
    if name_of(path) == "tpuens/hardware/strategies.py":
        return
    named = [node.attr for node in nodes_of(path) if isinstance(node, ast.Attribute)]
    assert "distribute" not in named
    assert not [module for module, _ in imports_of(path) if module.startswith("tensorflow.distribute")]


@pytest.mark.parametrize("path", [p for p in MODULES if name_of(p).startswith("bench/")], ids=name_of)
def test_the_instrument_imports_no_tensorflow_outside_the_worker(path: Path) -> None:
    if name_of(path).startswith(MAY_IMPORT_TENSORFLOW):
        return
    assert not [module for module, _ in imports_of(path) if module.split(".")[0] in ("tensorflow", "keras")]


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_are_relative_inside_a_package_and_absolute_across(path: Path) -> None:
    house = path.relative_to(ROOT).parts[0]
    for module, level in imports_of(path):
        if module.split(".")[0] in ("tpuens", "bench"):
            assert (level > 0) == (module.split(".")[0] == house), module


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_modules_import_only_from_their_own_layer_and_those_before(path: Path) -> None:
    parts = path.relative_to(ROOT).with_suffix("").parts
    if parts[1] == "__init__":
        return
    layers = TPUENS_LAYERS if parts[0] == "tpuens" else BENCH_LAYERS
    place = layer_of(layers, parts[1])
    if name_of(path) == "bench/suites.py":
        assert all("scenarios" not in m or m == "bench.scenarios.table" for m, _ in imports_of(path))
    for module, _ in imports_of(path):
        house, _, rest = module.partition(".")
        if house == parts[0] and rest:
            assert layer_of(layers, rest.split(".")[0]) <= place, module


def layer_of(layers: tuple[set[str], ...], name: str) -> int:
    found = [index for index, layer in enumerate(layers) if name in layer]
    assert found, f"{name} stands in no layer: add it above, where it belongs"
    return found[0]


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_files_are_small_and_named_after_what_they_hold(path: Path) -> None:
    assert path.read_text().count("\n") <= 320
    assert path.stem not in {"utils", "util", "helpers", "common", "misc", "manager"}
