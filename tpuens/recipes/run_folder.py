"""The folder of one training run: what was asked, what happened, and what came out."""

import csv
import json
import re
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from ..errors import ConfigurationError, DataError
from ..whole import whole_file

MODEL_FILE = "model.keras"
_REFUSAL = "A file of a run cannot be written: make room, then go on with `--resume`."
SPLITS = ("train", "validation", "test")


class RunFolder:
    """Reads and writes the files of a run; each is written whole or not at all.

    ``config.json`` (what was asked), ``batch.json`` (replicas, and examples in a step), ``split.json`` (ids
    of each part, and of the corrupt images that were left out as ``skipped``), ``history.csv`` and
    ``history.png`` (a row an epoch), ``checkpoints/``, ``features/`` (of a frozen backbone), ``model.keras``,
    ``predictions/PART.npz``, ``metrics.json``, ``confusion-PART.png``, ``predictions.png`` (sixteen images),
    ``environment.json``.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def checkpoints(self) -> Path:
        """The folder of checkpoints."""
        return self.path / "checkpoints"

    @property
    def features(self) -> Path:
        """The folder of a frozen backbone's features."""
        return self.path / "features"

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
        if re.match(r"\w{2,}:/", str(self.path)):  # gs:// as a path: a drive has one letter
            raise ConfigurationError(
                "A run writes to a folder of this machine: choose one, and copy it afterwards. "
                f"Received: output={str(self.path)!r}"
            )
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            is_empty = all(path.suffix == ".part" for path in self.path.iterdir())
        except OSError as error:
            raise ConfigurationError(
                f"The run's folder cannot be made ({error.strerror}): choose another --output. "
                f"Received: output={str(self.path)!r}"
            ) from error
        if not is_empty:
            raise ConfigurationError(
                f"A run writes to a new folder; `--resume {self.path}` goes on with the run in this one. "
                f"Received: output={str(self.path)!r}, which is not empty"
            )

    def write_split(self, split: Mapping[str, Sequence[str]]) -> None:
        """Writes the ids of each part; a run that is resumed must have the same ones.

        Raises:
            DataError: The run was begun with others.
        """
        if not (self.path / "split.json").exists():
            self.write_json("split.json", split)
            return
        before = self.read_json("split.json")
        changed = [name for name in split if split[name] != before.get(name)]
        if changed:
            new = sorted(set(chain(*split.values())) - set(chain(*before.values())))
            raise DataError(
                "A run is resumed with the data that it was begun with, or examples that were held out would "
                "be trained on: put the files back as they were, or start a new run with another --output. "
                f"Received: {self.path}, with another {' and '.join(changed)} part now"
                + (f" and {len(new)} new examples, the first of them {new[0]}" if new else "")
            )

    def write_batch(self, replicas: int, global_batch_size: int) -> None:
        """Writes how many examples a step takes, of how many replicas; a resumed run must take as many.

        Raises:
            ConfigurationError: The run was begun with others, to which its schedule and its steps belong.
        """
        batch = {"replicas": replicas, "global_batch_size": global_batch_size}
        before = self.read_json("batch.json") if (self.path / "batch.json").exists() else batch
        if before != batch:
            raise ConfigurationError(
                "A run goes on with the steps that it was begun with, since its learning rates count them: "
                f"resume it on {before['replicas']} replicas, or remove this folder to begin this run anew. "
                f"Received: {self.path}, whose "
                f"steps took {before['global_batch_size']} examples, on {replicas} replicas of "
                f"{global_batch_size // replicas} each"
            )
        self.write_json("batch.json", batch)

    def write_json(self, name: str, content: Any) -> None:
        """Writes one JSON file."""
        self.write_text(name, json.dumps(content, indent=1) + "\n")

    def read_json(self, name: str) -> Any:
        """Returns what a JSON file of the run holds.

        Raises:
            DataError: It is missing or broken: this is no run's folder, or the run did not get that far.
        """
        try:
            return json.loads(self.read_text(name))
        except ValueError as error:
            raise DataError(f"{self.path / name} cannot be read: {error}") from error

    def read_text(self, name: str) -> str:
        """Returns what a text file of the run holds.

        Raises:
            DataError: It is missing or broken: this is no run's folder, or the run did not get that far.
        """
        path = self.path / name
        try:
            return path.read_text()
        except FileNotFoundError:
            raise DataError(
                f"Expected the folder of a run, with {name} in it. Received: {self.path}"
            ) from None
        except (OSError, ValueError) as error:
            raise DataError(f"{path} cannot be read: {error}") from error

    def write_history(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Writes the history, a row an epoch."""
        self.write_table("history.csv", rows)

    def write_table(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Writes rows with the same columns as CSV."""
        lines = [",".join(rows[0])] if rows else []
        lines += [",".join("" if value is None else str(value) for value in row.values()) for row in rows]
        self.write_text(name, "\n".join(lines) + "\n")

    def read_history(self) -> list[dict[str, str]]:
        """Returns the rows of the history; none where no epoch was finished."""
        path = self.path / "history.csv"
        if not path.exists():
            return []
        with path.open(newline="") as file:
            return list(csv.DictReader(file))

    def write_model(self, model: Any) -> None:
        """Writes the trained Keras model."""
        # Keras goes by the ending.
        with whole_file(self.model, _REFUSAL, part=self.path / "part.keras") as part:
            model.save(part)

    def write_text(self, name: str, text: str) -> None:
        """Writes one text file."""
        with whole_file(self.path / name, _REFUSAL) as part:
            part.write_text(text)
