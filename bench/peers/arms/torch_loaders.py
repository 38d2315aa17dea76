"""PyTorch's DataLoader over image files, with torchvision's decoder or with Pillow's draft mode.

Its documentation's advice on speed: several workers that stay alive, here one a core; batches collated in the
workers; two batches ahead for each of them; pinned memory for a GPU alone. Images stay uint8, which
transforms.v2 recommends for speed, and PyTorch's habit is (b, 3, h, w).

Workers are spawned: a fork of a process in which TensorFlow has threads may hang. They import this module,
and so it must import no TensorFlow. What their start takes is no part of the throughput.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, RandomSampler

from ..table import Delivery, LoaderWork

PREFETCH_FACTOR = 2  # DataLoader's own
_EPOCH = 10_000_000  # images in the one epoch: between two the workers would run dry

Read = Callable[[str, tuple[int, int]], torch.Tensor]


def open_torchvision(work: LoaderWork) -> Delivery:
    """Returns uint8 batches (b, 3, h, w), decoded whole by torchvision.io, resized by transforms.v2."""
    settings = {
        "decoder": "torchvision.io.decode_image",
        "resize": "v2.functional.resize, antialias",
        "DCT scale": "1",
    }
    return _open(work, read_with_torchvision, settings)


def open_pil_draft(work: LoaderWork) -> Delivery:
    """Returns uint8 batches (b, 3, h, w), decoded by Pillow at a DCT scale, resized bilinearly."""
    settings = {"decoder": "PIL.Image.draft", "resize": "PIL BILINEAR", "DCT scale": "Pillow's choice"}
    return _open(work, read_with_draft, settings)


def read_with_torchvision(path: str, size: tuple[int, int]) -> torch.Tensor:
    """Returns a file as uint8 pixels (3, h, w)."""
    from torchvision.io import ImageReadMode, decode_image, read_file
    from torchvision.transforms.v2 import functional

    return functional.resize(decode_image(read_file(path), ImageReadMode.RGB), list(size), antialias=True)


def read_with_draft(path: str, size: tuple[int, int]) -> torch.Tensor:
    """Returns a file as uint8 pixels (3, h, w)."""
    from .pil_draft import read_image

    return torch.from_numpy(read_image(path, size)).permute(2, 0, 1)


class Files(Dataset[tuple[torch.Tensor, int]]):
    """Image files and their labels, read one by one in a worker."""

    def __init__(
        self, paths: Sequence[str], labels: Sequence[int], size: tuple[int, int], read: Read
    ) -> None:
        self._paths, self._labels, self._size, self._read = paths, labels, size, read

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self._read(self._paths[index], self._size), self._labels[index]


def _open(work: LoaderWork, read: Read, settings: dict[str, Any]) -> Delivery:
    files = Files(work.paths, work.labels, work.image_shape[:2], read)
    generator = torch.Generator().manual_seed(work.seed)
    loader = DataLoader(
        files,
        batch_size=work.batch_size,
        sampler=RandomSampler(files, num_samples=_EPOCH, generator=generator),
        num_workers=work.workers,
        prefetch_factor=PREFETCH_FACTOR,
        persistent_workers=True,
        pin_memory=False,
        drop_last=True,
        multiprocessing_context="spawn",
    )
    return Delivery(
        batches=iter(loader),
        num_parallel_calls=work.workers,
        prefetch=PREFETCH_FACTOR * work.workers,
        settings={
            "num_workers": work.workers,
            "prefetch_factor": PREFETCH_FACTOR,
            "persistent_workers": True,
            "pin_memory": False,
            "multiprocessing_context": "spawn",
            "pixels": "uint8",
            **settings,
        },
        in_process=False,
        burst=work.workers,
    )
