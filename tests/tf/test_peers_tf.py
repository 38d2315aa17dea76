"""What users would run instead, as arms of our scenarios; those of PyTorch where it is installed."""

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from bench.scenarios import input_pipeline
from bench.scenarios.planting import prepare_workload
from bench.scenarios.workload import Phases, Workload
from bench.suites import Request, Scenario
from tpuens.errors import ConfigurationError
from tpuens.hardware.strategies import open_strategy

CPU = open_strategy("cpu")


def prepare(name: str, **settings: Any) -> Workload:
    return prepare_workload(
        Request(suite="test", scenario=Scenario(name=name, **settings), strategy="cpu"), CPU, Phases()
    )


@contextlib.contextmanager
def delivered(monkeypatch: pytest.MonkeyPatch, loader: str) -> Iterator[tuple[Workload, Any]]:
    """Yields the workload of a loader at 32×32, and a batch of it."""
    opened = []

    def note(*arguments: Any) -> Any:
        opened.append(open_peer(*arguments))
        return opened[0]

    open_peer = input_pipeline.open_peer
    monkeypatch.setattr(input_pipeline, "open_peer", note)
    workload = prepare("input-pipeline", image_size=32, batch_size=4, loader=loader)
    (probe,) = workload.probes
    assert probe.step() is not None
    yield workload, next(opened[0].batches)


def test_the_article_s_pipeline_and_the_ceiling_do_the_workload_that_ours_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ours = prepare("input-pipeline", image_size=32, batch_size=4)
    assert ours.configuration.loader == "tpuens"
    with delivered(monkeypatch, "article") as (workload, (images, labels)):
        assert workload.key == ours.key
        assert workload.configuration.loader == "article"
        assert workload.configuration.peer_settings["pixels"] == "float32"
        assert (images.shape, images.dtype.name, labels.shape) == ((4, 32, 32, 3), "float32", (4,))
        assert 0 <= images.numpy().min() < images.numpy().max() <= 1
    monkeypatch.undo()
    with delivered(monkeypatch, "decode-only") as (workload, values):
        assert workload.key == ours.key
        assert (values.shape, values.dtype.name) == ((4,), "uint8")
        assert workload.configuration.num_parallel_calls == ours.configuration.num_parallel_calls


def test_what_a_peer_is_not_set_up_for_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="as its own documentation says"):
        prepare("input-pipeline", loader="article", augment=("shift",))
    with pytest.raises(ConfigurationError, match="on the CPU, eagerly, in float32"):
        prepare("train-step", loop="timm", backbone="vgg16", jit=True)
    with pytest.raises(ConfigurationError, match="take train-step"):
        prepare("train-epoch", loop="timm", backbone="cifar_cnn", options={"examples": 64})


@pytest.mark.parametrize("loader", ["pil-draft", "grain"])
def test_loaders_in_other_processes_deliver_uint8_batches(
    monkeypatch: pytest.MonkeyPatch, loader: str
) -> None:
    pytest.importorskip("torch" if loader == "pil-draft" else "grain", reason="needs tpuens[peers]")
    with delivered(monkeypatch, loader) as (workload, (images, labels)):
        shape = (4, 3, 32, 32) if loader == "pil-draft" else (4, 32, 32, 3)
        assert (tuple(images.shape), str(images.dtype).removeprefix("torch.")) == (shape, "uint8")
        assert tuple(labels.shape) == (4,)
        assert 40 < np.asarray(images).mean() < 220
        (probe,) = workload.probes
        assert not probe.in_process
        assert workload.configuration.peer_settings["decoder"] == "PIL.Image.draft"


def test_timm_trains_the_network_of_the_same_name() -> None:
    pytest.importorskip("timm", reason="needs tpuens[peers]")
    from bench.peers.arms.timm_step import build_network

    ours = prepare("train-step", backbone="vgg16", image_size=32, batch_size=2)
    theirs = prepare("train-step", backbone="vgg16", image_size=32, batch_size=2, loop="timm-channels-last")
    assert theirs.key == ours.key
    assert theirs.configuration.peer_settings["memory_format"] == "channels_last"
    compute = theirs.probes[0]
    before = compute.fence()
    compute.step()
    assert compute.fence() != before
    weights = sum(parameter.numel() for parameter in build_network("vgg16", 10).parameters())
    assert weights == 14_719_818  # Keras's VGG16 without its top, and a dense layer of 10
