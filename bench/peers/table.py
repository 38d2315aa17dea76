"""What users would run instead, by name: loaders of images, loops that train. Nothing is imported here.

A loader's factory is ``open_batches(work: LoaderWork) -> Delivery``, a loop's
``start_training(work: TrainingWork) -> Training``. Each is set up as its own documentation recommends, and
says how in its `settings`, which stand in the record.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from tpuens.errors import ConfigurationError
from tpuens.registry import Row, Table

from ..records.record import Parameter
from ..suites import Suite

# Listed beside the suites; its runs are comparisons.
PEERS = Suite(
    name="peers",
    summary="every claim of speed against what users would run instead: held or not",
    hardware="a CPU with nothing else to do; needs pip install 'tpuens[peers]'",
    duration="6 hours on 2 cores",
    scenarios=(),
)

EXTRA = "pip install 'tpuens[peers]'"


@dataclass(frozen=True, kw_only=True)
class LoaderWork:
    """What a loader is to deliver: shuffled batches of these files, without end.

    Attributes:
        paths: JPEG files.
        labels: The number of each one's class.
        image_shape: Height, width and channels of every image.
        batch_size: Images in a batch.
        seed: Of the order.
        workers: Cores that may be used.
    """

    paths: tuple[str, ...]
    labels: tuple[int, ...]
    image_shape: tuple[int, int, int]
    batch_size: int
    seed: int
    workers: int


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """Batches without end, and how they are made.

    Attributes:
        batches: One for each call of next(): images (b, h, w, 3), or (b, 3, h, w) where that is the habit,
            and labels.
        num_parallel_calls: Images that are read at a time; None where something else decides.
        prefetch: Batches that are made ahead; likewise.
        cache: Where decoded images are kept.
        settings: What else its makers decide.
        in_process: Whether all of it happens in this process, whose CPU time then says what it costs.
        burst: Batches that come at about the same time, one of each worker; they are timed together, since
            a single one may take no time, or that of two.
    """

    batches: Iterator[Any]
    num_parallel_calls: int | None = None
    prefetch: int | None = None
    cache: str = "none"
    settings: Mapping[str, Parameter] = field(default_factory=dict)
    in_process: bool = True
    burst: int = 1


@dataclass(frozen=True, kw_only=True)
class TrainingWork:
    """What a loop is to train: random images and labels that stay the same, with Adam and cross-entropy.

    Attributes:
        backbone: Our name of the network.
        image_shape: Height, width and channels.
        batch_size: Images in a step.
        num_classes: Of the labels.
        learning_rate: Adam's.
        seed: Of weights, images and labels.
        threads: Cores that may be used.
    """

    backbone: str
    image_shape: tuple[int, int, int]
    batch_size: int
    num_classes: int
    learning_rate: float
    seed: int
    threads: int


@dataclass(frozen=True, kw_only=True)
class Training:
    """A step, what waits for it, and how it was set up."""

    step: Callable[[], None]
    fence: Callable[[], object]
    settings: Mapping[str, Parameter]


@dataclass(frozen=True, kw_only=True)
class Peer(Row):
    """One arm; `packages` are those that it needs beside ours."""

    packages: tuple[str, ...] = ()

    def load(self) -> Any:
        """Returns the factory, importing its module now.

        Raises:
            ConfigurationError: A package is missing.
        """
        check_packages([self])
        return super().load()


def check_packages(peers: "Sequence[Peer]") -> None:
    """Checks that what the arms need is installed.

    Raises:
        ConfigurationError: Something is not; the message says how to install it.
    """
    needed = dict.fromkeys(package for peer in peers for package in peer.packages)
    missing = {package for package in needed if find_spec(package) is None}
    if missing:
        lacking = [peer.name for peer in peers if missing & set(peer.packages)]
        raise ConfigurationError(
            f"What users would run instead needs packages of its own: {EXTRA}. "
            f"Received: {', '.join(lacking)}, without {', '.join(sorted(missing))}"
        )


def import_first(names: Iterable[str]) -> None:
    """Imports the packages of the peers among these names, which must come before TensorFlow.

    PyTorch's libraries crash the process that loads them after TensorFlow's (2.14 after 2.21); the other way
    round both work. A package that is missing is left to `Peer.load`, which says so.
    """
    for name in names:
        peers = [table[name] for table in (LOADERS, LOOPS) if name in table]
        for package in (package for peer in peers for package in peer.packages):
            if find_spec(package) is not None:
                import_module(package)


_ARMS = "bench.peers.arms"

LOADERS: Table[Peer] = Table(
    "loader",
    (
        Peer(
            name="article",
            factory=f"{_ARMS}.article:open_batches",
            summary="tf.data as notebooks have it: decode whole, float32, /255, resize, AUTOTUNE",
        ),
        Peer(
            name="torchvision",
            factory=f"{_ARMS}.torch_loaders:open_torchvision",
            summary="PyTorch's DataLoader, torchvision.io and transforms.v2",
            packages=("torch", "torchvision"),
        ),
        Peer(
            name="pil-draft",
            factory=f"{_ARMS}.torch_loaders:open_pil_draft",
            summary="PyTorch's DataLoader, Pillow with a draft at a DCT scale",
            packages=("torch",),
        ),
        Peer(
            name="grain",
            factory=f"{_ARMS}.grain_loader:open_batches",
            summary="Grain's MapDataset in several processes, Pillow with a draft",
            packages=("grain",),
        ),
        Peer(
            name="decode-only",
            factory=f"{_ARMS}.decode_only:open_batches",
            summary="no peer but a ceiling: our decoding at our DCT scale, and nothing else",
        ),
    ),
)

LOOPS: Table[Peer] = Table(
    "loop",
    (
        Peer(
            name="timm",
            factory=f"{_ARMS}.timm_step:start_training",
            summary="a network of timm in PyTorch's loop, as it comes",
            packages=("torch", "timm"),
        ),
        Peer(
            name="timm-channels-last",
            factory=f"{_ARMS}.timm_step:start_channels_last",
            summary="likewise, with the channels last in memory",
            packages=("torch", "timm"),
        ),
    ),
)

# Our networks as timm has them. Left out is what has another architecture there under a like name.
TIMM_NETWORKS = {
    **{f"efficientnetb{number}": f"efficientnet_b{number}" for number in range(8)},
    **{f"resnet{depth}v2": f"resnetv2_{depth}" for depth in (50, 101, 152)},
    **{f"densenet{depth}": f"densenet{depth}" for depth in (121, 169, 201)},
    "inceptionresnetv2": "inception_resnet_v2",
    "mobilenetv2": "mobilenetv2_100",
    "vgg16": "vgg16",
    "vgg19": "vgg19",
}
