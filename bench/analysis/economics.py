"""What runs cost: price × time, with the price's origin beside it; and the energy of an example.

A price is the user's own (`--price`), else the catalogue's. A machine is rented as a whole, with whatever of
it stands idle: the cheapest that holds all the devices of a run, or several where the catalogue has none so
large. A machine without an accelerator, and a device whose price nobody has told, have no price.
"""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tpuens.errors import ConfigurationError, unknown_name_error
from tpuens.hardware.catalogue import DeviceFacts, Price, find_device, load_catalogue

from ..records.record import Configuration, Environment, RunRecord
from .labels import reading_text
from .summary import Row

CURRENCY = "USD"


@dataclass(frozen=True, kw_only=True)
class Tariff:
    """What a run costs an hour, in dollars, and whose price that is, in words.

    Attributes:
        boards: Boards or chips that are paid for, whether the run uses them or not; None: not known.
    """

    dollars_per_hour: float
    origin: str
    boards: int | None = None

    def dollars(self, seconds: float) -> float:
        """Returns what so many seconds cost."""
        return self.dollars_per_hour * seconds / 3600


class Prices:
    """The prices of machines and devices: those given by the user go before those of the catalogue.

    Args:
        given: Dollars an hour, as `parse_prices` gives them: by the label of a machine, of the whole machine;
            by a SKU of the catalogue, of that whole SKU; by the name of a device, of each board or chip.
        machines: The labels of the machines in the records.

    Raises:
        ConfigurationError: A name is none of the three.
    """

    def __init__(self, given: Mapping[str, float], machines: Iterable[str]) -> None:
        labels = set(machines)
        known = load_catalogue().prices
        skus = {price.sku for price in known}
        self._of_machines = {name: price for name, price in given.items() if name in labels}
        self._of_skus = {name: price for name, price in given.items() if name in skus - labels}
        self._of_devices: dict[str, float] = {}
        for name in given.keys() - labels - skus:
            facts = find_device(name)
            if facts is None:
                devices = {facts.name for facts in load_catalogue().devices}
                raise unknown_name_error("machine, SKU or device", "price", name, labels | skus | devices)
            self._of_devices[facts.name] = given[name]

    def of(self, environment: Environment | None, configuration: Configuration) -> Tariff | None:
        """Returns what a run costs an hour; None where no price is known."""
        if environment is None:
            return None
        label = environment.machine_label
        if label in self._of_machines:
            price = self._of_machines[label]
            return Tariff(
                dollars_per_hour=price, origin=f"{label}: {price:g} {CURRENCY}/h, given by the user"
            )
        facts = _used_device(environment, configuration)
        return None if facts is None else self.of_device(facts, configuration.num_replicas or 1)

    def of_device(self, facts: DeviceFacts, replicas: int) -> Tariff | None:
        """Returns what so many devices, as TensorFlow shows them, cost an hour; None: no price is known."""
        boards = math.ceil(replicas / facts.devices)
        if facts.name in self._of_devices:
            price = self._of_devices[facts.name]
            origin = f"{boards} × {facts.name}: {price:g} {CURRENCY}/h each, given by the user"
            return Tariff(dollars_per_hour=boards * price, origin=origin, boards=boards)
        prices = self._find(facts)
        whole = [price for price in prices if price.devices >= boards]
        tariffs = [self._rent(price, boards) for price in whole or prices]
        return min(tariffs, key=lambda tariff: tariff.dollars_per_hour, default=None)

    def of_share(self, facts: DeviceFacts) -> Tariff | None:
        """Returns what a board or chip costs an hour in a machine all of which is used; None: not known."""
        if facts.name in self._of_devices:
            return self.of_device(facts, facts.devices)
        tariffs = []
        for price in self._find(facts):
            whole = self._rent(price, price.devices)
            share = whole.dollars_per_hour / price.devices
            tariffs.append(Tariff(dollars_per_hour=share, origin=whole.origin))
        return min(tariffs, key=lambda tariff: tariff.dollars_per_hour, default=None)

    def _find(self, facts: DeviceFacts) -> list[Price]:
        prices = [
            price
            for price in load_catalogue().prices
            if price.device == facts.name and price.currency == CURRENCY
        ]
        return [price for price in prices if price.sku in self._of_skus] or prices

    def _rent(self, price: Price, boards: int) -> Tariff:
        machines = math.ceil(boards / price.devices)
        given = self._of_skus.get(price.sku)
        per_hour = price.price_per_hour if given is None else given
        idle = machines * price.devices - boards
        words = [
            f"{machines} × " if machines > 1 else "",
            f"{price.provider} {price.sku} ({price.devices} × {price.device}), region {price.region}: ",
            f"{per_hour:g} {CURRENCY}/h",
            ", given by the user" if given is not None else "",
            f" on {price.date} ({price.source})" if given is None else "",
            f"; {idle} of its devices stand idle" if idle else "",
        ]
        return Tariff(
            dollars_per_hour=machines * per_hour, origin="".join(words), boards=machines * price.devices
        )


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What one reading costs. What does not apply or is not known is None.

    Attributes:
        per_million: Dollars for a million examples.
        per_epoch: Dollars for an epoch of the workload's own data.
        to_accuracy: Dollars until the target accuracy was reached, start-up left out.
        joules_per_example: Of all meters together, over the timed part.
        meters: What they covered, and how they were read.
    """

    row: Row
    tariff: Tariff | None
    per_million: float | None = None
    per_epoch: float | None = None
    to_accuracy: float | None = None
    joules_per_example: float | None = None
    meters: tuple[str, ...] = ()


def parse_prices(texts: Sequence[str]) -> dict[str, float]:
    """Returns the prices that ``NAME=DOLLARS`` texts give, in dollars an hour.

    Raises:
        ConfigurationError: A text is none, or its price is not a number above zero.
    """
    prices = {}
    for text in texts:
        name, equals, number = text.rpartition("=")
        try:
            price = float(number)
        except ValueError:
            price = math.nan
        if not (name.strip() and equals and math.isfinite(price) and price > 0):
            raise ConfigurationError(
                "Expected NAME=DOLLARS an hour, such as g6.xlarge=0.81 or 'NVIDIA T4=0.35', NAME a machine's "
                f"label, a SKU or a device. Received: price={text!r}"
            )
        prices[name.strip()] = price
    return prices


def find_costs(rows: Iterable[Row], records: Sequence[RunRecord], prices: Prices) -> list[Cost]:
    """Returns the cost of each reading for which there is a price or a meter.

    Args:
        rows: As `bench.analysis.pooling.pool` gives them; those of the input pipeline alone cost nothing by
            themselves.
        records: Those that the rows come from.
        prices: What machines cost.
    """
    by_id = {record.id: record for record in records}
    costs = []
    for row in rows:
        runs = [by_id[id] for id in row.record_ids]
        cost = _cost(row, runs, prices.of(runs[0].environment, row.configuration))
        amounts = (cost.per_million, cost.to_accuracy, cost.joules_per_example)
        if any(amount is not None for amount in amounts):
            costs.append(cost)
    return costs


def _cost(row: Row, runs: Sequence[RunRecord], tariff: Tariff | None) -> Cost:
    joules, meters = _energy(row, runs)
    per_million = per_epoch = to_accuracy = None
    if tariff and row.kind == "throughput" and row.series != "input" and row.examples_per_second:
        per_million = tariff.dollars(1e6 / row.examples_per_second)
        examples = row.workload.options.get("examples") if row.workload.phase == "train" else None
        per_epoch = per_million * float(examples) / 1e6 if examples else None
    elif tariff and row.kind == "time-to-accuracy" and row.seconds_to_accuracy is not None:
        to_accuracy = tariff.dollars(row.seconds_to_accuracy)
    return Cost(
        row=row,
        tariff=tariff,
        per_million=per_million,
        per_epoch=per_epoch,
        to_accuracy=to_accuracy,
        joules_per_example=joules,
        meters=meters,
    )


def _energy(row: Row, runs: Sequence[RunRecord]) -> tuple[float | None, tuple[str, ...]]:
    """Returns the median over the runs of joules an example, and the meters; of the same meters only."""
    found: dict[tuple[str, ...], list[float]] = {}
    for run in runs:
        energies = [energy for energy in run.energy if energy.series == row.reading]
        examples = [sum(series.examples) for series in run.series if reading_text(series) == row.reading]
        if energies and len(examples) == 1 and examples[0]:
            meters = tuple(f"{energy.method}: {energy.scope}" for energy in energies)
            joules = math.fsum(energy.joules for energy in energies)
            found.setdefault(meters, []).append(joules / examples[0])
    if len(found) != 1:
        return None, ()
    ((meters, values),) = found.items()
    return statistics.median(values), meters


def _used_device(environment: Environment, configuration: Configuration) -> DeviceFacts | None:
    """Returns the kind of device that a run used; None for a CPU, and where that cannot be told."""
    kind = configuration.strategy.partition("-")[0].partition(":")[0]
    models = {one.model for one in environment.accelerators if kind in (one.kind, "auto")}
    return find_device(models.pop()) if len(models) == 1 else None
