"""Every claim of speed that is made against what users would run instead. Plain Python, no TensorFlow."""

from dataclasses import dataclass

from .measurements import FIRST_STEPS, FLOOR_INPUT, FLOOR_STEP, SIZES, STEP_NETWORKS
from .readings import (
    Read,
    command_megabytes,
    command_seconds,
    first_step,
    measuring_share,
    metric,
    page_megabytes,
    speed,
    within,
)
from .table import LOOPS


@dataclass(frozen=True, kw_only=True)
class Target:
    """What a claim promises of its number.

    Attributes:
        least, most: One of them is given.
        aim: What would be better still.
        refuted: Whether the claim stands unless the whole interval lies beyond the target; else the whole
            interval must keep to it.
    """

    least: float | None = None
    most: float | None = None
    aim: float | None = None
    refuted: bool = False

    @property
    def limit(self) -> float:
        """Returns the number that is promised."""
        limit = self.most if self.least is None else self.least
        assert limit is not None
        return limit


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A line of the table.

    Attributes:
        group: A key of `GROUPS`.
        name: Unique in its group.
        title: What is claimed, without the number.
        measurement: By name; empty for a claim about other claims.
        read: Makes numbers of the measurement's folder, one for each pair, process or run.
        floor: The measurement of equal arms, by name; empty where the target is far from what noise makes.
        target: What they must keep to.
        unit: Of the numbers.
        sample: What a number comes of.
        alone: Whether a single number will do, without an interval.
        median_of: Names of claims of the same group: the number is the median of theirs.
    """

    group: str
    name: str
    title: str
    measurement: str = ""
    read: Read = lambda folder: []
    floor: str = ""
    target: Target
    unit: str = "×"
    sample: str = "pair"
    alone: bool = False
    median_of: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """The claim by group and name, as ``--only`` takes it."""
        return f"{self.group}/{self.name}"


GROUPS = {
    "input": "Images a second of the input pipeline over theirs: 2048×1365 JPEG files to batches of 16",
    "cache": "Images out of the memory cache over images that the training step takes, in one process",
    "first-step": "Time to the first step over that of Keras's fit, from a built model; below 1 is faster",
    "step": "Examples a second in the training step over theirs",
    "head": "A head on cached features over the same head behind the frozen backbone",
    "ensemble": "Members fused into one graph over members one after another, in one process",
    "commands": "What answers at once, and what is kept in bounds",
}

_LOADER_TARGETS = {"article": 2.2, "torchvision": 1.4, "pil-draft": 1.4, "grain": 1.4, "decode-only": 0.8}


_NAMES = {
    "article": "the article's pipeline",
    "decode-only": "our decoding alone",
    "keras-fit": "Keras's fit",
}


def _list_input_claims() -> list[Claim]:
    return [
        Claim(
            group="input",
            name=f"{size}-{loader}",
            title=f"to {size}×{size}, against {_NAMES.get(loader, loader)}",
            measurement=f"input-{size}-{loader}",
            read=speed("input"),
            floor=FLOOR_INPUT,
            target=Target(least=least, aim=0.85 if loader == "decode-only" else None),
        )
        for size in SIZES
        for loader, least in _LOADER_TARGETS.items()
    ]


def _list_cache_claims() -> list[Claim]:
    return [
        Claim(
            group="cache",
            name=backbone,
            title=f"for {backbone} at {size}×{size}",
            measurement=f"cache-{backbone}",
            read=within("compute", "input"),
            target=Target(least=10.0),
            sample="process",
        )
        for backbone, size in (("cifar_cnn", 32), ("mobilenetv2", 224))
    ]


def _list_first_step_claims() -> list[Claim]:
    return [
        Claim(
            group="first-step",
            name=backbone,
            title=backbone,
            measurement=(
                f"step-{backbone}-keras-fit" if backbone in STEP_NETWORKS else f"first-step-{backbone}"
            ),
            read=first_step,
            target=Target(most=0.3),
        )
        for backbone in FIRST_STEPS
    ]


def _list_step_claims() -> list[Claim]:
    median = Claim(
        group="step",
        name="median-keras-fit",
        title="median of the eight networks, against Keras's fit",
        read=speed("compute"),
        floor=FLOOR_STEP,
        target=Target(least=1.05),
        median_of=tuple(f"{backbone}-keras-fit" for backbone in STEP_NETWORKS),
        sample="network",
    )
    each = [
        Claim(
            group="step",
            name=f"{backbone}-{loop}",
            title=f"{backbone}, against {_NAMES.get(loop, loop)}",
            measurement=f"step-{backbone}-{loop}",
            read=speed("compute"),
            floor=FLOOR_STEP,
            target=target,
        )
        for loop, target in (
            ("keras-fit", Target(least=0.98, refuted=True)),
            *((layout, Target(least=1.0)) for layout in LOOPS),
        )
        for backbone in STEP_NETWORKS
        if loop == "keras-fit" or backbone != "cifar_cnn"
    ]
    return [median, *each]


def _list_head_claims() -> list[Claim]:
    return [
        Claim(
            group="head",
            name="features",
            title="8 epochs of a head on efficientnetb0 at 128×128, computing the features included",
            measurement="head-features",
            read=within("images", "features"),
            target=Target(least=5.0),
            sample="process",
        ),
        Claim(
            group="head",
            name="same-weights",
            title="largest difference between weights of the two heads",
            measurement="head-features",
            read=metric("largest_absolute_difference"),
            target=Target(most=1e-3),
            unit="of 1",
            sample="process",
        ),
    ]


def _list_ensemble_claims() -> list[Claim]:
    return [
        Claim(
            group="ensemble",
            name=reading,
            title=title,
            measurement="ensemble-fused",
            read=within(reading, reading, a_arm="sequential", b_arm="fused"),
            target=Target(least=1.0),
            sample="process",
        )
        for reading, title in (
            ("throughput", "three mobilenetv2 at 96×96, batches of 16"),
            ("latency", "three mobilenetv2 at 96×96, one image"),
        )
    ]


def _list_command_claims() -> list[Claim]:
    several: tuple[tuple[str, str, str, Read, str, float], ...] = (
        ("help", "help", "tpuens-bench --help", command_seconds, "s", 0.3),
        ("list", "list", "tpuens-bench list", command_seconds, "s", 0.3),
        ("compare", "compare", "tpuens-bench compare", command_seconds, "s", 1.0),
        ("report", "report", "tpuens-bench report on 1,000 records", command_seconds, "s", 5.0),
        ("report-memory", "report", "its memory", command_megabytes, "MB", 500.0),
        ("report-page", "report", "its HTML page", page_megabytes, "MB", 3.0),
        ("quick", "quick", "tpuens-bench run quick", command_seconds, "s", 180.0),
    )
    claims = [
        Claim(
            group="commands",
            name=name,
            title=title,
            measurement=f"command-{command}",
            read=read,
            target=Target(most=most),
            unit=unit,
            sample="process",
            alone=name == "report-page",  # the same each time
        )
        for name, command, title, read, unit, most in several
    ]
    share = Claim(
        group="commands",
        name="quick-measuring",
        title="the share of it that measures",
        measurement="command-quick",
        read=measuring_share,
        target=Target(least=0.5),
        unit="of 1",
        sample="process",
    )
    return [*claims, share]


CLAIMS = (
    *_list_input_claims(),
    *_list_cache_claims(),
    *_list_first_step_claims(),
    *_list_step_claims(),
    *_list_head_claims(),
    *_list_ensemble_claims(),
    *_list_command_claims(),
)
