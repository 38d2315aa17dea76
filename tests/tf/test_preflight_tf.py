"""The preflight for real: TensorFlow's step, compiled for TPUs and GPUs where that is installed."""

import importlib.metadata
import os
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

from bench.cli import app
from bench.execution.limits import Limits
from bench.preflight.cache import Cache
from bench.preflight.child import Room, ask_child
from bench.preflight.jobs import Job
from bench.preflight.messages import Compiled, CompileOrder, Step
from bench.preflight.results import PreflightResult, read_results
from bench.preflight.suite import Preflight
from bench.preflight.targets import COMPILERS, TARGETS

# Small images: the compiler takes 18 s for them, and 53 for 32×32.
STEP = Step(backbone="cifar_cnn", image_size=8, batch_size=64, dtype_policy="mixed_bfloat16")
SEVERAL = msgspec.structs.replace(STEP, replicas=4)


def has_compiler(platform: str) -> bool:
    try:
        return all(importlib.metadata.version(name) for name in COMPILERS[platform].packages)
    except importlib.metadata.PackageNotFoundError:
        return False


needs_tpu_compiler = pytest.mark.skipif(
    not has_compiler("tpu"), reason="the extra preflight is not installed"
)
needs_gpu_compiler = pytest.mark.skipif(
    not has_compiler("cuda"), reason="the extra preflight-gpu is not installed"
)


def look(folder: Path, *jobs: Job) -> list[PreflightResult]:
    limits = Limits(seconds=200, memory_bytes=6 * 2**30)
    check = Preflight(cache=Cache(folder / "cache"), limits=limits, search=False)
    return check.run(jobs, folder / "results", workers=1)


def test_the_command_looks_at_the_graph_without_a_compiler_and_says_what_it_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TPUENS_CACHE_DIR", str(tmp_path / "cache"))
    step = "--backbone cifar_cnn --image-size 8 --batch-size 64"
    command = ["preflight", "--static", *step.split(), "--results", str(tmp_path / "results")]
    ended = CliRunner().invoke(app, command)
    assert ended.exit_code == 0, ended.output
    assert "cifar_cnn@8, batch 64: tracing" in ended.stderr
    assert "1/1 cifar_cnn@8 for static: done" in ended.stderr
    (found,) = read_results(tmp_path / "results")
    assert found.gradient_bytes
    batch, python = found.advice
    assert "not of 128" in batch
    assert "calls Python" in python  # the order of an epoch is drawn there


@pytest.mark.parametrize(
    "platform",
    [pytest.param("tpu", marks=needs_tpu_compiler), pytest.param("cuda", marks=needs_gpu_compiler)],
)
def test_what_is_too_large_is_refused_with_what_each_target_allows(tmp_path: Path, platform: str) -> None:
    values = "tensor<500x1000000x128xf32>"
    (tmp_path / "large.mlir").write_text(
        f"module @step {{ func.func @main(%a: {values}) -> {values} {{ "
        f"%0 = stablehlo.add %a, %a : {values} return %0 : {values} }} }}"
    )
    for target in (one for one in TARGETS.values() if one.platform == platform):
        place = tmp_path / target.name
        place.mkdir()
        compiled = ask_child(
            "bench.preflight.compile",
            CompileOrder(
                text=str(tmp_path / "large.mlir"),
                topology=target.topology,
                options=target.options,
                replicas=target.replicas,
                platform=platform,
                allowed_bytes=target.memory_bytes if platform == "cuda" else None,
            ),
            Compiled,
            place,
            seconds=60,
            room=Room(6 * 2**30),
            variables=dict(os.environ),
        )
        assert compiled.status == "too large", compiled.message
        assert compiled.allowed_bytes == pytest.approx(target.memory_bytes, abs=1)


@needs_tpu_compiler
def test_the_training_step_of_replicas_that_sum_compiles_for_two_generations(tmp_path: Path) -> None:
    # One trace and two compiles: each takes a while.
    jobs = [Job(step=SEVERAL, target=TARGETS["v3"]), Job(step=SEVERAL, target=TARGETS["v5e"])]
    for found in look(tmp_path, *jobs):
        assert found.first is not None
        assert found.first.status == "ok", found.first.message
        assert found.first.memory is not None
        assert found.first.flops is not None
        text = Cache(tmp_path / "cache").read_text(found.attempts[0].graph or "")
        assert "stablehlo.all_reduce" in text
        # Weights, two moments each, the images, at least.
        assert found.first.memory.peak > 3 * (found.gradient_bytes or 0)
        assert found.first.flops > 0


@needs_gpu_compiler
def test_the_training_step_compiles_for_gpus_and_memory_alone_is_told(tmp_path: Path) -> None:
    jobs = [Job(step=STEP, target=TARGETS["h100"]), Job(step=SEVERAL, target=TARGETS["a100-40gb"])]
    for found in look(tmp_path, *jobs):
        assert found.first is not None
        assert found.first.status == "ok", found.first.message
        assert found.first.memory is not None
        assert found.first.memory.peak > 3 * (found.gradient_bytes or 0)
        assert found.first.flops is None
        assert not found.advice  # rows and lanes are a TPU's
