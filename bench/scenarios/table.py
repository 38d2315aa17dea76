"""The scenarios by name. A new one is a row here and the module that the row names."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from tpuens.registry import Row, Table


@dataclass(frozen=True, kw_only=True)
class ScenarioRow(Row):
    """A scenario that users can name; its factory is ``prepare(request, strategy, phases) -> Workload``.

    Attributes:
        runs_on: "every" strategy, each "single" device (no mirrors), or the "host" once.
        options: What only this scenario has, with the values it takes when not told otherwise.
        ignores: Settings of `Scenario` that mean nothing here; the command line leaves them as they are.
        compares: Names of the probes with which two arms of a comparison take turns; without any it cannot
            be compared so.
        probes: How many probes have those names, where one name has several.
        works_ahead: Whether it makes batches ahead. Then a process is stopped while it is not its turn, or
            it would take the other arm's cores and begin its own turn with what it made meanwhile; and
            turns are longer, so that what is left of that does not count.
        tunes: Settings that `run --tune` chooses, by the last of those probes.
    """

    runs_on: Literal["every", "single", "host"] = "every"
    options: Mapping[str, str | int | float] = field(default_factory=dict)
    ignores: tuple[str, ...] = ()
    compares: tuple[str, ...] = ()
    probes: int = 0
    works_ahead: bool = False
    tunes: tuple[str, ...] = ()

    def choose_strategies(self, names: Sequence[str]) -> list[str]:
        """Returns those of the strategies under which the scenario says something of its own."""
        if self.runs_on == "host":
            return [name for name in names if name.startswith("cpu")][:1] or list(names[:1])
        if self.runs_on == "single":
            return [name for name in names if "mirrored" not in name] or list(names[:1])
        return list(names)


_INPUT = ("augment", "cache", "prefetch", "num_parallel_calls", "loader")  # of the input pipeline alone
_LOOP = ("loop", "steps_per_execution")
_NO_NETWORK = ("optimizer", "backbone", "dtype_policy", "jit", *_LOOP)  # settings of whatever computes
_STEP = ("batch_size", "jit", "intra_op_threads", "steps_per_execution")  # what may speed up a training step

SCENARIOS = Table(
    "scenario",
    (
        ScenarioRow(
            name="input-pipeline",
            factory="bench.scenarios.input_pipeline:prepare",
            summary="read, decode, resize and batch large JPEG photographs, with nothing to feed",
            runs_on="host",
            ignores=_NO_NETWORK,
            compares=("input",),
            tunes=("batch_size", "num_parallel_calls"),
            works_ahead=True,
        ),
        ScenarioRow(
            name="input-growth",
            factory="bench.scenarios.input_growth:prepare",
            summary="the input pipeline with larger files, larger batches, more threads, more images",
            runs_on="host",
            ignores=(*_NO_NETWORK, "batch_size", "dataset", "data_dir", *_INPUT),
        ),
        ScenarioRow(
            name="input-caches",
            factory="bench.scenarios.input_caches:prepare",
            summary="epochs from image files, caches in memory and on disk, and TFRecords, cold and warm",
            runs_on="host",
            ignores=(*_NO_NETWORK, "cache"),
        ),
        ScenarioRow(
            name="train-step",
            factory="bench.scenarios.train_step:prepare",
            summary="the training step alone, on a synthetic batch that lies on the device",
            ignores=_INPUT,
            compares=("compute",),
            tunes=_STEP,
        ),
        ScenarioRow(
            name="train-epoch",
            factory="bench.scenarios.train_epoch:prepare",
            summary="pipeline and training step together, and each alone, with the wait for input measured",
            options={"examples": 0},  # the first so many only; 0: all of them
            ignores=("loader",),
            compares=("both",),
            works_ahead=True,
            tunes=(*_STEP, "num_parallel_calls"),
        ),
        ScenarioRow(
            name="head-training",
            factory="bench.scenarios.head_training:prepare",
            summary="a head on a frozen backbone: images in each epoch, or features once",
            options={"epochs": 8, "examples": 256},
            runs_on="single",
            ignores=(*_LOOP, "loader", "augment"),
        ),
        ScenarioRow(
            name="time-to-accuracy",
            factory="bench.scenarios.time_to_accuracy:prepare",
            summary="train until the validation accuracy reaches a target",
            runs_on="single",
            options={"target_accuracy": 0.95, "epochs": 30},
            ignores=(*_LOOP, "loader"),
        ),
        ScenarioRow(
            name="matmul",
            factory="bench.scenarios.matmul:prepare",
            summary="square matrix products from 3 rows to the largest that fits: where is a GPU faster?",
            runs_on="single",
            options={"largest": 32_000},
            ignores=(
                *("backbone", "image_size", "batch_size", "dtype_policy", "dataset", "data_dir"),
                *("colour", *_LOOP, "optimizer", *_INPUT),
            ),
            compares=("matmul",),
            probes=8,  # on two cores; one for each size
        ),
        ScenarioRow(
            name="inference",
            factory="bench.scenarios.inference:prepare",
            summary="latency of one image, and throughput of large batches",
            runs_on="single",
            ignores=(*_LOOP, "optimizer", *_INPUT),
            compares=("latency", "throughput"),
            tunes=("batch_size", "jit", "intra_op_threads"),
        ),
        ScenarioRow(
            name="ensemble-accuracy",
            factory="bench.scenarios.ensemble_accuracy:prepare",
            summary="train members, predict, combine: accuracy of each and of the ensemble",
            runs_on="single",
            # backbones: names separated by commas, taken in turn by the members; "" for the scenario's own
            # examples: train on the first so many only; 0: all of them
            options={"members": 3, "seeds": 1, "epochs": 3, "backbones": "", "examples": 0},
            ignores=(*_LOOP, "loader"),
        ),
        ScenarioRow(
            name="agreement",
            factory="bench.scenarios.agreement:prepare",
            summary="the same weights on the CPU, under other dtype policies, with XLA: the same answers?",
            runs_on="single",
            options={"epochs": 2, "examples": 0},
            ignores=(*_LOOP, "loader"),
        ),
        ScenarioRow(
            name="ensemble-inference",
            factory="bench.scenarios.ensemble_inference:prepare",
            summary="an ensemble's members one after another, and fused into one graph",
            runs_on="single",
            options={"members": 3},
            ignores=(*_LOOP, "optimizer", *_INPUT),
            compares=("latency", "throughput"),
        ),
    ),
)
