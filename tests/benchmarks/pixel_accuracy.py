"""Are networks as accurate on leaves that our pipeline shrank as on those that the article's did?

Run by hand; pytest does not collect it::

    python tests/benchmarks/pixel_accuracy.py PLANT_PATHOLOGY OUTPUT [--image-size 96] [--seeds 5]

The labelled leaves are reduced twice: by `tpuens.data.decode.decode_image`, and as the article does it, by
decoding whole, casting, dividing by 255 and resizing, then rounded back to 0..255. Each becomes a data
folder of its own, whose pixels no later step changes. On both the recipe's ``cpu-demo`` trains two of its
members in five folds, with the same splits and seeds, so that each seed gives the ensemble's out-of-fold
prediction of every leaf twice. The same OUTPUT goes on where a run was stopped.

The interval is of the mean over leaves of the difference in how often a leaf was right: the seeds of a leaf
are its mean, since they are not independent of each other.

Exit code: 0 where the interval's upper end is 0 or more, which is to say that ours is not worse, else 1.
"""

import argparse
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from PIL import Image

from bench.analysis.intervals import paired_difference
from tpuens.data.decode import decode_image
from tpuens.evaluation.metrics import accuracy_interval, find_right
from tpuens.evaluation.predictions import load_predictions
from tpuens.recipes.options import RecipeOptions, make_recipe
from tpuens.recipes.recipe import run_recipe

MEMBERS = ("lite0", "lite1")


def main() -> int:
    """Trains, prints a table and returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data_dir", type=Path, help="train.csv, test.csv and images/ of the competition")
    parser.add_argument("output", type=Path)
    parser.add_argument("--image-size", type=int, default=96)
    parser.add_argument("--seeds", type=int, default=5)
    arguments = parser.parse_args()
    size = arguments.image_size
    rights = {}
    for arm, shrink in (("article", shrink_as_the_article), ("ours", shrink_as_we)):
        folder = shrink_all(arguments.data_dir, arguments.output / f"{arm}-{size}", size, shrink)
        options = {"data_dir": str(folder), "members": MEMBERS, "image_size": size}
        found = []
        for seed in range(arguments.seeds):
            recipe = make_recipe("plant-pathology", "cpu-demo", RecipeOptions(seed=seed, **options))
            run = run_recipe(recipe, arguments.output / f"run-{arm}-{size}-{seed}").folder
            found.append(find_right_by_id(run / "ensemble" / "held-out.npz"))
            shutil.rmtree(run / "features", ignore_errors=True)  # of use to the folds of one seed
            print(f"{arm} at {size}×{size}, seed {seed}: {np.mean(list(found[-1].values())):.4f}", flush=True)
        rights[arm] = found
    return report(rights["ours"], rights["article"])


def shrink_as_we(contents: bytes, size: int) -> np.ndarray:
    """Returns our pipeline's pixels, uint8 (size, size, 3)."""
    pixels: np.ndarray = decode_image(tf.constant(contents), (size, size, 3)).numpy()
    return pixels


def shrink_as_the_article(contents: bytes, size: int) -> np.ndarray:
    """Returns the article's pixels, uint8 (size, size, 3)."""
    whole = tf.cast(tf.image.decode_jpeg(contents, channels=3), tf.float32) / 255.0
    return np.rint(tf.image.resize(whole, (size, size)).numpy() * 255.0).astype(np.uint8)


def shrink_all(data: Path, folder: Path, size: int, shrink: Callable[[bytes, int], np.ndarray]) -> Path:
    """Returns a data folder with every image reduced: PNG files under the names that train.csv gives."""
    images = folder / "images"
    images.mkdir(parents=True, exist_ok=True)
    for table in data.glob("*.csv"):
        shutil.copy(table, folder)
    for path in sorted((data / "images").glob("*.jpg")):
        Image.fromarray(shrink(path.read_bytes(), size)).save(images / path.name, "PNG")
    return folder


def find_right_by_id(path: Path) -> dict[str, bool]:
    """Returns which examples were predicted right."""
    predictions = load_predictions(path)
    right = find_right(predictions.labels, predictions.probabilities)
    return dict(zip(predictions.ids.tolist(), right.tolist(), strict=True))


def report(ours: list[dict[str, bool]], article: list[dict[str, bool]]) -> int:
    """Prints both accuracies and their difference; returns the exit code."""
    ids = sorted(ours[0])
    shares: dict[str, Any] = {
        arm: np.mean([[right[id_] for id_ in ids] for right in found], axis=0)
        for arm, found in (("ours", ours), ("the article's", article))
    }
    for arm, share in shares.items():
        low, high = accuracy_interval(round(share.sum()), len(ids))
        print(f"{arm:14} {share.mean():.4f} ({low:.4f} to {high:.4f}) of {len(ids):,} leaves")
    found = paired_difference((shares["ours"] - shares["the article's"]).tolist())
    print(f"difference     {found.value:+.4f} ({found.low:+.4f} to {found.high:+.4f}), {len(ours)} seeds")
    is_met = found.high >= 0
    print(f"not worse: {'yes' if is_met else 'NO'}")
    return 0 if is_met else 1


if __name__ == "__main__":
    sys.exit(main())
