"""What mixes the examples of a batch, and their targets: the same for the same seed everywhere.

Images are uint8, (b, height, width, channels); targets are float32, (b, k): one-hot, or a 0 or 1 for each of
several labels; the seed is int64, (2,). Every example is mixed with the next of its batch, the last with the
first: the order of an epoch is random, so are these pairs. Names for them are in `tpuens.data.augment`.
"""

from typing import Any

import tensorflow as tf

from .transforms import within_span

MIXUP_ALPHA = 0.2


def mixup(images: Any, targets: Any, seed: Any) -> tuple[Any, Any]:
    """Returns weighted means of two images, and of their targets with the same weights.

    Zhang et al. 2018 (mixup: beyond empirical risk minimization), with a weight of its own, from
    Beta(0.2, 0.2), for each example. Their 0.2 is for ImageNet, where 0.1 to 0.4 gains and more underfits;
    their 1 for CIFAR goes with 200 epochs from scratch, which is not how pretrained networks are trained.
    """
    weights = _draw_beta(MIXUP_ALPHA, images.shape[0], seed)
    mixed = _mean(tf.cast(images, tf.float32), weights[:, tf.newaxis, tf.newaxis, tf.newaxis])
    return tf.cast(tf.round(mixed), tf.uint8), _mean(targets, weights[:, tf.newaxis])


def cutmix(images: Any, targets: Any, seed: Any) -> tuple[Any, Any]:
    """Returns images with a box of another pasted in, at the same place, and targets mixed by area.

    Yun et al. 2019 (CutMix: regularization strategy to train strong classifiers with localizable features):
    the box has the image's proportions and a share of its area from Beta(1, 1), which is uniform; its centre
    lies anywhere. Of its target an example keeps the share that it really keeps of its pixels, once the box
    is cut off at the edge.
    """
    count, height, width, _ = images.shape
    area, row, column = tf.unstack(tf.random.stateless_uniform((3, count), seed))
    rows = _box_side(row, area, height)
    columns = _box_side(column, area, width)
    box = rows[:, :, tf.newaxis, tf.newaxis] & columns[:, tf.newaxis, :, tf.newaxis]
    pasted = tf.math.count_nonzero(box, axis=(1, 2, 3), dtype=tf.float32)
    kept = 1 - pasted / (height * width)
    return tf.where(box, _next(images), images), _mean(targets, kept[:, tf.newaxis])


def _box_side(centre: Any, area: Any, size: int) -> Any:
    """Returns which of an image's rows, or columns, its box covers: bool, (b, size)."""
    length = tf.cast(size * tf.sqrt(area), tf.int32)
    return within_span(tf.cast(size * centre, tf.int32), length, size)


def _next(values: Any) -> Any:
    return tf.roll(values, shift=-1, axis=0)


def _mean(values: Any, weights: Any) -> Any:
    """Returns each example's mean with the next, its own part weighted as given."""
    return weights * values + (1 - weights) * _next(values)


def _draw_beta(alpha: float, count: int, seed: Any) -> Any:
    """Returns `count` numbers from Beta(alpha, alpha), float32: X / (X + Y) of two gamma variables."""
    first, second = tf.unstack(tf.random.stateless_gamma((2, count), seed, alpha=alpha))
    return first / (first + second)
