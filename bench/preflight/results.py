"""What a preflight found, as a file: the compiler's answers. Rates are modelled when it is read."""

from pathlib import Path
from typing import Literal

import msgspec

from tpuens.errors import ConfigurationError

from ..records.atomic import write_file
from ..records.record import Struct
from .messages import Compiled, Step

# The history of the schema of preflight results, apart from that of measured records.
#   1  2026-11  first version
SCHEMA_VERSION = 1
LABEL: Literal["modelled, not measured"] = "modelled, not measured"


class Attempt(Struct, frozen=True, kw_only=True):
    """One graph, compiled for one device.

    Attributes:
        batch_size: Examples on each replica.
        graph: The hash of its text.
    """

    batch_size: int
    graph: str | None
    compiled: Compiled


class PreflightResult(Struct, frozen=True, kw_only=True):
    """A training step on a device that is not here.

    Attributes:
        label: What every number in it is.
        created: ISO 8601, UTC.
        batch_size: What was asked for, on each replica.
        attempts: The first is of that batch; the others look for the largest.
        gradient_bytes: What replicas exchange in a step; None where the step could not be traced.
        advice: What the graph and the numbers show without a compiler.
        status: "failed" where not even the first batch could be looked at, with the reason.
    """

    schema_version: int = SCHEMA_VERSION
    label: Literal["modelled, not measured"] = LABEL
    created: str
    target: str
    backbone: str
    image_size: int
    dtype_policy: str
    batch_size: int
    replicas: int = 1
    status: Literal["ok", "failed"]
    reason: str | None = None
    attempts: tuple[Attempt, ...] = ()
    gradient_bytes: int | None = None
    parameters: int | None = None
    advice: tuple[str, ...] = ()
    versions: dict[str, str] = msgspec.field(default_factory=dict)

    @property
    def name(self) -> str:
        """Returns what its file is called, without the ending."""
        several = f"-x{self.replicas}" if self.replicas > 1 else ""
        return (
            f"modelled-{self.target}-{self.backbone}-{self.image_size}-{self.dtype_policy}"
            f"-b{self.batch_size}{several}"
        )

    @property
    def first(self) -> Compiled | None:
        """Returns what the compiler said of the batch that was asked for."""
        return self.attempts[0].compiled if self.attempts else None

    @property
    def said(self) -> dict[int, Compiled]:
        """Returns what the compiler said, by batch size."""
        return {one.batch_size: one.compiled for one in self.attempts}

    @property
    def step(self) -> Step:
        """Returns what was looked at, whichever the device."""
        return Step(
            backbone=self.backbone,
            image_size=self.image_size,
            batch_size=self.batch_size,
            dtype_policy=self.dtype_policy,
            replicas=self.replicas,
        )


def save_result(folder: Path, result: PreflightResult) -> PreflightResult:
    """Writes a result in the place of an earlier one of the same step, and returns what is written.

    What the earlier one knew besides is kept: compiles take up to an hour each.
    """
    path = folder / f"{result.name}.json"
    if path.exists():
        result = _keep_finished(result, _read(path))
    write_file(path, msgspec.json.format(msgspec.json.encode(result), indent=1) + b"\n", overwrite=True)
    return result


def _keep_finished(result: PreflightResult, earlier: PreflightResult) -> PreflightResult:
    if result.first is None or earlier.first is None or earlier.first.status == "stopped":
        return result
    if result.first.status == "stopped":
        return earlier
    if (result.versions, result.attempts[0].graph) != (earlier.versions, earlier.attempts[0].graph):
        return result
    tried = {one.batch_size for one in result.attempts if one.compiled.status != "stopped"}
    besides = [
        one for one in earlier.attempts if one.batch_size not in tried and one.compiled.status != "stopped"
    ]
    known = {one.batch_size for one in besides}
    attempts = (*(one for one in result.attempts if one.batch_size not in known), *besides)
    return msgspec.structs.replace(result, attempts=attempts)


def read_results(folder: Path) -> list[PreflightResult]:
    """Returns the results in a folder, by name.

    Raises:
        ConfigurationError: A file cannot be read, or is of a newer version.
    """
    return [_read(path) for path in sorted(folder.glob("modelled-*.json"))]


def _read(path: Path) -> PreflightResult:
    try:
        result = msgspec.json.decode(path.read_bytes(), type=PreflightResult)
        if result.schema_version != SCHEMA_VERSION:
            raise msgspec.ValidationError(f"its schema_version is {result.schema_version}")
        return result
    except (OSError, msgspec.MsgspecError) as error:
        raise ConfigurationError(
            f"A preflight result is a JSON file that this version wrote, whole ({error}). Remove it and run "
            f"`tpuens-bench preflight` again. Received: {path}"
        ) from error
