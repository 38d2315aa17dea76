"""Options that several commands have, and how their texts become values."""

from typing import Annotated, Any

import typer

from ..errors import ConfigurationError

DataDir = Annotated[
    str | None,
    typer.Option(
        help="Folder of the data set's files, or its gs:// URL; else $TPUENS_DATA_DIR and the usual places."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
StrategyName = Annotated[
    str, typer.Option(help="auto, cpu, cpu-mirrored:N, gpu[:K], gpu-mirrored, tpu[:NAME], multi-worker.")
]
DtypePolicy = Annotated[str, typer.Option(help="float32, mixed_bfloat16 or mixed_float16.")]
Views = Annotated[
    str,
    typer.Option(
        help="Test-time augmentation: predict the mean over plain, flip-horizontal, flip-vertical, flip-both."
    ),
]


def choose(field: str, value: str, expected: tuple[str, ...]) -> Any:
    """Returns the value, once it is known to be one of those expected.

    Raises:
        ConfigurationError: It is not.
    """
    if value not in expected:
        raise ConfigurationError(f"Expected one of: {', '.join(expected)}. Received: {field}={value!r}")
    return value


def split_names(text: str) -> tuple[str, ...]:
    """Returns the names in a text that are separated by commas."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def parse_numbers(text: str, what: str) -> tuple[float, ...]:
    """Returns the numbers in a text that are separated by commas.

    Raises:
        ConfigurationError: One is no number.
    """
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise ConfigurationError(
            f"{what} are numbers separated by commas, such as 0.3,0.7. Received: {text!r}"
        ) from None


def resolve_data_dir(data_dir: str | None) -> str | None:
    """Returns a data folder that stays the same when the current folder changes; a URL as it is."""
    if data_dir is None:
        return None
    from ..data.remote import is_remote, make_path

    path = make_path(data_dir)
    return data_dir if is_remote(data_dir) else str(path)


def list_given(context: typer.Context, *but: str) -> list[str]:
    """Returns the names of the options that the command line gives.

    Args:
        context: Of the call.
        but: The names of the command's parameters that do not count.
    """
    return [
        parameter.opts[0]
        for parameter in context.command.params
        if parameter.param_type_name == "option"
        and parameter.name
        and parameter.name not in but
        # By its name, since Typer brings a Click of its own or takes the one that is installed.
        and getattr(context.get_parameter_source(parameter.name), "name", "") == "COMMANDLINE"
    ]
