"""Softmax regression by L-BFGS, along a path of weight decays."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from keras_leoclr.evaluation.lbfgs import dot, minimise

CrossEntropy = Callable[[np.ndarray, np.ndarray], tuple[float, np.ndarray]]

BLOCK = 2**19  # logits that are computed at a time, few enough for the processor's cache
SMALLEST = 1e-7  # Directions with less than this share of the largest variance are rounding errors.


def principal_directions(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The directions in which features vary, and the variances along them.

    The solution of softmax regression with an L2 penalty lies in the span of the centred features, and it
    does not change under rotation. In these coordinates the problem is therefore the same, it is no wider
    than the rank of the features, and its curvature is nearly diagonal.

    Args:
        features: (N, F), centred features.

    Returns:
        (F, R) orthonormal columns float32 and variances (R,) float32, R <= min(N, F).
    """
    count, width = features.shape
    narrow = count < width
    square = features @ features.T if narrow else features.T @ features
    values, vectors = np.linalg.eigh(square.astype("float64"))
    kept = values > SMALLEST * max(values[-1], 1e-30)
    values, vectors = values[kept], vectors[:, kept].astype("float32")
    if narrow:
        vectors = features.T @ (vectors / np.sqrt(values).astype("float32"))
    return vectors, (values / count).astype("float32")


def decay_path(
    inputs: np.ndarray,
    variances: np.ndarray,
    labels: np.ndarray,
    classes: int,
    decays: Sequence[float],
    start: np.ndarray | None = None,
    max_steps: int = 300,
    tolerance: float = 1e-4,
) -> Iterator[np.ndarray]:
    """Minimises `mean cross-entropy + decay / 2 * sum(weights ** 2)` for each decay.

    L-BFGS uses the diagonal of the curvature at zero weights; each decay starts from the solution of
    the one before. The bias is not penalised.

    Args:
        inputs: (N, R) float32, in the coordinates of `principal_directions`.
        variances: (R,), variances of the columns of `inputs`.
        labels: (N,), in [0, classes).
        classes: C.
        decays: weight decays >= 0; in falling order each is a good start for the next.
        start: (R + 1, C) initial weights; zeros by default.
        max_steps: most steps of L-BFGS for each decay; 300 by default.
        tolerance: L-BFGS stops when no entry of the gradient is larger; 1e-4 by default.

    Yields:
        (R + 1, C) float32 weights for each decay; the last row is the bias.
    """
    weights = np.zeros((inputs.shape[1] + 1, classes), "float32") if start is None else start.copy()
    for decay in decays:
        curvature = np.append(variances / classes + decay, 1 / classes)[:, None].astype("float32")
        weights = minimise(
            lambda w, decay=decay: penalised_mean(_cross_entropy, w, inputs, labels, decay),
            weights,
            curvature,
            max_steps,
            tolerance,
        )
        yield weights


def penalised_mean(
    cross_entropy: CrossEntropy, weights: np.ndarray, inputs: np.ndarray, labels: np.ndarray, decay: float
) -> tuple[float, np.ndarray]:
    """The mean cross-entropy of a linear classifier plus `decay / 2 * sum(weights ** 2)`, and its gradient.

    Args:
        cross_entropy: from logits (B, C), which it may overwrite, and labels of B images to the sum of their
            losses and its derivative (B, C) by the logits.
        weights: (R + 1, C); the last row is the bias, which is not penalised.
        inputs: (N, R).
        labels: N rows, as `cross_entropy` takes them.
        decay: weight decay >= 0.
    """
    gradient = np.zeros_like(weights)
    total = 0.0
    rows = max(1, BLOCK // weights.shape[1])
    for first in range(0, len(inputs), rows):
        x, y = inputs[first : first + rows], labels[first : first + rows]
        loss, error = cross_entropy(x @ weights[:-1] + weights[-1], y)
        total += loss
        gradient[:-1] += x.T @ error
        gradient[-1] += error.sum(axis=0)
    gradient /= len(inputs)
    gradient[:-1] += np.float32(decay) * weights[:-1]
    return total / len(inputs) + 0.5 * decay * dot(weights[:-1], weights[:-1]), gradient


def _cross_entropy(logits, labels):
    logits -= logits.max(axis=1, keepdims=True)
    each = np.arange(len(labels))
    of_label = logits[each, labels]
    np.exp(logits, out=logits)
    sums = logits.sum(axis=1, keepdims=True)
    loss = float(np.log(sums).sum(dtype="float64") - of_label.sum(dtype="float64"))
    logits /= sums
    logits[each, labels] -= 1.0
    return loss, logits
