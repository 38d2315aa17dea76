"""The rules of the house, read from the source: who may import whom, and what may be where."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MODULES = sorted([*(ROOT / "tpuens").rglob("*.py"), *(ROOT / "bench").rglob("*.py")])

# Where a module may import from inside its own package: its own layer and those before it.
TPUENS_LAYERS = (
    {"errors", "__version__"},
    {"registry", "whole"},
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
    {"reporting", "scenarios", "suites", "settings", "peers"},
    {"execution"},
    {"preflight"},
    {"progress"},
    {"commands"},
    {"cli"},
    {"conftest"},
    {"test_scenarios"},
)
LINES = 320
MAY_IMPORT_TENSORFLOW = (
    "bench/scenarios/",
    "bench/peers/arms/",
    "bench/execution/worker.py",
    "bench/execution/runner.py",
    "bench/preflight/export.py",
)
MAY_IMPORT_JAX = ("bench/preflight/compile.py",)


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


def imports_in(folder: str) -> Iterator[tuple[str, str, int]]:
    """Yields (file, module, level) for every import in the files below a folder."""
    for path in MODULES:
        if name_of(path).startswith(folder):
            yield from ((name_of(path), module, level) for module, level in imports_of(path))


def test_there_are_modules_to_read() -> None:
    assert len(MODULES) > 40


def test_the_core_never_imports_the_instrument() -> None:
    assert not [
        (file, module) for file, module, _ in imports_in("tpuens/") if module.split(".")[0] == "bench"
    ]


def test_only_one_module_names_tf_distribute() -> None:
    others = [path for path in MODULES if name_of(path) != "tpuens/hardware/strategies.py"]
    assert not [
        name_of(path)
        for path in others
        for node in nodes_of(path)
        if isinstance(node, ast.Attribute) and node.attr == "distribute"
    ]
    assert not [
        name_of(path)
        for path in others
        for module, _ in imports_of(path)
        if module.startswith("tensorflow.distribute")
    ]


def test_the_instrument_imports_no_tensorflow_and_no_peers_outside_the_worker() -> None:
    assert not [
        (file, module)
        for file, module, _ in imports_in("bench/")
        if not file.startswith(MAY_IMPORT_TENSORFLOW) and module.split(".")[0] in ("tensorflow", "keras")
    ]
    assert not [
        (file, module)
        for file, module, _ in imports_in("")
        if not file.startswith("bench/peers/arms/")
        and module.split(".")[0] in ("torch", "torchvision", "timm", "grain")
    ]


def test_only_the_child_that_compiles_imports_jax() -> None:
    assert not [
        (file, module)
        for file, module, _ in imports_in("")
        if not file.startswith(MAY_IMPORT_JAX) and module.split(".")[0] == "jax"
    ]


def test_imports_are_relative_inside_a_package_and_absolute_across() -> None:
    assert not [
        (file, module)
        for file, module, level in imports_in("")
        if (house := module.split(".")[0]) in ("tpuens", "bench")
        and (level > 0) != (house == file.split("/")[0])
    ]


def test_modules_import_only_from_their_own_layer_and_those_before() -> None:
    broken = []
    for file, module, _ in imports_in(""):
        house, place = file.removesuffix(".py").split("/")[:2]
        imported, _, rest = module.partition(".")
        if imported != house or not rest or place == "__init__":
            continue
        layers = TPUENS_LAYERS if house == "tpuens" else BENCH_LAYERS
        if layer_of(layers, rest.split(".")[0]) > layer_of(layers, place):
            broken.append((file, module))
    assert not broken


def test_suites_know_the_table_of_scenarios_alone() -> None:
    found = [module for file, module, _ in imports_in("bench/suites.py") if "scenarios" in module]
    assert set(found) == {"bench.scenarios.table"}


def layer_of(layers: tuple[set[str], ...], name: str) -> int:
    found = [index for index, layer in enumerate(layers) if name in layer]
    assert found, f"{name} stands in no layer: add it above, where it belongs"
    return found[0]


def test_files_are_small_and_named_after_what_they_hold() -> None:
    names = {"utils", "util", "helpers", "common", "misc", "manager"}
    assert not [
        name_of(path) for path in MODULES if path.stem in names or path.read_text().count("\n") > LINES
    ]
