"""L-BFGS for the weights of linear classifiers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

HISTORY = 10


def minimise(
    function: Callable[[np.ndarray], tuple[float, np.ndarray]],
    weights: np.ndarray,
    curvature: np.ndarray,
    max_steps: int,
    tolerance: float,
) -> np.ndarray:
    """Minimises a function by L-BFGS (Nocedal and Wright, Numerical Optimization, algorithm 7.5).

    Args:
        function: computes the loss and the gradient (R, C) from weights (R, C).
        weights: (R, C) float32, the start.
        curvature: (R, C), or (R, 1) if all columns are equal; diagonal of the second derivative at the start,
            > 0.
        max_steps: largest number of steps.
        tolerance: stops when no entry of the gradient is larger.

    Returns:
        (R, C) float32, the weights at the minimum.
    """
    loss, gradient = function(weights)
    pairs = []  # (step, change of the gradient, 1 / their product)
    for _ in range(max_steps):
        if np.abs(gradient).max() <= tolerance:
            break
        direction = -_inverse_curvature_times(gradient, pairs, curvature)
        slope = dot(direction, gradient)
        if slope >= 0:  # Only rounding errors remain, so no step can reduce the loss.
            break
        rate = 1.0
        while True:
            new = weights + np.float32(rate) * direction
            new_loss, new_gradient = function(new)
            if new_loss <= loss + 1e-4 * rate * slope:
                break
            rate *= 0.5
            if rate < 1e-3:
                return weights
        step, change = new - weights, new_gradient - gradient
        product = dot(step, change)
        if product > 1e-12 * dot(change, change):
            pairs = [*pairs[1 - HISTORY :], (step, change, 1.0 / product)]
        weights, loss, gradient = new, new_loss, new_gradient
    return weights


def _inverse_curvature_times(gradient, pairs, curvature):
    """Multiplies the gradient with the inverse curvature by the two loops of L-BFGS."""
    result = gradient.copy()
    factors = []
    for step, change, inverse in reversed(pairs):
        factor = inverse * dot(step, result)
        result -= np.float32(factor) * change
        factors.append(factor)
    result /= curvature
    if pairs:
        _, change, inverse = pairs[-1]
        result *= np.float32(1.0 / (inverse * dot(change, change / curvature)))
    for (step, change, inverse), factor in zip(pairs, reversed(factors), strict=True):
        result += np.float32(factor - inverse * dot(change, result)) * step
    return result


def dot(a: np.ndarray, b: np.ndarray) -> float:
    """Inner product of all entries."""
    return float(np.vdot(a, b))
