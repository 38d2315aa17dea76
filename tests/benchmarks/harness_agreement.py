"""Does the instrument measure what a plain loop with its own clock measures? And what does it cost itself?

Run by hand on a machine that has nothing else to do; pytest does not collect it::

    python tests/benchmarks/harness_agreement.py [--pairs 24]

One process holds one compiled training step (cifar_cnn at 32×32 on the CPU, its batch chosen so that a
step takes about 50 ms). Two arms take turns on it in the order A B B A, in blocks of about half a second:

* A: `bench.measuring.timing.measure_probe`, one block, with the least warm-up that tells it how many steps
  a block is (one step).
* B: a plain loop over as many steps between two readings of `time.perf_counter`, and one fence. It runs one
  fenced step ahead as well, so that both arms start alike.

Adjacent blocks make a pair; the interval is Student's, at 95 %, of the mean of the pairs' log-ratios. The
instrument's own cost is found apart, with a step and a fence that do nothing, against a bare loop.

Exit code: 0 where the interval lies within 3 % and the cost is under 0.5 % of a step of 50 ms, else 1.
With too few pairs for this machine's noise the interval is wide and the answer is 1: take more.
"""

import argparse
import math
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from bench.measuring.timing import Probe, measure_probe
from tpuens.hardware.strategies import open_strategy

STEP_SECONDS = 0.050
BLOCK_SECONDS = 0.5
MOST_DISAGREEMENT = 0.03  # of the throughput
MOST_COST = 0.005  # of a step of STEP_SECONDS
EMPTY_STEPS, EMPTY_BLOCKS = 20_000, 15


@dataclass(frozen=True)
class Block:
    """Steps, and the seconds that they took."""

    steps: int
    seconds: float

    @property
    def rate(self) -> float:
        """Steps a second."""
        return self.steps / self.seconds


