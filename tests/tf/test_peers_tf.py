"""What users would run instead, as arms of our scenarios; those of PyTorch where it is installed."""

import contextlib
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from bench.execution.launcher import launch_run
from bench.execution.limits import default_limits
from bench.records.record import RunRecord
from bench.scenarios import input_pipeline
from bench.scenarios.planting import prepare_workload
from bench.scenarios.workload import Phases, Workload
from bench.suites import Request, Scenario, Timing
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


def run(folder: Path, name: str, **settings: Any) -> RunRecord:
    """Returns the record of a worker, since PyTorch must be imported before TensorFlow."""
    timing = Timing(warmup_steps=1, blocks=1, block_seconds=0.1, latency_seconds=0.0)
    scenario = Scenario(name=name, batch_size=4, image_size=32, timing=timing, **settings)
    request = Request(suite="test", scenario=scenario, strategy="cpu")
    record = launch_run(request, log=folder / "log", limits=default_limits())
    assert record.status == "ok", (record.reason, record.log_tail)
    return record


@pytest.mark.parametrize(("loader", "package"), [("pil-draft", "torch"), ("grain", "grain")])
def test_loaders_in_other_processes_deliver_the_workload_that_ours_does(
    tmp_path: Path, loader: str, package: str
) -> None:
    if find_spec(package) is None:
        pytest.skip("needs tpuens[peers]")
    record = run(tmp_path, "input-pipeline", loader=loader)
    assert record.workload == prepare("input-pipeline", image_size=32, batch_size=4).key
    assert record.configuration.peer_settings["decoder"] == "PIL.Image.draft"
    (series,) = record.series
    assert sum(series.examples) >= 4
    assert record.environment is not None
    assert package in record.environment.versions


def test_timm_trains_the_network_of_the_same_name(tmp_path: Path) -> None:
    if find_spec("timm") is None:
        pytest.skip("needs tpuens[peers]")
    record = run(tmp_path, "train-step", backbone="vgg16", loop="timm-channels-last")
    assert record.workload == prepare("train-step", backbone="vgg16", image_size=32, batch_size=4).key
    assert record.configuration.peer_settings["memory_format"] == "channels_last"
    # Keras's VGG16 without its top, and a dense layer of 10.
    assert record.configuration.peer_settings["parameters"] == 14_719_818
