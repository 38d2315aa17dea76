"""`tpuens-bench choose`: which machine for a training of one's own, from the records of many."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from tpuens.errors import ConfigurationError, unknown_name_error

from .report import PriceOption

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..analysis.merging import Merged
    from ..reporting.tables import Table


def choose(
    folders: Annotated[list[Path], typer.Argument(help="Results of any number of runs and machines.")],
    examples: Annotated[int, typer.Option(min=1, help="Examples in an epoch of your own data.")],
    epochs: Annotated[int, typer.Option(min=1, help="Epochs that you want to train.")],
    target_accuracy: Annotated[
        float, typer.Option(min=0, max=1, help="Leave out what is known to stay below this share.")
    ] = 0.0,
    budget: Annotated[float | None, typer.Option(min=0, help="Dollars; what costs more is marked.")] = None,
    backbone: Annotated[str | None, typer.Option(help="This backbone only.")] = None,
    modelled: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FOLDER",
            help="Results of preflight: adds what a roofline allows devices that are not here, marked as "
            "modelled; may be given again.",
        ),
    ] = None,
    price: PriceOption = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown.")] = False,
) -> None:
    """Rank machines by the time and the dollars that a training of your own would take on each."""
    from ..analysis.choice import Plan, find_peers, rank_choices, sort_choices
    from ..analysis.economics import Prices, parse_prices
    from ..analysis.merging import merge_folders
    from ..records.store import RecordError
    from ..reporting import choice as show
    from ..reporting.numbers import plain

    for name, value in (("target_accuracy", target_accuracy), ("budget", budget)):
        if value is not None and math.isnan(value):  # which no bound keeps out
            raise ConfigurationError(f"Expected a number. Received: {name}={value:g}")
    plan = Plan(
        examples=examples,
        epochs=epochs,
        target_accuracy=target_accuracy,
        budget=budget,
        backbone=backbone,
    )
    given = parse_prices(price or [])
    merged = merge_folders(folders)
    _check_backbone(backbone, merged)
    labels = {one.environment.machine_label for folder in merged.folders for one in folder if one.environment}
    prices = Prices(given, labels)
    choices, below = rank_choices(merged.folders, plan, prices)
    left_out = show.peer_sentences(find_peers(merged.folders, backbone))
    if modelled:
        from ..preflight.choosing import model_choices, read_modelled

        rows, without = model_choices(read_modelled(modelled), plan, prices)
        choices = sort_choices([*choices, *rows])
        left_out += map(plain, without)
    if json:
        facts = {
            "plan": msgspec.to_builtins(plan),
            "choices": [show.choice_facts(choice) for choice in choices],
            "below_the_accuracy_floor": [show.choice_facts(choice) for choice in below],
            "left_out": left_out,
            "not_counted": [{"file": str(one.path), "reason": one.reason} for one in merged.refusals],
        }
        typer.echo(msgspec.json.format(msgspec.json.encode(facts), indent=2).decode())
        return
    if not choices and not below:
        raise RecordError(
            f"No record tells how fast {backbone or 'anything'} trains: choose needs train-epoch or "
            f"train-step. {' '.join([*left_out, 'Received:'])} {', '.join(map(str, folders))}"
        )
    tables = show.choice_tables(choices, plan, brief=not markdown)
    sentences = [*show.choice_sentences(choices, below, merged.refusals, plan), *left_out]
    _show(tables, sentences, markdown=markdown)


def _show(tables: "Sequence[Table]", sentences: "Sequence[str]", *, markdown: bool) -> None:
    if markdown:
        from ..reporting.tables import markdown_table, markdown_text

        typer.echo("\n".join(map(markdown_table, tables)))
        typer.echo("\n".join(f"- {markdown_text(sentence)}" for sentence in sentences))
        return
    from rich.console import Console

    from ..reporting.choice import terminal_choices

    console = Console()
    for table in tables:
        console.print(terminal_choices(table))
    for sentence in sentences:
        console.print(sentence, markup=False, highlight=False)


def _check_backbone(backbone: str | None, merged: "Merged") -> None:
    from tpuens.models.backbones import BACKBONES

    measured = {one.workload.backbone for folder in merged.folders for one in folder if one.workload.backbone}
    if backbone is not None and backbone not in measured | BACKBONES.keys():
        raise unknown_name_error("backbone", "backbone", backbone, measured | BACKBONES.keys())
