"""What a person types for the settings of a scenario, checked and made into changes of it.

`run` takes each as an option of its own; a comparison varies one of them (``--vary augment=none,shift``).
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, get_args

import msgspec

from tpuens.data.augment import AUGMENTATIONS
from tpuens.data.datasets import DATASETS
from tpuens.errors import ConfigurationError, unknown_name_error
from tpuens.models.backbones import BACKBONES, DTYPE_POLICIES

from .peers.table import LOADERS, LOOPS, Peer, check_packages
from .scenarios.table import SCENARIOS
from .suites import Cache, Colour, Loader, Loop, Optimizer, Scenario


def read_settings(texts: Mapping[str, str]) -> dict[str, Any]:
    """Returns changes of a `Scenario`, by the names of its fields, for `change_scenario`.

    Args:
        texts: What was typed for each setting, by the name of its option: ``batch-size`` or ``batch_size``,
            a whole number; ``jit``, on or off; ``augment``, names joined by ``+``, or none; and so on.

    Raises:
        ConfigurationError: There is no such setting, or it cannot be what was typed.
    """
    changes: dict[str, Any] = {}
    for name, text in texts.items():
        field = name.replace("-", "_")
        if field not in _READERS:
            raise unknown_name_error("setting", "setting", name, [key.replace("_", "-") for key in _READERS])
        changes[field] = _READERS[field](field, text)
    if "backbone" in changes:
        # The size that suits the suite's backbone need not suit this one.
        changes = {"image_size": BACKBONES[changes["backbone"]].image_size} | changes
    return changes


def change_scenario(scenario: Scenario, changes: Mapping[str, Any]) -> Scenario:
    """Returns the scenario with those of the changes that mean something to it; see `ScenarioRow.ignores`."""
    ignored = SCENARIOS[scenario.name].ignores
    return msgspec.structs.replace(
        scenario, **{field: value for field, value in changes.items() if field not in ignored}
    )


def _read_name(kind: str, names: Iterable[str]) -> Callable[[str, str], str]:
    def read(field: str, text: str) -> str:
        if text not in names:
            raise unknown_name_error(kind, field, text, names)
        return text

    return read


def _read_count(field: str, text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ConfigurationError(f"Expected a whole number of 1 or more. Received: {field}={text!r}")
    return int(text)


def _read_switch(field: str, text: str) -> bool:
    if text not in ("on", "off"):
        raise ConfigurationError(f"Expected on or off. Received: {field}={text!r}")
    return text == "on"


def _read_arm(kind: str, names: Iterable[str], peers: Mapping[str, Peer]) -> Callable[[str, str], str]:
    """Returns what reads our own name or that of a peer, whose packages must be here."""

    def read(field: str, text: str) -> str:
        _read_name(kind, names)(field, text)
        if text in peers:
            check_packages([peers[text]])
        return text

    return read


def _read_augment(field: str, text: str) -> tuple[str, ...]:
    return () if text == "none" else tuple(AUGMENTATIONS[name].name for name in text.split("+"))


# Tables are asked on use, and not here, so that a row added later counts.
_READERS: dict[str, Callable[[str, str], Any]] = {
    "backbone": lambda field, text: BACKBONES[text].name,
    "image_size": _read_count,
    "batch_size": _read_count,
    "dataset": lambda field, text: DATASETS[text].name,
    "dtype_policy": _read_name("dtype policy", DTYPE_POLICIES),
    "jit": _read_switch,
    "augment": _read_augment,
    "colour": _read_name("colour", get_args(Colour)),
    "cache": _read_name("cache", get_args(Cache)),
    "prefetch": _read_count,
    "num_parallel_calls": _read_count,
    "steps_per_execution": _read_count,
    "loop": _read_arm("loop", get_args(Loop), LOOPS),
    "loader": _read_arm("loader", get_args(Loader), LOADERS),
    "optimizer": _read_name("implementation of the optimizer", get_args(Optimizer)),
}
SETTINGS = tuple(_READERS)
