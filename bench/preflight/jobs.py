"""What a preflight looks at: a training step on a target, and whether this environment can compile for it."""

from collections.abc import Iterable
from dataclasses import dataclass
from importlib import metadata

from tpuens.errors import ConfigurationError

from .messages import Step
from .targets import Target


@dataclass(frozen=True, kw_only=True)
class Job:
    """A step on a target; None where only what needs no compiler is wanted."""

    step: Step
    target: Target | None

    @property
    def title(self) -> str:
        """Returns what a person reads while it runs."""
        where = f" for {self.target.name}" if self.target else ""
        return f"{self.step.backbone}@{self.step.image_size}{where}"


def find_compilers(targets: Iterable[Target]) -> None:
    """Holds this environment against what compiling for the targets needs.

    Raises:
        ConfigurationError: An extra is not installed.
    """
    for compiler in dict.fromkeys(target.compiler for target in targets):
        missing = [name for name in compiler.packages if not _installed(name)]
        if missing:
            raise ConfigurationError(
                f"Compiling for {compiler.need}, 1.2 GB, on Linux (x86-64) and Python 3.11 or later: "
                f"pip install 'tpuens[{compiler.extra}]', or for the checks that need none give --static. "
                f"Received: an environment without {', '.join(missing)}"
            )


def _installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True
