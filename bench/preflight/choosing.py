"""What preflight's results make of a plan: modelled rows for `tpuens-bench choose`, beside measured ones."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from tpuens.errors import ConfigurationError
from tpuens.hardware.catalogue import describe_devices

from ..analysis.choice import Choice, Plan
from ..analysis.economics import Prices
from ..records.record import Configuration, WorkloadKey
from .modelling import ARITHMETIC, Model, model_step
from .results import PreflightResult, read_results
from .targets import TARGETS

_GIB = 2**30


def read_modelled(folders: Iterable[Path]) -> list[PreflightResult]:
    """Returns the preflight results in folders.

    Raises:
        ConfigurationError: A folder has none, or one cannot be read.
    """
    found: list[PreflightResult] = []
    for folder in folders:
        results = read_results(folder)
        if not results:
            raise ConfigurationError(
                "Modelled rows come from a folder that `tpuens-bench preflight` wrote; no modelled-*.json is "
                f"in this one. Received: modelled={str(folder)!r}"
            )
        found += results
    return found


def model_choices(
    results: Iterable[PreflightResult], plan: Plan, prices: Prices
) -> tuple[list[Choice], list[str]]:
    """Returns a choice for each network on each number of devices, its fastest, and what was left out, why.

    Only the batch that was asked for counts, as in preflight's own report; others were tried to find the
    largest. What was compiled for one device stands for all of the machine that has to be paid, each with
    that batch. Nothing ran: there is no accuracy, no spread, no start-up and no input.
    """
    best: dict[tuple[object, ...], Choice] = {}
    left_out = []
    for result in results:
        if plan.backbone not in (None, result.backbone):
            continue
        found = _model_machine(result, prices) if _fits(result) else None
        if found is None:
            left_out.append(f"Left out: {_name(result)}: {_why_not(result)}.")
            continue
        result, model = found
        choice = _choose(result, model, plan)
        key = result.backbone, result.image_size, result.target, result.replicas
        best[key] = min(best.get(key, choice), choice, key=lambda one: one.seconds)
    return list(best.values()), left_out


def _model_machine(result: PreflightResult, prices: Prices) -> tuple[PreflightResult, Model] | None:
    """Returns the step on as many devices as are paid for, and its model; None where nothing was counted."""
    first = result.first
    if first is None:
        return None
    model = model_step(first, result.batch_size, result, prices)
    if model and model.tariff and model.tariff.boards and result.replicas == 1:
        devices = model.tariff.boards * TARGETS[result.target].facts.devices
        result = msgspec.structs.replace(result, replicas=devices)
        model = model_step(first, result.batch_size, result, prices)
    return (result, model) if model else None


def _fits(result: PreflightResult) -> bool:
    return result.target in TARGETS and result.first is not None and result.first.status == "ok"


def _name(result: PreflightResult) -> str:
    several = f" × {result.replicas}" if result.replicas > 1 else ""
    return (
        f"modelled {result.backbone}@{result.image_size} in {result.dtype_policy}, batch "
        f"{result.batch_size}{several}, for {result.target}"
    )


def _why_not(result: PreflightResult) -> str:
    first = result.first
    if first is None or result.target not in TARGETS:
        return _short(result.reason or "it was compiled for no device that this version knows")
    if first.status == "too large":
        allowed = f"{TARGETS[result.target].memory_bytes / _GIB:.2f} GiB"
        needed = f": {first.needed_bytes / _GIB:.2f} of" if first.needed_bytes else " into"
        return f"it does not fit{needed} {allowed}"
    if first.status == "ok":
        return "the compiler counted nothing, or a peak of the device is not known"
    return f"the compile was {first.status}: {_short(first.message or 'no reason was given')}"


def _short(message: str) -> str:
    lines: Sequence[str] = message.strip().splitlines() or [""]
    return lines[0][:200].rstrip(".")


def _choose(result: PreflightResult, model: Model, plan: Plan) -> Choice:
    seconds = plan.examples * plan.epochs / model.examples_per_second
    dollars = model.tariff.dollars(seconds) if model.tariff else None
    alone = result.replicas == 1 or model.exchange_seconds is not None
    not_counted = "start-up and input" if alone else "start-up, input and the exchange of gradients"
    size = result.image_size
    return Choice(
        modelled=True,
        machine="modelled",
        device=describe_devices(TARGETS[result.target].device, result.replicas),
        workload=WorkloadKey(scenario="preflight", backbone=result.backbone, image_shape=(size, size, 3)),
        configuration=Configuration(
            strategy="tpu",
            num_replicas=result.replicas,
            per_replica_batch_size=result.batch_size,
            global_batch_size=result.replicas * result.batch_size,
            dtype_policy=result.dtype_policy,
            float32_arithmetic=ARITHMETIC,
            jit_compile=True,
        ),
        reading=f"modelled; {not_counted} not counted",
        examples_per_second=model.examples_per_second,
        hosts=0,
        spread=None,
        start_up_seconds=None,
        accuracy=None,
        input_need=None,
        tariff=model.tariff,
        seconds=seconds,
        dollars=dollars,
        over_budget=plan.is_exceeded(dollars),
    )
