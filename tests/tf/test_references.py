"""What a run measures of its machine beside its scenario, and what it says of the machine's arithmetic."""

from types import SimpleNamespace
from typing import Any

import pytest
import tensorflow as tf

from bench.scenarios import references
from bench.scenarios.arithmetic import float32_arithmetic
from tpuens.hardware.strategies import open_cpu_beside


def test_a_reference_that_fails_is_absent_and_takes_nothing_else_with_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object) -> None:
        raise tf.errors.InternalError(None, None, "cuBLAS could not start")

    monkeypatch.setattr(references, "make_matmul", fail)
    names = [series.name for series in references.measure_references(open_cpu_beside())]
    assert names == ["stream", "small-cnn"]


@pytest.mark.parametrize(
    ("capability", "override", "arithmetic"),
    [((8, 0), None, "tf32"), ((8, 0), "0", "float32"), ((8, 0), "1", "tf32"), ((7, 5), None, "float32")],
)
def test_tf32_is_what_the_gpu_and_the_variable_make_of_it(
    capability: tuple[int, int], override: str | None, arithmetic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpus: Any = SimpleNamespace(extended=SimpleNamespace(worker_devices=("/device:GPU:0",)))
    monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind: [kind])
    monkeypatch.setattr(
        tf.config.experimental, "get_device_details", lambda device: {"compute_capability": capability}
    )
    if override is None:
        monkeypatch.delenv("NVIDIA_TF32_OVERRIDE", raising=False)
    else:
        monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", override)
    assert float32_arithmetic(gpus) == arithmetic
