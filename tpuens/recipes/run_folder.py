"""The folder of one training run: what was asked, what happened, and what came out."""

import csv
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import ConfigurationError, DataError

MODEL_FILE = "model.keras"
SPLITS = ("train", "validation", "test")


class RunFolder:
    """Reads and writes the files of a run; each is written whole or not at all.

    ``config.json`` (what was asked), ``split.json`` (ids of each part), ``history.csv`` (a row an epoch),
    ``checkpoints/``, ``model.keras``, ``predictions/PART.npz``, ``metrics.json``.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def checkpoints(self) -> Path:
        """The folder of checkpoints."""
        return self.path / "checkpoints"

    @property
    def model(self) -> Path:
        """The trained model in Keras's format; present once training is through."""
        return self.path / MODEL_FILE

    def predictions(self, split: str) -> Path:
        """Returns where the predictions of a part of the data lie."""
        return self.path / "predictions" / f"{split}.npz"

    def create(self) -> None:
        """Makes the folder.

        Raises:
            ConfigurationError: Something lies there already, or it cannot be made.
        """
        if self.path.exists() and any(self.path.iterdir()):
            raise ConfigurationError(
                f"A run writes to a new folder; `--resume {self.path}` goes on with the run in this one. "
                f"Received: output={str(self.path)!r}, which is not empty"
            )
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigurationError(
                f"The run's folder cannot be made ({error.strerror}): choose another --output. "
                f"Received: output={str(self.path)!r}"
            ) from error

    def write_json(self, name: str, content: Any) -> None:
        """Writes one JSON file."""
        self._write(name, json.dumps(content, indent=1) + "\n")

    def read_json(self, name: str) -> Any:
        """Returns what a JSON file of the run holds.

        Raises:
            DataError: It is missing or broken: this is no run's folder, or the run did not get that far.
        """
        path = self.path / name
        try:
            return json.loads(path.read_text())
        except FileNotFoundError:
            raise DataError(f"Expected the folder of a run, with {name} in it. Received: {self.path}") from None
        except (OSError, ValueError) as error:
            raise DataError(f"{path} cannot be read: {error}") from error

    def write_history(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Writes the history, a row an epoch."""
        lines = [",".join(rows[0])] if rows else []
        lines += [",".join("" if value is None else str(value) for value in row.values()) for row in rows]
        self._write("history.csv", "\n".join(lines) + "\n")

    def read_history(self) -> list[dict[str, str]]:
        """Returns the rows of the history; none where no epoch was finished."""
        path = self.path / "history.csv"
        if not path.exists():
            return []
        with path.open(newline="") as file:
            return list(csv.DictReader(file))

    def _write(self, name: str, text: str) -> None:
        path = self.path / name
        part = path.with_suffix(path.suffix + ".part")
        try:
            part.write_text(text)
            os.replace(part, path)
        except OSError as error:
            raise DataError(
                f"{path} cannot be written: make room, then go on with `--resume`. ({error.strerror})"
            ) from error