def main() -> int:
    """Measures, prints a table and returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=24, help="blocks of each arm (even, 4 or more)")
    pairs = parser.parse_args().pairs
    if pairs < 4 or pairs % 2:
        parser.error("the order A B B A needs an even number of pairs, 4 or more")

    cost = measure_cost()
    step, fence, batch_size = make_step()
    ours, plain = take_turns(step, fence, pairs)
    ratios = [math.log(a.rate / b.rate) for a, b in zip(ours, plain, strict=True)]
    low, high = t_interval(ratios)
    agrees = max(abs(math.expm1(low)), abs(math.expm1(high))) <= MOST_DISAGREEMENT
    share = cost / STEP_SECONDS

    pooled = pool(ours).rate / pool(plain).rate
    print(f"step                       {1000 / pool(plain).rate:10.2f} ms, {batch_size} examples")
    print(f"blocks of each arm         {pairs:10d}")
    print(f"measure_probe              {pool(ours).rate * batch_size:10.1f} examples/s")
    print(f"plain loop                 {pool(plain).rate * batch_size:10.1f} examples/s")
    print(f"ratio, all over all        {pooled:10.4f}")
    print(f"ratio, median of pairs     {math.exp(statistics.median(ratios)):10.4f}")
    print(
        f"ratio, mean of pairs       {math.exp(statistics.mean(ratios)):10.4f} "
        f"({math.exp(low):.4f} to {math.exp(high):.4f}; within 3 %: {'yes' if agrees else 'NO'})"
    )
    print(
        f"the instrument's own cost  {cost * 1e6:10.3f} µs a step, {share:.5%} of a step of 50 ms "
        f"(under 0.5 %: {'yes' if share < MOST_COST else 'NO'})"
    )
    return 0 if agrees and share < MOST_COST else 1


def make_step() -> tuple[Callable[[], None], Callable[[], object], int]:
    """Returns the training step bound to a batch, its fence, and the batch size."""
    strategy = open_strategy("cpu")  # before TensorFlow starts
    batch_size = 64
    for _ in range(2):
        step, fence = bind_step(strategy, batch_size)
        plain_block(step, fence, 3)
        seconds = statistics.median(plain_block(step, fence, 1).seconds for _ in range(8))
        if abs(seconds / STEP_SECONDS - 1) < 0.2:
            break
        batch_size = max(8, 8 * round(batch_size * STEP_SECONDS / seconds / 8))
    else:
        step, fence = bind_step(strategy, batch_size)
        plain_block(step, fence, 5)
    return step, fence, batch_size


def bind_step(strategy: Any, batch_size: int) -> tuple[Callable[[], None], Callable[[], object]]:
    """Returns a training step of cifar_cnn on a synthetic batch of that size, and its fence."""
    import keras
    import tensorflow as tf

    from tpuens.models.classifier import build_classifier
    from tpuens.training.loop import Trainer
    from tpuens.training.optimizers import choose_implementation, make_optimizer
    from tpuens.training.step import share_among_replicas

    keras.utils.set_random_seed(0)
    with strategy.scope():
        trainer = Trainer(
            model=build_classifier(backbone="cifar_cnn", num_classes=10),
            optimizer=make_optimizer(
                "adam", learning_rate=1e-3, implementation=choose_implementation(strategy)
            ),
            strategy=strategy,
            per_replica_batch_size=batch_size,
        )
    images = tf.cast(tf.random.uniform((batch_size, 32, 32, 3), 0, 256, tf.int32), tf.uint8)
    labels = tf.random.uniform((batch_size,), 0, 10, tf.int32)
    batch = share_among_replicas(strategy, (images, labels))
    return lambda: trainer.step(batch), trainer.step.fence


def take_turns(
    step: Callable[[], None], fence: Callable[[], object], pairs: int
) -> tuple[list[Block], list[Block]]:
    """Returns the blocks of measure_probe and those of the plain loop; blocks of one index were adjacent."""
    ours: list[Block] = []
    plain: list[Block] = []
    for _ in range(pairs // 2):
        ours.append(harness_block(step, fence))
        for _ in range(2):
            plain_block(step, fence, 1)
            plain.append(plain_block(step, fence, ours[-1].steps))
        ours.append(harness_block(step, fence))
    return ours, plain


def harness_block(step: Callable[[], None], fence: Callable[[], object]) -> Block:
    """Returns one block as the instrument takes it."""
    probe = Probe(name="compute", step=step, fence=fence, examples_per_step=1, parameters={})
    series = measure_probe(probe, warmup_steps=1, blocks=1, block_seconds=BLOCK_SECONDS, latency_seconds=0.0)
    return Block(sum(series.steps), sum(series.seconds))


def plain_block(step: Callable[[], None], fence: Callable[[], object], steps: int) -> Block:
    """Returns one block as anyone would write it down."""
    start = time.perf_counter()
    for _ in range(steps):
        step()
    fence()
    return Block(steps, time.perf_counter() - start)


def measure_cost() -> float:
    """Returns the seconds that the instrument adds to a step at most: its loop over nothing less a bare one.

    Without warm-up it takes every step for a block of its own, with two readings of each clock, a fence and
    a sample to keep: in a block of many steps each of them costs less.
    """

    def nothing() -> None:
        return None

    def ours(steps: int) -> float:
        probe = Probe(
            name="nothing", step=nothing, fence=nothing, examples_per_step=1, parameters={}, min_steps=steps
        )
        start = time.perf_counter()
        measure_probe(probe, warmup_steps=0, blocks=1, block_seconds=BLOCK_SECONDS, latency_seconds=0.0)
        return (time.perf_counter() - start) / steps

    def bare(steps: int) -> float:
        return plain_block(nothing, nothing, steps).seconds / steps

    differences = [ours(EMPTY_STEPS) - bare(EMPTY_STEPS) for _ in range(EMPTY_BLOCKS)]
    return statistics.median(differences)


def pool(blocks: Sequence[Block]) -> Block:
    """Returns all steps over all seconds."""
    return Block(sum(block.steps for block in blocks), sum(block.seconds for block in blocks))


def t_interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float]:
    """Returns Student's interval of the mean."""
    from scipy import stats

    half = stats.t.ppf((1 + confidence) / 2, len(values) - 1) * stats.sem(values)
    mean = statistics.mean(values)
    return mean - float(half), mean + float(half)


if __name__ == "__main__":
    sys.exit(main())
