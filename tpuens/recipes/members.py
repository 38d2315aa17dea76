"""Finished runs that are to become one network: whether they go together, and what they hold."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import keras

from ..data.examples import Examples
from ..errors import ConfigurationError, DataError, WeightsError
from ..training.losses import Activation, activation_of
from .config import TrainConfig, read_config
from .parts import load_parts
from .run_folder import RunFolder


@dataclass(frozen=True, kw_only=True)
class Member:
    """A finished run, by a name that no other member has."""

    name: str
    folder: RunFolder
    config: TrainConfig

    @property
    def activation(self) -> Activation:
        """What makes probabilities of its model's logits."""
        return activation_of(self.config.loss.name)


def open_members(runs: Sequence[Path]) -> list[Member]:
    """Returns finished runs of one data set, split and kind of classes.

    Raises:
        ConfigurationError: There are fewer than two, or their data sets, colours or kinds of classes differ.
        DataError: A folder holds no run, or their splits differ; the message shows the first ids.
    """
    if len(runs) < 2:
        raise ConfigurationError(f"An ensemble has at least two members. Received: {len(runs)}")
    names = [path.resolve().name for path in runs]
    if len(set(names)) < len(names):
        names = [f"{number}: {name}" for number, name in enumerate(names, 1)]
    folders = [RunFolder(path) for path in runs]
    members = [
        Member(name=name, folder=folder, config=read_config(folder))
        for name, folder in zip(names, folders, strict=True)
    ]
    first = members[0]
    for member in members[1:]:
        for what in ("dataset", "colour"):
            ours, theirs = getattr(first.config, what), getattr(member.config, what)
            if ours != theirs:
                raise ConfigurationError(
                    f"Runs in one network share their {what}. "
                    f"Received: {first.name} with {ours!r} and {member.name} with {theirs!r}"
                )
        if first.activation != member.activation:
            raise ConfigurationError(
                "Runs in one network all have one class an example, or all have any number. Received: "
                f"{first.name} with {first.config.loss.name} and {member.name} with {member.config.loss.name}"
            )
        _check_same_split(first, member)
    return members


def _check_same_split(first: Member, member: Member) -> None:
    ours, theirs = (one.folder.read_json("split.json") for one in (first, member))
    for part in ("train", "validation"):
        differ = sorted(set(ours[part]) ^ set(theirs[part]))
        if differ:
            raise DataError(
                "Runs in one network share their split, or what one was trained on would judge another: "
                f"train them with the same split and seed of it. Received: {first.folder.path} and "
                f"{member.folder.path}, whose {part} parts differ in {len(differ)} examples, the first "
                f"{', '.join(differ[:3])}"
            )


def load_member_parts(config: TrainConfig, folder: RunFolder, only: str | None = None) -> dict[str, Examples]:
    """Returns the parts of the data that a run was made with; all, or only one.

    Raises:
        DataError: The data is another now.
    """
    parts = load_parts(config)[0]
    if only is not None:
        parts = {only: parts[only]}
    split = folder.read_json("split.json")
    for name, examples in parts.items():
        if examples.ids.tolist() != split[name]:
            raise DataError(
                f"The {name} part of {config.dataset} is not what the run was made with: give the same "
                f"files with --data-dir. Received: {config.data_dir or 'the data where it usually lies'}"
            )
    return parts


def load_model(folder: RunFolder) -> keras.Model:
    """Returns a run's trained model.

    Raises:
        WeightsError: There is none yet, or it cannot be read.
    """
    if not folder.model.exists():
        raise WeightsError(
            f"This run has not finished: go on with `tpuens train --resume {folder.path}`. "
            f"Received: {folder.path}, without {folder.model.name}"
        )
    try:
        return keras.saving.load_model(folder.model, compile=False)
    except (OSError, ValueError, TypeError) as error:
        raise WeightsError(
            f"The model cannot be read: train again. Received: {folder.model} ({error})"
        ) from error
