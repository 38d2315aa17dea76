"""One tree of errors, each written for the person who reads it.

A message states the rule, then what would do, then what came (``Received: …``). The command line prints
the message without a traceback and exits with the error's ``exit_code``.
"""

import difflib
from collections.abc import Iterable


class TpuensError(Exception):
    """Anything that the user can read and act on. Exit code 2: mend the call, or what it points at."""

    exit_code = 2


class ConfigurationError(TpuensError):
    """A name, number or combination of options that cannot be used."""


class DataError(TpuensError):
    """A data set, image, split or prediction file that is missing, broken or inconsistent."""


class MissingSplitError(DataError):
    """A split of which a folder of data holds nothing."""


class DeviceError(TpuensError):
    """A device or strategy that this machine, or this process, cannot offer."""


class WeightsError(TpuensError):
    """Model weights that cannot be found, downloaded or read, or that do not fit the model."""


class RunError(TpuensError):
    """A run that failed though its call was right. Exit code 1."""

    exit_code = 1


class InterruptedRunError(TpuensError):
    """Work that was stopped by Ctrl-C or a termination signal, with what was finished kept."""

    exit_code = 130


def unknown_name_error(kind: str, field: str, received: str, expected: Iterable[str]) -> ConfigurationError:
    """Returns the error for a name that is not in a table, with the nearest names that are.

    Args:
        kind: What the table holds, in the singular (``"backbone"``).
        field: The option or argument that carried the name.
        received: The name that came.
        expected: The names that would do.
    """
    names = sorted(expected)
    near = difflib.get_close_matches(received.lower(), names, n=3, cutoff=0.6)
    # Two letters that changed places are the likelier slip, and difflib takes them for two.
    near.sort(key=lambda name: sorted(name) != sorted(received.lower()))
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return ConfigurationError(
        f"Unknown {kind}.{hint} Expected one of: {', '.join(names)}. Received: {field}={received!r}"
    )
