"""Logistic regression of several labels per image at once, along a path of weight decays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from keras_leoclr.evaluation.lbfgs import minimise
from keras_leoclr.evaluation.softmax_regression import penalised_mean


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
    """Minimises `mean binary cross-entropy + decay / 2 * sum(weights ** 2)` for each decay.

    The cross-entropy is summed over the classes and averaged over the images. Each class is thus a logistic
    regression of its own, and all of them are fitted in one pass. L-BFGS starts from the log-odds of the
    classes and uses the diagonal of the curvature there; each further decay starts from the solution of the
    decay before. The bias is not penalised.

    Args:
        inputs: (N, R) float32, in the coordinates of `principal_directions`.
        variances: (R,), variances of the columns of `inputs`.
        labels: (N, C), zeros and ones.
        classes: C.
        decays: weight decays >= 0; in falling order each is a good start for the next.
        start: (R + 1, C) initial weights; by default zeros, with the log-odds as the bias.
        max_steps: most steps of L-BFGS for each decay; 300 by default.
        tolerance: L-BFGS stops when no entry of the gradient is larger; 1e-4 by default.

    Yields:
        (R + 1, C) float32 weights for each decay; the last row is the bias.
    """
    count = len(inputs)
    # Half an image is added on either side, so that the log-odds stay finite if no image or every image has a
    # class.
    shares = (np.sum(labels, axis=0) + 0.5) / (count + 1)
    weights = start
    if start is None:
        weights = np.zeros((inputs.shape[1] + 1, classes), "float32")
        weights[-1] = np.log(shares / (1 - shares))
    targets = np.asarray(labels, "float32")
    for decay in decays:
        curvature = np.append(variances, 1)[:, None] * shares * (1 - shares)
        curvature[:-1] += decay
        weights = minimise(
            lambda w, decay=decay: penalised_mean(_cross_entropy, w, inputs, targets, decay),
            weights,
            curvature.astype("float32"),
            max_steps,
            tolerance,
        )
        yield weights


def _cross_entropy(logits, labels):
    # These are log(1 + exp(z)) - y z and 1 / (1 + exp(-z)), written so that large z does not overflow.
    small = np.exp(-np.abs(logits))
    loss = float(np.log1p(small).sum(dtype="float64") + np.maximum(logits, 0).sum(dtype="float64"))
    loss -= float(np.vdot(labels, logits))
    return loss, np.where(logits >= 0, 1, small) / (1 + small) - labels
