"""How far are the settings that `run --tune` chooses from the best of a full sweep by hand?

Run by hand on a machine that has nothing else to do; pytest does not collect it::

    python tests/benchmarks/tuning_sweep.py [--scenario train-step] [--backbone cifar_cnn] [--image-size 32]

1. `--tune` chooses, from the batch size that is given first.
2. Every combination of batch size, XLA, threads and steps a call takes a few turns beside the tuned settings,
   which stay alive meanwhile. This ranks them, no more: the best of so many short trials is partly luck.
3. So the first of that ranking are compared with the tuned settings afresh, in pairs of fresh processes that
   take turns, as `tpuens-bench compare` does it.

Exit code: 0 where no whole interval lies beyond 5 % and no ratio does, 1 where one does.
"""

import argparse
import itertools
import sys
import tempfile
import time
from pathlib import Path

import msgspec

from bench.analysis.compare import compare_records
from bench.analysis.matching import split_arms
from bench.execution.compare_run import run_comparison
from bench.execution.limits import default_limits
from bench.execution.racing import Runner, Settings, TrialError, end, gain
from bench.execution.trials import AUTO, LiveArm, apply_settings
from bench.execution.tuning import Tuner
from bench.records.record import Parameter
from bench.suites import Request, Scenario
from tpuens.hardware.devices import collect_versions

WITHIN = 0.05
TURNS = 2  # there and back, beside the tuned settings


def main() -> int:
    """Tunes, sweeps, compares, prints, and returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenario", default="train-step")
    parser.add_argument("--backbone", default="cifar_cnn")
    parser.add_argument("--image-size", type=int, default=32)
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[16, 64, 256, 512])
    parser.add_argument("--threads", nargs="+", default=[AUTO, "1", "4"])
    parser.add_argument("--steps", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--finalists", type=int, default=2, help="settings to compare with the tuned ones")
    parser.add_argument("--budget", type=float, default=600.0, help="seconds for each of these comparisons")
    given = parser.parse_args()
    scenario = Scenario(
        name=given.scenario,
        backbone=given.backbone,
        image_size=given.image_size,
        batch_size=given.batch_sizes[0],
        seconds=12.0,
    )
    request = Request(suite="sweep", scenario=scenario, strategy="cpu")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        start = time.monotonic()
        (tuned,) = Tuner(
            fingerprint="0" * 16,
            versions=collect_versions(),
            logs=folder / "logs",
            make_limits=default_limits,
            kept_in=folder / "kept",
        ).tune([request])
        if tuned.tuning is None:
            raise SystemExit("the settings to begin with do not work")
        print(f"tuned in {time.monotonic() - start:.0f} s: {tuned.tuning.chosen}\n{tuned.tuning.why}\n")
        grid: dict[str, list[Parameter]] = {
            "batch_size": given.batch_sizes,
            "jit": [False, True],
            "intra_op_threads": [int(one) if one.isdecimal() else one for one in given.threads],
            "steps_per_execution": given.steps,
        }
        start = time.monotonic()
        ranked = sweep(request, tuned.tuning.chosen, grid, folder / "logs")
        print(f"\nswept in {time.monotonic() - start:.0f} s; the first, and how they do afresh:")
        held = True
        for number, settings in enumerate(ranked[: given.finalists]):
            best = apply_settings(request, settings)
            plain = msgspec.structs.replace(tuned, tuning=None)
            records = run_comparison(plain, best, folder / str(number), budget_seconds=given.budget)
            (reading,) = compare_records(*split_arms(records)).readings
            wall = reading.wall
            assert wall is not None, "a comparison has pairs"
            held = held and wall.ratio <= 1 + WITHIN
            print(
                f"{settings}: {wall.ratio:.3f} times as fast as the tuned settings ({wall.low:.3f} to "
                f"{wall.high:.3f}, {wall.pairs} pairs); whole interval within {WITHIN:.0%}: "
                f"{'yes' if wall.high <= 1 + WITHIN else 'no'}",
                flush=True,
            )
    print(f"within {WITHIN:.0%} of the best: {'yes' if held else 'NO'}")
    return 0 if held else 1


def sweep(request: Request, tuned: Settings, grid: dict[str, list[Parameter]], logs: Path) -> list[Settings]:
    """Prints how every combination does beside the tuned settings, and returns them, the fastest first."""

    def open_arm(settings: Settings, name: str) -> Runner:
        arm = LiveArm(apply_settings(request, settings), log=logs / name, limits=default_limits())
        return Runner(settings, arm)

    champion = open_arm(tuned, "tuned.log")
    ratios: list[tuple[float, Settings]] = []
    for number, values in enumerate(itertools.product(*grid.values())):
        settings = {**tuned, **dict(zip(grid, values, strict=True))}
        if settings == tuned:
            continue
        try:
            rival = open_arm(settings, f"{number}.log")
        except TrialError as error:
            print(f"{settings}: {error}")
            continue
        champion.seconds.clear()
        for runner in (champion, rival, rival, champion) * TURNS:
            runner.take_turn()
        found = gain(champion, rival)
        end(rival)
        if found is not None and rival.failure is None:
            ratios.append((found.ratio, settings))
            print(f"{found.ratio:6.3f}  {settings}", flush=True)
    end(champion)
    ratios.sort(key=lambda one: -one[0])
    return [settings for _, settings in ratios]


if __name__ == "__main__":
    sys.exit(main())
