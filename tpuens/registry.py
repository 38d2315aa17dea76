"""Tables of names: each row says in a string where its factory is, and imports it only on demand.

A decorator's name exists only once its module is imported, so ``--help`` would have to import TensorFlow
to list the backbones; scanning folders would hide typos and types. A row in a table does neither.
"""

import importlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from .errors import unknown_name_error


@dataclass(frozen=True, kw_only=True)
class Row:
    """One name in a table.

    Attributes:
        name: The name that users type.
        factory: ``"module:function"``, absolute; imported by `load`.
        summary: One line for listings.
    """

    name: str
    factory: str
    summary: str

    def load(self) -> Any:
        """Returns the factory, importing its module now."""
        return load_object(self.factory)


RowT = TypeVar("RowT", bound=Row)


class Table(Mapping[str, RowT], Generic[RowT]):
    """An ordered, read-only mapping from a name to its row; an unknown name is an error for people."""

    def __init__(self, kind: str, rows: tuple[RowT, ...]) -> None:
        self.kind = kind
        self._rows = {row.name: row for row in rows}
        if len(self._rows) != len(rows):
            raise ValueError(f"A name stands twice in the table of {kind}s.")

    def __getitem__(self, name: str) -> RowT:
        try:
            return self._rows[name]
        except KeyError:
            raise unknown_name_error(self.kind, self.kind.replace(" ", "_"), name, self._rows) from None

    def __contains__(self, name: object) -> bool:
        return name in self._rows

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)


def load_object(path: str) -> Any:
    """Returns the object that ``"module:attribute"`` names."""
    module, _, attribute = path.partition(":")
    return getattr(importlib.import_module(module), attribute)
