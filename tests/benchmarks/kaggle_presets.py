"""Do the networks of the ``kaggle`` presets train here? Three optimizer steps of each, time and memory.

Run by hand; pytest does not collect it::

    python tests/benchmarks/kaggle_presets.py [--image-size 96] [--batch-size 2] [--member efficientnetb7 …]

Each member is trained in a process of its own, by `tpuens.recipes.run.train` as the preset has it, but from
random weights and on images that are made here: three steps of every phase, a prediction, and the model
written. Without --image-size the preset's own size is taken (512), which asks for memory: the peak is
printed, and a process that is killed for want of it costs one line.

Exit code: 0 where every member went through, else 1.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

STEPS = 3
HELD_OUT = 2
RECIPES = ("plant-pathology", "flowers")


def main() -> int:
    """Trains every member and prints a line each; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--image-size", type=int, help="height and width (default: the preset's)")
    parser.add_argument("--batch-size", type=int, default=2)
    parser.add_argument("--member", action="append", help="only these")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        return train_member(*arguments.child, image_size=arguments.image_size, batch=arguments.batch_size)
    failures = 0
    print(f"{'recipe':16} {'member':20} {'pixels':>6} {'first step':>10} {'all':>8} {'peak memory':>12}")
    for recipe, member in list_members(arguments.member):
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, __file__, "--child", recipe, member, folder]
            command += ["--batch-size", str(arguments.batch_size)]
            if arguments.image_size:
                command += ["--image-size", str(arguments.image_size)]
            start = time.monotonic()
            answer = subprocess.run(command, capture_output=True, text=True, check=False)
            seconds = time.monotonic() - start
        if answer.returncode:
            failures += 1
            last = (answer.stderr.strip().splitlines() or [""])[-1]
            print(f"{recipe:16} {member:20} FAILED with {answer.returncode}: {last}", flush=True)
            continue
        said = json.loads(answer.stdout.splitlines()[-1])
        print(
            f"{recipe:16} {member:20} {said['pixels']:6} {said['first_step_seconds']:8.1f} s "
            f"{seconds:6.0f} s {said['peak_bytes'] / 1e9:9.2f} GB",
            flush=True,
        )
    return 1 if failures else 0


def list_members(wanted: list[str] | None) -> list[tuple[str, str]]:
    """Returns (recipe, member) of the presets, or of those wanted."""
    from tpuens.recipes.options import make_recipe

    members = [(recipe, name) for recipe in RECIPES for name in make_recipe(recipe, "kaggle").members]
    return [(recipe, name) for recipe, name in members if wanted is None or name in wanted]


def train_member(recipe: str, member: str, folder: str, *, image_size: int | None, batch: int) -> int:
    """Trains one member in this process and prints what it took, as JSON."""
    from tpuens.recipes.config import SplitConfig
    from tpuens.recipes.options import make_recipe
    from tpuens.recipes.run import train
    from tpuens.recipes.run_folder import RunFolder

    config = make_recipe(recipe, "kaggle").members[member]
    config = replace(
        config,
        dataset="image_folder",
        data_dir=str(make_images(Path(folder) / "images", batch * STEPS)),
        weights=None,
        strategy="cpu",
        image_size=image_size or config.image_size,
        batch_size=batch,
        phases=tuple(replace(phase, epochs=1) for phase in config.phases),
        split=SplitConfig(fraction=HELD_OUT / (batch * STEPS + HELD_OUT)),
    )
    train(config, Path(folder) / "run")
    rows = RunFolder(Path(folder) / "run").read_history()
    assert [row["steps"] for row in rows] == [str(STEPS)] * len(rows), rows
    assert all(np.isfinite(float(row["loss"])) for row in rows), rows
    said = {
        "pixels": config.image_size,
        "first_step_seconds": float(rows[-1]["first_step_seconds"]),
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }
    print(json.dumps(said))
    return 0


def make_images(folder: Path, training: int) -> Path:
    """Writes JPEG files of two classes: what is trained on, what is held out, and two to test on."""
    generator = np.random.default_rng(0)
    counts = {"train": (training + HELD_OUT) // 2, "test": 1}
    for part, count in counts.items():
        for name in ("one", "other"):
            (folder / part / name).mkdir(parents=True)
            for index in range(count):
                pixels = generator.integers(0, 256, (120, 160, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / part / name / f"{index}.jpg")
    return folder


if __name__ == "__main__":
    sys.exit(main())
