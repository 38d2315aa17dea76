"""Are weights found in the time and memory promised, and never worse than by the article's loop?

Run by hand; pytest does not collect it::

    python tests/benchmarks/weight_search.py [--big]

* Two models, 3,712 examples, 104 classes: `search_alpha` by macro F1 and by accuracy against the loop of the
  Kaggle notebook (100 values of α, scikit-learn's score of each), which it must not be worse than.
* Four such models: `search_weights` by log loss, in under 20 ms, the first call too.
* ``--big``: ten models, 50,000 examples, 1,000 classes, by log loss and by accuracy, each in under 30 s, with
  the whole process under 4 GB. Twice: members that agree on what is unlikely, as networks do, and members
  whose errors have nothing in common, for which the search cannot leave any class out. The probabilities are
  made in memory, as float32 (2 GB).

Exit code: 0 where all targets are met, else 1.
"""

import argparse
import resource
import sys
import time
from collections.abc import Callable

import numpy as np

from tpuens.ensembling.mixture import GAP
from tpuens.ensembling.weights import FoundWeights, search_alpha, search_weights
from tpuens.evaluation.scoring import log_loss

SMALL_SECONDS = 0.020
BIG_SECONDS = 30.0
BIG_BYTES = 4e9
_REPEATS = 7


def main() -> int:
    """Measures, prints and returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--big", action="store_true", help="ten models of 50,000 × 1,000 too: 4 GB, minutes")
    arguments = parser.parse_args()
    met = [measure_log_loss(), *(measure_alpha(metric) for metric in ("macro_f1", "accuracy"))]
    if arguments.big:
        met += [measure_big(shared) for shared in (True, False)]
    return 0 if all(met) else 1


def simulate(
    count: int, examples: int, classes: int, *, shared: bool = True
) -> tuple[list[np.ndarray], np.ndarray]:
    """Returns softmax probabilities of that many models, float32, and the labels.

    The logits are a normal score that all models share (or none), a noise of each, and a bonus for the label.
    """
    rng = np.random.default_rng(0)
    labels = rng.integers(0, classes, examples)
    base = 3.0 * shared * rng.standard_normal((examples, classes), dtype=np.float32)
    base[np.arange(examples), labels] += 10 if shared else 7
    members = []
    for member in range(count):
        noise = (1.5 if shared else 2.5) * (1 + member / 10)
        logits = rng.standard_normal((examples, classes), dtype=np.float32)
        logits *= np.float32(noise)
        logits += base
        logits -= logits.max(axis=1, keepdims=True)
        np.exp(logits, out=logits)
        logits /= logits.sum(axis=1, keepdims=True)
        members.append(logits)
    return members, labels


def measure_log_loss() -> bool:
    """Returns whether four models' weights are found in time."""
    members, labels = simulate(4, 3712, 104)
    first, found = timed(lambda: search_weights(members, labels))
    median = float(np.median([timed(lambda: search_weights(members, labels))[0] for _ in range(_REPEATS)]))
    best = min(log_loss(labels, member) for member in members)
    is_met = max(first, median) < SMALL_SECONDS
    print("4 × 3,712 × 104 by log loss")
    print(f"  first call {1000 * first:.1f} ms, median of {_REPEATS} {1000 * median:.1f} ms")
    print(f"  under 20 ms: {said(is_met)}")
    print(f"  log loss {found.score:.5f}, best member {best:.5f}, weights {shown(found)}")
    return is_met


def measure_alpha(metric: str) -> bool:
    """Returns whether α is found that is no worse than the loop's."""
    from sklearn.metrics import accuracy_score, f1_score

    (a, b), labels = simulate(2, 3712, 104)
    classes = range(a.shape[1])
    score: Callable[[np.ndarray], float] = {
        "macro_f1": lambda predicted: f1_score(labels, predicted, labels=classes, average="macro"),
        "accuracy": lambda predicted: accuracy_score(labels, predicted),
    }[metric]

    def loop() -> FoundWeights:
        alphas = np.linspace(0, 1, 100)
        scores = [score(np.argmax(alpha * a + (1 - alpha) * b, axis=-1)) for alpha in alphas]
        best = int(np.argmax(scores))
        return FoundWeights(
            weights=(float(alphas[best]), 1 - float(alphas[best])), metric=metric, score=float(scores[best])
        )

    theirs_seconds, theirs = timed(loop)
    seconds, ours = timed(lambda: search_alpha(a, b, labels, metric))
    is_met = ours.score >= theirs.score - GAP
    print(f"2 × 3,712 × 104, α by {metric}")
    print(f"  the loop over 100 α {theirs_seconds:.3f} s, {theirs.score:.5f} at {theirs.weights[0]:.3f}")
    print(f"  search_alpha        {seconds:.3f} s, {ours.score:.5f} at {ours.weights[0]:.3f}")
    print(f"  {theirs_seconds / seconds:.0f} times as fast; never worse: {said(is_met)}")
    return is_met


def measure_big(shared: bool) -> bool:
    """Returns whether ten large models' weights are found in time and memory."""
    members, labels = simulate(10, 50_000, 1000, shared=shared)
    print(f"10 × 50,000 × 1,000, {'errors shared in part' if shared else 'nothing in common'}")
    print(f"  memory before the search: {peak_bytes() / 1e9:.2f} GB at the most")
    is_met = True
    for metric in ("log_loss", "accuracy"):
        seconds, found = timed(lambda metric=metric: search_weights(members, labels, metric))  # type: ignore[misc]
        is_met &= seconds < BIG_SECONDS and peak_bytes() < BIG_BYTES
        print(f"  {metric} {found.score:.5f} in {seconds:.2f} s, weights {shown(found)}")
    print(f"  peak memory {peak_bytes() / 1e9:.2f} GB; under 30 s and 4 GB: {said(is_met)}")
    return is_met


def timed(work: Callable[[], FoundWeights]) -> tuple[float, FoundWeights]:
    """Returns the seconds that a call took, and what it gave."""
    start = time.perf_counter()
    found = work()
    return time.perf_counter() - start, found


def peak_bytes() -> int:
    """Returns the most memory that this process has held, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def shown(found: FoundWeights) -> str:
    """Returns weights for people."""
    return " ".join(f"{weight:.3f}" for weight in found.weights)


def said(is_met: bool) -> str:
    """Returns a verdict for people."""
    return "yes" if is_met else "NO"


if __name__ == "__main__":
    sys.exit(main())
