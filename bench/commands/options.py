"""Options that several commands have, and what they make of the scenarios that are asked for."""

import functools
import json
import math
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from tpuens.commands.options import resolve_data_dir
from tpuens.data.augment import AUGMENTATIONS
from tpuens.errors import ConfigurationError, DeviceError, unknown_name_error

from ..scenarios.table import SCENARIOS
from ..settings import SETTINGS, change_scenario, read_settings
from ..suites import Scenario, find_scenarios

if TYPE_CHECKING:
    from ..execution.limits import Limits

Backbone = Annotated[str | None, typer.Option(help="Another backbone in all scenarios.")]
ImageSize = Annotated[int | None, typer.Option(help="Height and width in all scenarios.")]
BatchSize = Annotated[int | None, typer.Option(help="Examples on each replica.")]
DtypePolicy = Annotated[str | None, typer.Option(help="float32, mixed_bfloat16 or mixed_float16.")]
Jit = Annotated[bool | None, typer.Option("--jit/--no-jit", help="Compile with XLA.")]
DatasetName = Annotated[str | None, typer.Option(help="Another data set in scenarios that use one.")]
Augment = Annotated[
    str | None,
    typer.Option(
        help=f"Augmentations of the input pipeline, joined by +, or none: {', '.join(AUGMENTATIONS)}."
    ),
]
Colour = Annotated[str | None, typer.Option(help="rgb or grey.")]
Cache = Annotated[str | None, typer.Option(help="Where decoded images are kept: none, memory or disk.")]
Prefetch = Annotated[int | None, typer.Option(help="Batches that are made ahead.")]
NumParallelCalls = Annotated[int | None, typer.Option(help="Images that are read at a time.")]
StepsPerExecution = Annotated[int | None, typer.Option(help="Training steps in a call.")]
Loop = Annotated[
    str | None, typer.Option(help="Whose training loop: tpuens, keras-fit, timm or timm-channels-last.")
]
Loader = Annotated[
    str | None,
    typer.Option(help="Who reads images: tpuens, article, torchvision, pil-draft, grain or decode-only."),
]
Optimizer = Annotated[
    str | None,
    typer.Option(help="Whose optimizer: keras, or fused for one kernel a weight (default the loop's own)."),
]
Option = Annotated[
    list[str] | None,
    typer.Option(help="NAME=VALUE for scenarios that have such an option, as `list` shows them."),
]
Env = Annotated[
    list[str] | None, typer.Option(help="NAME=VALUE for the workers, such as XLA_FLAGS or thread counts.")
]
TimeLimit = Annotated[float, typer.Option(help="Seconds after which a run is stopped.")]
MemoryLimit = Annotated[
    float | None, typer.Option(help="GiB above which a run is stopped (default: 0.9 of what is free).")
]


def collect_settings(given: Mapping[str, Any]) -> dict[str, str]:
    """Returns what was given for each setting of a scenario as text, as `bench.settings` reads it.

    Args:
        given: Of a command's call, by the names of its options; those that are no settings do not count.
    """
    switch = {True: "on", False: "off"}
    return {
        name: switch[value] if isinstance(value, bool) else str(value)
        for name, value in given.items()
        if name in SETTINGS and value is not None
    }


def choose_scenarios(
    names: list[str], settings: dict[str, str], options: list[str] | None, data_dir: str | None
) -> tuple[str, tuple[Scenario, ...]]:
    """Returns the name to file the runs under, and the scenarios with what the command line sets.

    Raises:
        ConfigurationError: A name or value is not known.
    """
    suite, scenarios = find_scenarios(names)
    changes = read_settings(settings)
    changes["data_dir"] = resolve_data_dir(data_dir)
    return suite, _override(scenarios, changes, parse_pairs("option", options or []))


def vary_scenario(scenario: Scenario, field: str, text: str, settings: Mapping[str, str]) -> Scenario:
    """Returns the scenario with one setting as typed; `planted` too, where "none" plants nothing.

    Args:
        scenario: Both arms', with the settings.
        field: What is varied.
        text: What was typed for it.
        settings: What was typed for others: an image size holds for every backbone.

    Raises:
        ConfigurationError: There is no such setting, or it means nothing to the scenario.
    """
    if field == "planted":
        from ..scenarios.planting import parse_fault

        if text != "none":
            parse_fault(text)
        return msgspec.structs.replace(scenario, planted=None if text == "none" else text)
    changes = read_settings({**settings, field: text})
    name = field.replace("-", "_")
    if name in SCENARIOS[scenario.name].ignores:
        raise ConfigurationError(
            f"The setting {field} means nothing to {scenario.name}, so both arms would be the same. "
            f"Received: vary={field}"
        )
    return change_scenario(scenario, changes)


