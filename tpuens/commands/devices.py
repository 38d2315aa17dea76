"""`tpuens devices`."""

import json
from dataclasses import asdict

import typer

from ..quiet import import_tensorflow_quietly
from .options import Json


def devices(as_json: Json = False) -> None:
    """Show what this machine has, and which strategies can run on it."""
    from rich.console import Console

    from ..hardware.devices import collect_devices, fingerprint_hardware
    from ..hardware.show import format_devices
    from ..hardware.strategies import list_strategies

    import_tensorflow_quietly()
    report, strategies = collect_devices(), list_strategies()
    if as_json:
        facts = {"fingerprint": fingerprint_hardware(report), "strategies": strategies}
        typer.echo(json.dumps(asdict(report) | facts, indent=1))
    else:
        Console().print(format_devices(report, strategies))
