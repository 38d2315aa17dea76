"""The weights of a mixture that minimise log loss: a convex problem, solved to a certified gap."""

import numpy as np

from ..evaluation.scoring import LEAST_PROBABILITY

GAP = 1e-9  # nats: the log loss found is at most this far above the least possible one
_MOST_STEPS = 500
_RIDGE = 1e-12  # of the curvature's trace: members that say the same leave it singular


def fit_mixture(right: np.ndarray) -> np.ndarray:
    """Returns the weights w ≥ 0, Σw = 1, that minimise −mean log(right · w).

    Only the probability of the right class matters for the log loss, so the problem is as small as
    (n, members). On the simplex it equals min −mean log(right · w) + Σw over w ≥ 0 alone [Kim, Carbonetto,
    Stephens & Anitescu 2020, "A fast algorithm for maximum likelihood estimation of mixture proportions using
    sequential quadratic programming", proposition 1], which projected Newton steps solve [Bertsekas 1982,
    "Projected Newton methods"]. Where a step fails to descend, one of expectation maximisation is taken: it
    always does. At Σw = 1 the largest mean of right / (right · w), less 1, bounds how far w is from the best
    (Frank & Wolfe's gap): the search ends when that is below `GAP`.

    Args:
        right: float64 (n, members), the probability that each member gave to what was right.
    """
    right = np.maximum(right, LEAST_PROBABILITY)
    count = right.shape[1]
    weights = np.full(count, 1 / count)
    loss = _loss(right, weights)
    for _ in range(_MOST_STEPS):
        ratios = right / (right @ weights)[:, None]
        gradient = 1 - ratios.mean(axis=0)
        if -gradient.min() <= GAP:
            break
        step = _newton_step(right, weights, loss, ratios, gradient)
        if step is None:
            weights = weights * (1 - gradient)  # expectation maximisation
            loss = _loss(right, weights)
        else:
            weights, loss = step
    return np.asarray(weights / weights.sum())


def _newton_step(
    right: np.ndarray, weights: np.ndarray, loss: float, ratios: np.ndarray, gradient: np.ndarray
) -> tuple[np.ndarray, float] | None:
    """Returns better weights and their loss; None where no length of the step descends enough."""
    free = ~((weights < 1e-9) & (gradient > 0))
    chosen = ratios[:, free]
    curvature = chosen.T @ chosen / len(right)
    curvature[np.diag_indices_from(curvature)] += _RIDGE * np.trace(curvature)
    direction = np.zeros_like(weights)
    try:
        direction[free] = -np.linalg.solve(curvature, gradient[free])
    except np.linalg.LinAlgError:
        return None
    length = 1.0
    while length > 1e-6:
        proposed = np.where(free, np.maximum(weights + length * direction, 0), 0)
        if proposed.any():
            proposed /= proposed.sum()
            now = _loss(right, proposed)
            if now <= loss + 1e-4 * min(0.0, float(gradient @ (proposed - weights))) and now < loss:
                return proposed, now
        length /= 2
    return None


def _loss(right: np.ndarray, weights: np.ndarray) -> float:
    return -float(np.log(right @ weights).mean())
