"""`tpuens-bench env`: what a record would say of this machine."""

import os

import msgspec
import typer


def show_environment() -> None:
    """Print the environment as a record would hold it."""
    from tpuens.quiet import import_tensorflow_quietly

    from ..measuring.environment import collect_environment, take_reading

    import_tensorflow_quietly()
    reading = take_reading()
    environment = collect_environment(
        seed=None,
        dataset_fingerprint=None,
        variables=os.environ,
        load_before=reading.load,
        frequency_before=reading.frequency_hz,
    )
    typer.echo(msgspec.json.format(msgspec.json.encode(environment), indent=1).decode())
