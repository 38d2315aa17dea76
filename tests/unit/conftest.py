"""Records of invented runs, built of the real types."""

import itertools
import random
from typing import Any, Literal

import msgspec
import pytest

from bench.records.record import (
    Accelerator,
    Caution,
    Configuration,
    Environment,
    Memory,
    Metric,
    RunRecord,
    Series,
    WorkloadKey,
)


class Records:
    """Builds records whose numbers a test can work out by hand."""

    def __init__(self) -> None:
        self._numbers = itertools.count()

    def environment(self, label: str = "laptop", **fields: Any) -> Environment:
        """Returns the environment of a machine; the same label gives the same fingerprint."""
        facts: dict[str, Any] = {
            "machine_label": label,
            "fingerprint": f"{sum(map(ord, label)):016x}",
            "cpu_model": "Example CPU 9000",
            "physical_cores": 4,
            "logical_cores": 8,
            "numa_nodes": 1,
            "isa": ("avx2", "avx512f", "fma"),
            "memory_bytes": 16 * 2**30,
            "operating_system": "Linux 6.1",
            "load_before": 0.25,
            "load_after": 1.5,
            "versions": {"python": "3.11.2", "tensorflow": "2.21.0", "tpuens": "0.1.0"},
            "variables": {"TF_ENABLE_ONEDNN_OPTS": "1"},
            "git_commit": "0123abc",
            "seed": 0,
        }
        return Environment(**{**facts, **fields})

    def series(
        self, name: str = "compute", fence: Literal["block", "step"] = "block", **fields: Any
    ) -> Series:
        """Returns three samples of one second: 100, 200 and 300 examples in 1, 2 and 3 steps."""
        samples: dict[str, Any] = {
            "steps": (1, 2, 3),
            "examples": (100, 200, 300),
            "seconds": (1.0, 1.0, 1.0),
        }
        return Series(name=name, fence=fence, **{**samples, **fields})

    def latencies(self, *seconds: float, **parameters: Any) -> Series:
        """Returns a series of single steps that took so long."""
        ones = (1,) * len(seconds)
        return Series(
            name="latency", fence="step", steps=ones, examples=ones, seconds=seconds, parameters=parameters
        )

    def record(
        self,
        scenario: str = "train-step",
        *,
        workload: dict[str, Any] | None = None,
        configuration: dict[str, Any] | None = None,
        **fields: Any,
    ) -> RunRecord:
        """Returns the record of a run of its own, an hour after the one before."""
        number = next(self._numbers)
        key: dict[str, Any] = {
            "scenario": scenario,
            "backbone": "cifar_cnn",
            "image_shape": (32, 32, 3),
            "dataset": "digits",
            "num_classes": 10,
        }
        how: dict[str, Any] = {
            "strategy": "one-device",
            "num_replicas": 1,
            "per_replica_batch_size": 64,
            "global_batch_size": 64,
        }
        whole: dict[str, Any] = {
            "id": f"id{number:04}",
            "request_key": f"request-{number}",
            "repeat": 0,
            "suite": "quick",
            "created": f"2026-11-{1 + number // 24 % 28:02}T{number % 24:02}:00:00Z",
            "status": "ok",
            "environment": self.environment(),
            "phases": {"process_start": 0.5, "import": 4.5, "build": 1.0, "trace": 1.5, "first_step": 2.5},
            "memory": Memory(peak_resident_bytes=3 * 2**29),
        }
        return RunRecord(
            workload=WorkloadKey(**{**key, **(workload or {})}),
            configuration=Configuration(**{**how, **(configuration or {})}),
            **{**whole, **fields},
        )

    def study(self) -> list[RunRecord]:
        """Returns runs of every scenario on two machines, repeats, a failure and a skip among them."""
        chance = random.Random(7)
        server = self.environment(
            "gpu-server",
            cpu_model="Example Server CPU",
            memory_bytes=128 * 2**30,
            container="docker",
            driver="570.86",
            accelerators=(Accelerator(kind="gpu", model="Example GPU 200", memory_bytes=139 * 2**30),),
        )
        records = []
        for environment, pace in ((self.environment(), 1.0), (server, 20.0)):
            gpu = {"float32_arithmetic": "tf32"} if environment is server else {}
            records += [
                self._machine_run(chance, environment, pace, gpu, repeat, backbone)
                for repeat in range(3)
                for backbone in ("cifar_cnn", "resnet50")
            ]
            records += self._single_runs(chance, environment, pace, gpu)
        return records

    def _machine_run(
        self,
        chance: random.Random,
        environment: Environment,
        pace: float,
        how: dict[str, Any],
        repeat: int,
        backbone: str,
    ) -> RunRecord:
        size = 32 if backbone == "cifar_cnn" else 224
        rate = pace * (900 if backbone == "cifar_cnn" else 11)
        steps = [64 / rate * chance.lognormvariate(0, 0.05) for _ in range(40 if repeat else 320)]
        return self.record(
            workload={"backbone": backbone, "image_shape": (size, size, 3)},
            configuration=how,
            environment=environment,
            request_key=f"step {backbone} {environment.machine_label}",
            repeat=repeat,
            series=(self._blocks(chance, "compute", rate), self.latencies(*steps)),
            warnings=(
                Caution(code="busy-machine", message="The load was 1.5 on 4 cores; close other programs."),
            )
            if repeat == 1
            else (),
        )

    def _single_runs(
        self, chance: random.Random, environment: Environment, pace: float, how: dict[str, Any]
    ) -> list[RunRecord]:
        runs = [
            self._epoch_run(chance, pace),
            self._run_to_accuracy(pace),
            self._products_run(chance, pace),
            {
                "scenario": "ensemble-accuracy",
                "workload": {"options": {"members": 4}},
                "metrics": tuple(self._ensemble(chance)),
                "phases": {"import": 4.4, "training": 120 / pace, "evaluation": 3.0},
            },
            self._ensemble_inference_run(chance, pace),
            {
                "scenario": "train-step",
                "workload": {"backbone": "vgg16", "image_shape": (224, 224, 3)},
                "status": "failed",
                "reason": "Out of memory: a smaller --batch-size would do.",
                "log_tail": ("Traceback (most recent call last):", "ResourceExhaustedError: OOM <tensor>"),
            },
            {
                "scenario": "train-step",
                "configuration": {"strategy": "tpu", "num_replicas": None},
                "status": "skipped",
                "reason": "No TPU is visible on this machine.",
            },
        ]
        return [
            self.record(
                environment=environment, **{**run, "configuration": {**how, **run.get("configuration", {})}}
            )
            for run in runs
        ]

    def _epoch_run(self, chance: random.Random, pace: float) -> dict[str, Any]:
        rate = 900 * pace
        both = self._blocks(chance, "both", min(rate, 4000))
        waits = tuple(seconds * (0.02 if pace == 1 else 0.41) for seconds in both.seconds)
        return {
            "scenario": "train-epoch",
            "series": (
                self._blocks(chance, "compute", rate),
                self._blocks(chance, "input", 4200),
                msgspec.structs.replace(both, blocked_seconds=waits),
            ),
            "metrics": (Metric(name="top_1_accuracy", value=0.913, parameters={"split": "test"}),),
        }

    def _run_to_accuracy(self, pace: float) -> dict[str, Any]:
        epochs = [
            Metric(
                name="top_1_accuracy",
                value=1 - 0.4 / epoch,
                parameters={"epoch": epoch, "split": "validation"},
            )
            for epoch in range(1, 9)
        ]
        reached = [Metric(name="time_to_accuracy_seconds", value=61.5 / pace)] if pace > 1 else []
        return {
            "scenario": "time-to-accuracy",
            "workload": {"options": {"target_accuracy": 0.94, "epochs": 8}},
            "metrics": (*epochs, *reached, Metric(name="reached", value=float(bool(reached)))),
            "phases": {
                "import": 4.2,
                "build": 0.4,
                "first_step": 2.1,
                "training": 55 / pace,
                "evaluation": 4.0,
            },
        }

    def _products_run(self, chance: random.Random, pace: float) -> dict[str, Any]:
        products = tuple(
            self.series(
                "matmul",
                parameters={"n": n, "device": device},
                examples=(0, 0, 0),
                steps=(10, 10, 10),
                seconds=tuple(20 * n**3 / (speed * 1e9) * chance.uniform(0.98, 1.02) for _ in range(3)),
            )
            for device, speed in (("cpu", 80), *((("gpu", 30_000),) if pace > 1 else ()))
            for n in (512, 1024, 2048)
        )
        return {
            "scenario": "matmul",
            "workload": {"phase": "kernel", "backbone": None, "image_shape": None, "dataset": None},
            "configuration": {"global_batch_size": None, "per_replica_batch_size": None},
            "series": products,
            "phases": {"import": 4.4, "build": 0.2},
        }

    def _ensemble_inference_run(self, chance: random.Random, pace: float) -> dict[str, Any]:
        return {
            "scenario": "ensemble-inference",
            "workload": {"phase": "inference", "options": {"members": 4}},
            "series": tuple(
                series
                for arm, share in (("sequential", 1.0), ("fused", 1.3))
                for series in (
                    self.latencies(
                        *(0.02 / pace / share * chance.lognormvariate(0, 0.1) for _ in range(300)),
                        arm=arm,
                        batch_size=1,
                    ),
                    self._blocks(chance, "throughput", 900 * pace * share, arm=arm, batch_size=64),
                )
            ),
        }

    def _blocks(self, chance: random.Random, name: str, rate: float, **parameters: Any) -> Series:
        seconds = tuple(640 / rate * chance.lognormvariate(0, 0.02) for _ in range(12))
        return Series(
            name=name,
            fence="block",
            parameters=parameters,
            steps=(10,) * 12,
            examples=(640,) * 12,
            seconds=seconds,
        )

    def _ensemble(self, chance: random.Random) -> list[Metric]:
        metrics = []
        for seed in range(3):
            members = [chance.uniform(0.93, 0.965) for _ in range(4)]
            scores = [({"of": "member", "member": number}, score) for number, score in enumerate(members)]
            for where, score in [*scores, ({"of": "ensemble"}, max(members) + 0.008)]:
                for name, value in (
                    ("top_1_accuracy", score),
                    ("log_loss", 2 * (1 - score)),
                    ("macro_f1", score - 0.002),
                    ("macro_roc_auc", 0.998),
                    ("expected_calibration_error", 0.02),
                ):
                    metrics.append(Metric(name=name, value=value, parameters={"seed": seed, **where}))
        return metrics


@pytest.fixture
def records() -> Records:
    return Records()


@pytest.fixture(scope="session")
def study() -> list[RunRecord]:
    return Records().study()
