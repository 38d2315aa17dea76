"""What is measured for the claims: comparisons, repeated runs, calls of our own commands.

Plain Python, no TensorFlow. A measurement has a folder of its own, and several claims may read it. In a
comparison arm A is what users would run, arm B is ours, so that a ratio above 1 speaks for us.
"""

from dataclasses import dataclass

from ..analysis.ratios import MIN_PAIRS
from ..records.record import Parameter
from ..suites import Scenario, Timing
from .table import LOADERS, LOOPS


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """What is run for claims.

    Attributes:
        name: Also of its folder.
        seconds: How long it may take, where nothing else is asked for.
    """

    name: str
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Comparison(Measurement):
    """Pairs of fresh processes of two arms that take turns.

    Attributes:
        a, b: The arms.
        turns: Of each arm in a pair; None leaves it to the scenario.
        one_by_one: Whether arms are prepared one after the other, so that their first steps compare.
    """

    a: Scenario
    b: Scenario
    turns: int | None = None
    one_by_one: bool = False


@dataclass(frozen=True, kw_only=True)
class Repeats(Measurement):
    """One scenario, whole, in several fresh processes: what is compared lies within each record."""

    scenario: Scenario
    processes: int = MIN_PAIRS


@dataclass(frozen=True, kw_only=True)
class Calls(Measurement):
    """One of our own commands, in several fresh processes.

    Attributes:
        words: The command; what is in braces is a folder: ``{records}`` of 1,000 records, ``{few}`` of 18,
            ``{new}`` where results may go.
        processes: How often it is called.
    """

    words: tuple[str, ...]
    processes: int = MIN_PAIRS


# Small images and batches: on two cores a step of the largest takes about two seconds so.
_STEP = {"image_size": 128, "batch_size": 8, "timing": Timing(warmup_steps=3), "seconds": 0.0}
_CIFAR = {"image_size": 32, "batch_size": 64, "timing": Timing(), "seconds": 0.0}
STEP_NETWORKS = {  # and for how long each may be compared with Keras's fit
    "efficientnetb0": 480.0,
    "resnet50v2": 720.0,
    "resnet152v2": 1200.0,
    "densenet201": 1800.0,
    "inceptionresnetv2": 1560.0,
    "vgg16": 540.0,
    "mobilenetv2": 600.0,
    "cifar_cnn": 240.0,
}
# Equal arms of ours, for what noise alone makes of them: a pipeline and a network that are quickly measured.
FLOOR_INPUT, FLOOR_STEP = "floor-input", "floor-step"
FIRST_STEPS = ("efficientnetb0", "resnet152v2", "densenet201", "efficientnetb7")
SIZES = (512, 224)


def _input(loader: str, size: int) -> Scenario:
    return Scenario(
        name="input-pipeline",
        image_size=size,
        batch_size=16,
        dataset="photographs",
        loader=loader,  # type: ignore[arg-type]
        timing=Timing(warmup_steps=20),
        seconds=0.0,
    )


def _step(backbone: str, loop: str) -> Scenario:
    settings = _CIFAR if backbone == "cifar_cnn" else _STEP
    return Scenario(name="train-step", backbone=backbone, loop=loop, **settings)  # type: ignore[arg-type]


def _repeat(name: str, **settings: object) -> Scenario:
    timing = Timing(blocks=6, block_seconds=0.5, latency_seconds=0.5, warmup_steps=3)
    return Scenario(name=name, timing=timing, seconds=40.0, **settings)  # type: ignore[arg-type]


def _list_floors() -> list[Measurement]:
    step, pipeline = _step("mobilenetv2", "tpuens"), _input("tpuens", 224)
    return [
        Comparison(name=FLOOR_INPUT, seconds=270.0, a=pipeline, b=pipeline),
        Comparison(name=FLOOR_STEP, seconds=300.0, a=step, b=step, turns=8),
    ]


def _list_input() -> list[Measurement]:
    return [
        Comparison(
            name=f"input-{size}-{loader}",
            seconds=270.0,
            a=_input(loader, size),
            b=_input("tpuens", size),
        )
        for size in SIZES
        for loader in LOADERS
    ]


def _list_caches() -> list[Measurement]:
    photographs: dict[str, Parameter] = {"examples": 0}
    return [
        Repeats(
            name=f"cache-{backbone}",
            seconds=300.0,
            scenario=_repeat(
                "train-epoch",
                backbone=backbone,
                image_size=size,
                batch_size=16,
                dataset="photographs",
                cache="memory",
                options=photographs,
            ),
        )
        for backbone, size in (("cifar_cnn", 32), ("mobilenetv2", 224))
    ]


def _list_steps() -> list[Measurement]:
    of_fit = [
        Comparison(
            name=f"step-{backbone}-keras-fit",
            seconds=seconds,
            a=_step(backbone, "keras-fit"),
            b=_step(backbone, "tpuens"),
            turns=8,
            one_by_one=True,
        )
        for backbone, seconds in STEP_NETWORKS.items()
    ]
    tiny = {"image_size": 64, "batch_size": 4, "timing": Timing(warmup_steps=1), "seconds": 0.0}
    first = Comparison(
        name="first-step-efficientnetb7",
        seconds=1500.0,
        a=Scenario(name="train-step", backbone="efficientnetb7", loop="keras-fit", **tiny),  # type: ignore[arg-type]
        b=Scenario(name="train-step", backbone="efficientnetb7", **tiny),  # type: ignore[arg-type]
        turns=2,
        one_by_one=True,
    )
    of_timm = [
        Comparison(
            name=f"step-{backbone}-{layout}",
            seconds=seconds / 2,
            a=_step(backbone, layout),
            b=_step(backbone, "tpuens"),
            turns=8,
        )
        for backbone, seconds in STEP_NETWORKS.items()
        if backbone != "cifar_cnn"
        for layout in LOOPS
    ]
    return [*of_fit, first, *of_timm]


def _list_within_runs() -> list[Measurement]:
    head = Scenario(
        name="head-training",
        backbone="efficientnetb0",
        image_size=128,
        batch_size=16,
        options={"epochs": 8, "examples": 256},
        timing=Timing(warmup_steps=0, blocks=2),
        seconds=180.0,
    )
    ensemble = _repeat("ensemble-inference", backbone="mobilenetv2", image_size=96, batch_size=16)
    return [
        Repeats(name="head-features", seconds=1200.0, scenario=head),
        Repeats(name="ensemble-fused", seconds=300.0, scenario=ensemble),
    ]


def _list_calls() -> list[Measurement]:
    return [
        Calls(name="command-help", seconds=10.0, words=("tpuens-bench", "--help")),
        Calls(name="command-list", seconds=10.0, words=("tpuens-bench", "list")),
        Calls(name="command-compare", seconds=20.0, words=("tpuens-bench", "compare", "{few}", "{few}")),
        Calls(name="command-report", seconds=60.0, words=("tpuens-bench", "report", "{records}")),
        Calls(
            name="command-quick",
            seconds=1400.0,
            words=("tpuens-bench", "run", "quick", "--results", "{new}"),
        ),
    ]


MEASUREMENTS = {
    one.name: one
    for one in (
        *_list_floors(),
        *_list_input(),
        *_list_caches(),
        *_list_steps(),
        *_list_within_runs(),
        *_list_calls(),
    )
}
