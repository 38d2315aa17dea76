"""What to measure: scenarios with their settings, gathered in suites. Plain Python, no TensorFlow.

`Suite` -> `Scenario` x strategy x repeat -> `Request`, which is what one worker process gets.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from tpuens.errors import ConfigurationError, unknown_name_error

from .records.record import Parameter, Tuning
from .scenarios.table import SCENARIOS

Colour = Literal["rgb", "grey"]
Cache = Literal["none", "memory", "disk"]
Loop = Literal["tpuens", "keras-fit", "timm", "timm-channels-last"]
Loader = Literal["tpuens", "article", "torchvision", "pil-draft", "grain", "decode-only"]
Optimizer = Literal["keras", "fused"]


class Timing(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long to measure, the same for all that is to be compared.

    Attributes:
        warmup_steps: Single steps before the samples; kept apart in the record.
        blocks: Samples for throughput, each of about `block_seconds`.
        block_seconds: Length of a block; at least one step.
        latency_seconds: Time spent on single fenced steps, 10 to 1000 of them.
    """

    warmup_steps: int = 10
    blocks: int = 10
    block_seconds: float = 1.0
    latency_seconds: float = 5.0


class Scenario(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A row of `SCENARIOS` with its settings; None leaves a setting to the scenario.

    Attributes:
        name: A name in `SCENARIOS`.
        batch_size: Examples on each replica.
        augment: Names in the core's table of augmentations.
        cache: Where decoded images are kept.
        prefetch: Batches that the input pipeline keeps ready.
        num_parallel_calls: Images that the input pipeline reads at a time; None for one on each core.
        loop: Whose training loop runs: ours, Keras's `fit`, or PyTorch's with a network of timm.
        loader: Who reads and decodes the images: we, or what users would run instead.
        optimizer: Whose implementation of it; None leaves that to the core.
        steps_per_execution: Steps in a call of the training loop.
        planted: A fault put there on purpose, to see whether it is found; see `bench.scenarios.planting`.
        seconds: Estimated run time on a 2-core machine without an accelerator, start included.
        options: What only this scenario has, such as members or target_accuracy.
    """

    name: str
    backbone: str | None = None
    image_size: int | None = None
    batch_size: int | None = None
    dataset: str | None = None
    data_dir: str | None = None
    dtype_policy: str = "float32"
    jit: bool = False
    augment: tuple[str, ...] = ()
    colour: Colour = "rgb"
    cache: Cache | None = None
    prefetch: int | None = None
    num_parallel_calls: int | None = None
    loop: Loop = "tpuens"
    loader: Loader = "tpuens"
    optimizer: Optimizer | None = None
    steps_per_execution: int = 1
    planted: str | None = None
    seed: int = 0
    seconds: float = 30.0
    timing: Timing = Timing()
    options: dict[str, Parameter] = {}


class Request(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One run: what a worker process is asked to do."""

    suite: str
    scenario: Scenario
    strategy: str
    repeat: int = 0
    variables: dict[str, str] = {}  # environment variables, set before TensorFlow is imported
    profile: str | None = None  # a folder for a trace of a few more steps, after the timed ones
    tuning: Tuning | None = None  # how its settings were chosen, for the record

    @property
    def key(self) -> str:
        """A name that requests for the same thing share, whatever the repeat or the place of the data."""
        scenario = msgspec.structs.replace(self.scenario, data_dir=None, seconds=0)
        same = msgspec.structs.replace(self, repeat=0, suite="", profile=None, tuning=None, scenario=scenario)
        return hashlib.sha256(msgspec.json.encode(same, order="sorted")).hexdigest()[:12]

    @property
    def public_strategy(self) -> str:
        """The strategy as records name it: without the name or address of somebody's TPU."""
        return "tpu" if self.strategy.startswith("tpu:") else self.strategy

    @property
    def title(self) -> str:
        """What a person reads while it runs."""
        scenario = self.scenario
        size = f"@{scenario.image_size}" if scenario.image_size else ""
        of = f" {scenario.backbone or ''}{size}" if scenario.backbone or size else ""
        return f"{scenario.name}{of} on {self.strategy}"


@dataclass(frozen=True, kw_only=True)
class Suite:
    """A named tuple of scenarios.

    Attributes:
        summary: One line for listings.
        hardware: What it is meant for.
        duration: What to expect there.
        scenarios: In the order in which they run.
    """

    name: str
    summary: str
    hardware: str
    duration: str
    scenarios: tuple[Scenario, ...]

    @property
    def command(self) -> str:
        """The command that runs it."""
        return "tpuens-bench run" if self.name == "quick" else f"tpuens-bench run {self.name}"


_SHORT = Timing(blocks=10, block_seconds=0.35, latency_seconds=1.5)
_SHORTEST = Timing(blocks=5, block_seconds=0.1)
_BRIEF = Timing(warmup_steps=2, blocks=8, block_seconds=0.25)  # for a score of points that take turns
_CNN: dict[str, Any] = {"backbone": "cifar_cnn", "image_size": 32, "batch_size": 16, "timing": _SHORT}

QUICK = Suite(
    name="quick",
    summary="nine scenarios, each once, on a small network and embedded data",
    hardware="any machine; made for 2 cores without an accelerator",
    duration="2 to 4 minutes on 2 cores",
    scenarios=(
        Scenario(name="input-pipeline", image_size=224, batch_size=16, timing=_SHORT, seconds=10),
        Scenario(name="matmul", timing=_SHORTEST, seconds=10, options={"largest": 2000}),
        Scenario(name="train-step", seconds=12, **_CNN),
        Scenario(name="train-epoch", seconds=16, options={"examples": 512}, **_CNN),
        Scenario(name="inference", seconds=11, **_CNN),
        Scenario(name="time-to-accuracy", seconds=16, options={"target_accuracy": 0.9, "epochs": 4}, **_CNN),
        Scenario(
            name="ensemble-accuracy",
            seconds=28,
            options={"members": 3, "seeds": 1, "epochs": 1, "examples": 1024},
            **_CNN,
        ),
        Scenario(
            name="ensemble-inference",
            seconds=20,
            options={"members": 3},
            **{**_CNN, "batch_size": 64, "timing": Timing(blocks=8, block_seconds=0.15, latency_seconds=1.0)},
        ),
        Scenario(
            name="agreement",
            seconds=12,
            options={"epochs": 1, "examples": 512},
            **{**_CNN, "image_size": 16},
        ),
    ),
)

INPUT = Suite(
    name="input",
    summary="the input pipeline alone: its growth, and where images can wait for the next epoch",
    hardware="any machine; no accelerator takes part",
    duration="2 minutes on 2 cores",
    scenarios=(
        Scenario(name="input-pipeline", image_size=224, batch_size=16, seconds=20),
        Scenario(name="input-pipeline", image_size=512, batch_size=16, seconds=20),
        Scenario(name="input-growth", image_size=224, timing=_BRIEF, seconds=65),
        Scenario(name="input-caches", image_size=224, batch_size=16, timing=_BRIEF, seconds=22),
    ),
)

_NATIVE = (("mobilenetv2", 224), ("efficientnet_lite0", 224), ("efficientnetb0", 224))
# Networks at their native sizes take a second a step on a small CPU: fewer of them, all the same for all.
_SLOW = Timing(warmup_steps=5, blocks=8)
_MOBILENET: dict[str, Any] = {"backbone": "mobilenetv2", "image_size": 224, "timing": _SLOW}

STANDARD = Suite(
    name="standard",
    summary="small networks at their native sizes, and five seeds of ensemble accuracy",
    hardware="a workstation, or one accelerator",
    duration="12 minutes on 2 cores",
    scenarios=(
        Scenario(name="input-pipeline", image_size=224, batch_size=16, seconds=15),
        Scenario(name="input-pipeline", image_size=512, batch_size=16, seconds=15),
        Scenario(name="matmul", timing=_SHORT, seconds=30),
        Scenario(name="train-step", backbone="cifar_cnn", image_size=32, batch_size=64, seconds=25),
        *(
            Scenario(
                name="train-step", backbone=name, image_size=size, batch_size=8, timing=_SLOW, seconds=30
            )
            for name, size in _NATIVE
        ),
        *(
            Scenario(
                name="inference", backbone=name, image_size=size, batch_size=16, timing=_SLOW, seconds=20
            )
            for name, size in _NATIVE
        ),
        Scenario(name="train-epoch", backbone="cifar_cnn", image_size=32, batch_size=64, seconds=35),
        Scenario(name="train-epoch", dataset="photographs", batch_size=8, seconds=35, **_MOBILENET),
        Scenario(
            name="time-to-accuracy",
            backbone="cifar_cnn",
            image_size=32,
            batch_size=64,
            seconds=20,
            options={"target_accuracy": 0.98, "epochs": 20},
        ),
        Scenario(
            name="ensemble-accuracy",
            backbone="cifar_cnn",
            image_size=32,
            batch_size=64,
            seconds=75,
            options={"members": 3, "seeds": 5, "epochs": 2},
        ),
        Scenario(name="ensemble-inference", batch_size=64, seconds=130, options={"members": 3}, **_MOBILENET),
        Scenario(name="agreement", backbone="cifar_cnn", image_size=32, batch_size=64, seconds=12),
    ),
)

# The large networks of the two Kaggle recipes, EfficientNets at their native sizes (the recipes have 512);
# VGG16 is the old yardstick beside them.
_SEEDS = (("efficientnetb7", 600), ("efficientnetb6", 528), ("resnet152v2", 512), ("inceptionresnetv2", 512),
          ("densenet201", 512), ("vgg16", 224))  # fmt: skip

SEEDS = Suite(
    name="seeds",
    summary="the large networks of the recipes, and VGG16, at 224 to 600 pixels",
    hardware="GPUs with 16 GB or more, TPUs",
    duration="an estimate: 1 hour on one data-centre GPU, 9 hours on 2 cores",
    scenarios=tuple(
        Scenario(name=scenario, backbone=name, image_size=size, batch_size=8, seconds=1800)
        for name, size in _SEEDS
        for scenario in ("train-step", "inference")
    ),
)

SUITES = {suite.name: suite for suite in (QUICK, STANDARD, INPUT, SEEDS)}


def find_scenarios(names: Sequence[str]) -> tuple[str, tuple[Scenario, ...]]:
    """Returns the name to file the runs under, and the scenarios: those of suites, and single ones.

    A single scenario is named by its row in `SCENARIOS` and takes the settings it has in the first suite that
    has it, or its own where none does.

    Raises:
        ConfigurationError: A name is neither a suite nor a scenario.
    """
    chosen: list[Scenario] = []
    for name in names or ("quick",):
        if name in SUITES:
            found = SUITES[name].scenarios
        elif name in SCENARIOS:
            of_suites = ([one for one in suite.scenarios if one.name == name] for suite in SUITES.values())
            found = tuple(next(filter(None, of_suites), [Scenario(name=name)]))
        else:
            raise unknown_name_error("suite or scenario", "name", name, [*SUITES, *SCENARIOS])
        chosen += [scenario for scenario in found if scenario not in chosen]
    return "+".join(names) or "quick", tuple(chosen)


def plan_requests(
    suite: str,
    scenarios: Iterable[Scenario],
    *,
    strategies: Sequence[str],
    repeats: int = 1,
    variables: dict[str, str] | None = None,
) -> list[Request]:
    """Returns every run to make: scenarios by strategies, repeats outermost so that drift spreads evenly.

    Args:
        suite: The name that the records carry.
        scenarios: What to measure.
        strategies: What may be used, by name. A scenario that runs on the host alone takes the first CPU
            strategy, one for single devices leaves out the mirrored ones.
        repeats: Processes for each scenario and strategy.
        variables: Environment variables of the workers.

    Raises:
        ConfigurationError: Repeats are below 1, or no strategy suits a scenario.
    """
    if repeats < 1:
        raise ConfigurationError(f"Every scenario runs at least once. Received: repeats={repeats}")
    pairs = [
        (scenario, strategy)
        for scenario in scenarios
        for strategy in SCENARIOS[scenario.name].choose_strategies(strategies)
    ]
    if not pairs:
        raise ConfigurationError(
            f"None of these scenarios can run on these strategies. Received: strategies={list(strategies)}"
        )
    return [
        Request(
            suite=suite, scenario=scenario, strategy=strategy, repeat=repeat, variables=dict(variables or {})
        )
        for repeat in range(repeats)
        for scenario, strategy in pairs
    ]
