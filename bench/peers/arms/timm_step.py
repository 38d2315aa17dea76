"""The training step of a network of timm, in PyTorch's own loop, on the CPU.

As PyTorch's tuning guide and timm's training script have it: eager mode, a thread a core, Adam in its fused
implementation, gradients set to None, cross-entropy from logits. `torch.compile` is left out: it is not the
default, and a CPU needs a C++ compiler for it. Images come as uint8 and are cast and normalised in the step,
as ours are.
"""

from typing import Any

import timm
import torch
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import nn

from tpuens.errors import ConfigurationError

from ..table import TIMM_NETWORKS, Training, TrainingWork


def start_training(work: TrainingWork) -> Training:
    """Returns the step with tensors as PyTorch lays them out.

    Raises:
        ConfigurationError: timm does not have the network.
    """
    return _start(work, torch.contiguous_format)


def start_channels_last(work: TrainingWork) -> Training:
    """Returns the step with weights and images whose channels lie last in memory.

    Raises:
        ConfigurationError: timm does not have the network.
    """
    return _start(work, torch.channels_last)


def build_network(backbone: str, num_classes: int) -> nn.Module:
    """Returns timm's network for our name of it, from float images (b, 3, h, w) to logits.

    VGG ends here, as in ours, in pooling and one dense layer: timm's two layers of 4,096 would be nine tenths
    of its weights.

    Raises:
        ConfigurationError: timm does not have the network.
    """
    if backbone not in TIMM_NETWORKS:
        raise ConfigurationError(
            f"timm's loop trains what timm has as we do: {', '.join(TIMM_NETWORKS)}. "
            f"Received: backbone={backbone!r}"
        )
    network = timm.create_model(TIMM_NETWORKS[backbone], pretrained=False, num_classes=num_classes)
    if backbone.startswith("vgg"):
        head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(network.num_features, num_classes))
        return nn.Sequential(network.features, *head)
    return network


def _start(work: TrainingWork, memory_format: torch.memory_format) -> Training:
    torch.set_num_threads(work.threads)
    torch.manual_seed(work.seed)
    network = build_network(work.backbone, work.num_classes).to(memory_format=memory_format)
    network.train()
    optimizer = torch.optim.Adam(network.parameters(), lr=work.learning_rate, fused=True)
    height, width, channels = work.image_shape
    images = torch.randint(0, 256, (work.batch_size, channels, height, width), dtype=torch.uint8)
    images = images.contiguous(memory_format=memory_format)
    labels = torch.randint(0, work.num_classes, (work.batch_size,))
    mean, std = (_per_channel(values) for values in (IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD))
    criterion = nn.CrossEntropyLoss()

    def step() -> None:
        pixels = images.float().sub_(mean).div_(std)
        loss = criterion(network(pixels), labels)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    last = next(parameter for parameter in network.parameters() if parameter.requires_grad)
    return Training(
        step=step,
        fence=lambda: float(last.detach().flatten()[0]),  # a CPU has finished when the call returns
        settings={
            "network": TIMM_NETWORKS[work.backbone],
            "parameters": sum(parameter.numel() for parameter in network.parameters()),
            "memory_format": str(memory_format).removeprefix("torch."),
            "threads": work.threads,
            "optimizer": "torch.optim.Adam, fused",
            "compile": False,
        },
    )


def _per_channel(values: Any) -> torch.Tensor:
    return 255 * torch.tensor(values).view(1, -1, 1, 1)