def parse_budget(text: str) -> float:
    """Returns the seconds that a text such as 90s, 5m or 1h tells.

    Raises:
        ConfigurationError: It tells none.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh]?)", text.strip())
    if found is None or float(found[1]) == 0:
        raise ConfigurationError(f"Expected a time such as 90s, 5m or 1h. Received: budget={text!r}")
    return float(found[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[found[2]]


def make_limits(time_limit: float, memory_limit: float | None) -> "Limits":
    """Returns when a worker is stopped, by the options of that name: seconds and GiB.

    Raises:
        ConfigurationError: One of them is no number above 0.
    """
    from ..execution.limits import default_limits

    for name, value in (("time_limit", time_limit), ("memory_limit", memory_limit)):
        if value is not None and not 0 < value < math.inf:
            raise ConfigurationError(f"A limit is a number above 0. Received: {name}={value:g}")
    limits = replace(default_limits(), seconds=time_limit)
    return limits if memory_limit is None else replace(limits, memory_bytes=int(memory_limit * 2**30))


def _override(
    scenarios: tuple[Scenario, ...], changes: dict[str, Any], options: dict[str, str]
) -> tuple[Scenario, ...]:
    """Returns the scenarios with what the command line sets; those that become the same count once."""
    known = {name for scenario in scenarios for name in SCENARIOS[scenario.name].options}
    for name in options:
        if name not in known:
            raise unknown_name_error("option", "option", name, known)
    unique: list[Scenario] = []
    for scenario in scenarios:
        row = SCENARIOS[scenario.name]
        own = {
            name: _convert(name, text, row.options[name])
            for name, text in options.items()
            if name in row.options
        }
        changed = change_scenario(scenario, {**changes, "options": scenario.options | own})
        if all(msgspec.structs.replace(one, seconds=changed.seconds) != changed for one in unique):
            unique.append(changed)
    return tuple(unique)


def _convert(name: str, text: str, default: str | int | float) -> str | int | float:
    try:
        return type(default)(text)
    except ValueError:
        raise ConfigurationError(
            f"The option {name} is a number such as {default}. Received: option='{name}={text}'"
        ) from None


def check_strategies(names: list[str] | None) -> list[str]:
    """Returns the names of the strategies, once this machine alone is meant; for auto what it takes here.

    Raises:
        ConfigurationError: One is unknown, or of several machines.
    """
    from tpuens.hardware.strategies import STRATEGIES

    for name in names or ():
        if STRATEGIES[name.partition(":")[0]].name == "multi-worker":
            raise ConfigurationError(
                "One launcher measures one machine: multi-worker is for `tpuens train`. "
                f"Received: strategy={name!r}"
            )
    return [_find_best() if name == "auto" else name for name in names or ()]


def _find_best() -> str:
    """Returns the strategy that `auto` opens: a record is to say which, and a TPU takes one process.

    Raises:
        DeviceError: There is a TPU which cannot be used.
    """
    from tpuens.hardware.strategies import NO_TPU

    reason = look_at_machine()["strategies"].get("tpu", NO_TPU)
    if reason not in (None, NO_TPU):
        raise DeviceError(f"{reason}. To go without the TPU, name another strategy, such as cpu.")
    able = find_strategies()
    gpus = [name for name in able if name.startswith("gpu:")]
    return next((name for name in ("tpu", "gpu-mirrored", *gpus) if name in able), "cpu")


def find_strategies() -> list[str]:
    """Returns every strategy that can run here."""
    strategies = look_at_machine()["strategies"]
    return [name for name, reason in strategies.items() if reason is None and name != "multi-worker"]


@functools.cache
def look_at_machine() -> dict[str, Any]:
    """Returns what `tpuens devices` tells; another process looks, so TensorFlow stays out of this.

    Raises:
        DeviceError: It fails.
    """
    start = "from tpuens.cli import main; import sys; sys.argv[1:] = ['devices', '--json']; main()"
    typer.echo("Looking at what this machine has …", err=True)
    answer = subprocess.run([sys.executable, "-c", start], capture_output=True, text=True, check=False)
    if answer.returncode:
        raise DeviceError(f"`tpuens devices` failed: {answer.stderr.strip().splitlines()[-1:]}")
    found: dict[str, Any] = json.loads(answer.stdout)
    return found


def parse_pairs(field: str, texts: list[str]) -> dict[str, str]:
    """Returns names and values of texts such as NAME=VALUE.

    Raises:
        ConfigurationError: A text is none; the message names the field.
    """
    pairs = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise ConfigurationError(f"Expected NAME=VALUE. Received: {field}={text!r}")
        pairs[name] = value
    return pairs
