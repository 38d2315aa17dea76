"""What was traced and compiled before, in the user's cache folder, so that nothing is done twice."""

import gzip
import hashlib
import importlib.metadata
import zlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TypeVar

import msgspec

from tpuens.data.photographs import cache_folder

from ..execution.start import ROOT
from ..records.atomic import write_file
from ..records.record import Struct
from .messages import Compiled, Export, Step
from .results import PreflightResult
from .targets import TARGETS, Compiler, Target

# What decides how a step is traced, besides the versions of TensorFlow and Keras.
_SOURCES = (
    "tpuens",
    "bench/scenarios",
    "bench/suites.py",
    "bench/preflight/export.py",
    "bench/preflight/stablehlo.py",
)
_TRACERS = ("tensorflow", "keras")

StructT = TypeVar("StructT", bound=Struct)


class Cache:
    """Exports by what was asked for and the code that makes them; a compiler's answers by the graph's hash.

    Args:
        folder: None for the user's own.
        find_version: Tells the version of a distribution.
    """

    def __init__(
        self,
        folder: Path | None = None,
        find_version: Callable[[str], str] = importlib.metadata.version,
    ) -> None:
        self._folder = folder or cache_folder() / "preflight"
        self._find_version = find_version
        self._code = _hash_sources()

    def text_path(self, graph: str) -> Path:
        """Returns where the text of a graph lies, packed."""
        return self._folder / "graphs" / f"{graph}.mlir.gz"

    def read_text(self, graph: str) -> str:
        """Returns the text of a graph."""
        return gzip.decompress(self.text_path(graph).read_bytes()).decode()

    def load_export(self, order: Step) -> Export | None:
        """Returns what was traced for this order by this very code; None where nothing was."""
        export = _load(self._export_path(order), Export)
        try:
            if export:
                self.read_text(export.graph)
        except (OSError, EOFError, zlib.error, UnicodeDecodeError):  # gone or damaged: traced again
            return None
        return export

    def save_export(self, order: Step, export: Export, text: str) -> None:
        """Keeps a traced step."""
        write_file(self.text_path(export.graph), gzip.compress(text.encode(), mtime=0), overwrite=True)
        _save(self._export_path(order), export)

    def load_compiled(self, graph: str, target: Target, replicas: int) -> Compiled | None:
        """Returns what this version of the compiler said of a graph; None where it was not asked."""
        return _load(self._compiled_path(graph, target, replicas), Compiled)

    def save_compiled(self, graph: str, target: Target, replicas: int, compiled: Compiled) -> None:
        """Keeps what the compiler said; what was stopped before it said anything is not kept."""
        if compiled.status != "stopped":
            _save(self._compiled_path(graph, target, replicas), compiled)

    def adopt(self, results: Iterable[PreflightResult]) -> None:
        """Keeps what this version of the compiler said in earlier results, of another machine perhaps."""
        for result in results:
            target = TARGETS.get(result.target)
            if target is None or not self._is_of(result.versions, target.compiler):
                continue
            for attempt in result.attempts:
                if attempt.graph:
                    self.save_compiled(attempt.graph, target, result.replicas, attempt.compiled)

    def _is_of(self, versions: Mapping[str, str], compiler: Compiler) -> bool:
        try:
            return all(versions.get(name) == self._find_version(name) for name in compiler.packages)
        except importlib.metadata.PackageNotFoundError:
            return False

    def _export_path(self, order: Step) -> Path:
        versions = [self._find_version(name) for name in _TRACERS]
        return self._folder / "exports" / f"{_hash(order, self._code, *versions)}.json"

    def _compiled_path(self, graph: str, target: Target, replicas: int) -> Path:
        versions = [self._find_version(name) for name in target.compiler.packages]
        key = _hash(graph, target.topology, target.options, replicas, *versions)
        return self._folder / "compiled" / f"{target.name}-{key}.json"


def _hash_sources() -> str:
    digest = hashlib.sha256()
    for name in _SOURCES:
        source = ROOT / name
        for path in sorted(source.rglob("*.py")) if source.is_dir() else [source]:
            digest.update(path.read_bytes())
    return digest.hexdigest()


def _hash(*parts: object) -> str:
    return hashlib.sha256(msgspec.json.encode(parts, order="sorted")).hexdigest()[:16]


def _load(path: Path, kind: type[StructT]) -> StructT | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (OSError, msgspec.MsgspecError):  # absent, or of another version of this code: made again
        return None


def _save(path: Path, value: Struct) -> None:
    write_file(path, msgspec.json.encode(value) + b"\n", overwrite=True)
