"""The largest batch that fits a device, found with few compiles, since each takes minutes.

A step's memory is close to a line in the batch: weights and optimizer state, and so much an example. One
compile and the size of the weights give the line, two give it better, and a batch that is refused tells
what it would have needed. TPU compilers refuse within seconds (the CIFAR CNN's step: 5 s, where one that just
fits takes 150), so the search comes from above: first well over the guess, then down. Where the largest batch
on another device is known, it starts from there. What is guessed is compiled, so that what is said is always
the compiler's word.
"""

import math
from collections.abc import Callable, Iterable, Mapping

from .messages import Compiled

# TPUs lay out batches in eights; below two of them every single example counts.
_STEP = 8
# The first look at what does not fit: so many times the guess.
_OVER = 2.5
# Between a batch that fits and one that does not, the next is so far up at least; where they are so many
# times apart, half-way by their ratio.
_HIGH = 0.6
_WIDE = 4
# No more compiles than these in one call, the first within; most of them are refusals.
MOST_COMPILES = 10
# Beyond it nobody trains a network on one device, and compiling takes long.
MOST_EXAMPLES = 65536


def find_largest(
    compile_at: Callable[[int], Compiled],
    said: Mapping[int, Compiled],
    allowed: int,
    likely: int | None = None,
) -> dict[int, Compiled]:
    """Returns what the compiler said, by batch size, in the order in which it was asked.

    A search that was cut off by its number of compiles goes on in the next call.

    Args:
        compile_at: Compiles a batch of that size.
        said: What it said before, of one batch at least.
        allowed: Bytes that a program may have.
        likely: What another device makes expect, see `expect`.
    """
    said = dict(said)
    most = len(said) - 1 + MOST_COMPILES
    while len(said) < most and (batch := next_batch(said, allowed, likely)) is not None:
        said[batch] = compile_at(batch)
    return said


def expect(allowed: int, others: Iterable[tuple[Mapping[int, Compiled], int]]) -> int | None:
    """Returns the largest batch to expect from what is known of the same step on other devices.

    The device with the memory nearest to this one's counts: what it has left beside the weights and the
    optimizer's state holds what lies between its largest batch and the smallest refused.

    Args:
        allowed: Bytes that a program may have.
        others: What the compiler said for each other device, by batch size, and what it allows there.

    Returns:
        A multiple of eight, from eight on; None where no other device's largest batch is known.
    """
    known = [one for one in others if is_known(one[0]) and bracket(one[0])[0]]
    if not known:
        return None
    said, room = min(known, key=lambda one: abs(math.log(one[1] / allowed)))
    weights = min(one.memory.arguments for one in said.values() if one.memory)
    fits, too_large = bracket(said)
    likely = int((fits + (too_large or fits)) / 2 * (allowed - weights) / (room - weights))
    return likely if likely < _STEP else likely // _STEP * _STEP


def next_batch(said: Mapping[int, Compiled], allowed: int, likely: int | None = None) -> int | None:
    """Returns the batch to compile next; None where the largest is known closely enough, or cannot be."""
    if any(one.status not in ("ok", "too large") for one in said.values()):
        return None
    fits, too_large = bracket(said)
    if too_large is None and fits >= MOST_EXAMPLES:
        return None
    if is_known(said):
        return None
    step = _step(fits)
    guess = _predict(said, allowed)
    if likely is not None and fits < likely < (too_large or math.inf):
        guess = likely
    elif likely is not None and too_large is None:
        guess = fits + max(step, 2 * (fits - likely))
    elif too_large is None:
        guess = _OVER * (guess or fits)
    elif fits:  # near the limit the line is flat, since compilers compute again what they cannot keep
        high = math.sqrt(fits * too_large) if too_large > _WIDE * fits else fits + _HIGH * (too_large - fits)
        guess = max(guess or 0, high)
    else:
        guess = guess or too_large / 2
    lowest = fits + step if fits else 1
    highest = MOST_EXAMPLES if too_large is None else max(too_large - _step(too_large - 1), lowest)
    return min(max(_round_up(round(guess)), lowest), highest)


def is_known(said: Mapping[int, Compiled]) -> bool:
    """Returns whether the largest batch is known closely enough: to an eighth."""
    fits, too_large = bracket(said)
    return too_large is not None and too_large - fits <= _step(fits)


def bracket(said: Mapping[int, Compiled]) -> tuple[int, int | None]:
    """Returns the largest batch that fits, 0 for none, and the smallest that does not, None for none."""
    fits = max((batch for batch, one in said.items() if one.status == "ok"), default=0)
    return fits, min((batch for batch, one in said.items() if one.status == "too large"), default=None)


def _step(batch: int) -> int:
    """Returns how closely the largest batch is to be known: to an eighth, from 16 on in eights."""
    return 1 if batch < 2 * _STEP else max(_STEP, batch // 8 // _STEP * _STEP)


def _round_up(batch: int) -> int:
    return batch if batch < 2 * _STEP else -(-batch // _STEP) * _STEP


def _predict(said: Mapping[int, Compiled], allowed: int) -> float | None:
    """Returns the batch at which a line through what is known reaches what is allowed.

    It goes through the batches on both sides of the limit, else through the two that lie furthest apart.
    """
    sizes = {batch: size for batch, one in said.items() if (size := _size(one)) is not None}
    if not sizes:
        return None
    fits, too_large = bracket(said)
    if len(sizes) == 1:
        (only,) = sizes
        memory = said[only].memory
        sizes[0] = min(memory.arguments, sizes[only]) if memory else 0
    low = fits if fits and too_large in sizes else min(sizes)
    high = too_large if too_large in sizes else max(sizes)
    if high is None or sizes[high] <= sizes[low]:
        return None
    return low + (allowed - sizes[low]) * (high - low) / (sizes[high] - sizes[low])


def _size(one: Compiled) -> int | None:
    return one.memory.peak if one.memory else one.needed_bytes
