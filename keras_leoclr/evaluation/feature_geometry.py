"""Measures of how features lie on the unit sphere: alignment, uniformity and RankMe."""

from __future__ import annotations

import numpy as np

from keras_leoclr.evaluation.neighbour_search import unit_rows

CHUNK = 1024  # number of rows whose distances to the others are held at a time


def alignment(features: np.ndarray, others: np.ndarray, alpha: float = 2.0) -> float:
    """Mean of `|x - y| ** alpha` over pairs of unit vectors (arXiv 2005.10242, equation 5).

    Args:
        features: (N, F), scaled to length 1 here.
        others: (N, F); row i is of the same image as row i of `features`. Scaled to length 1 here.
        alpha: exponent, > 0; 2 by default.

    Returns:
        A number in [0, 2 ** alpha]; 0 if both views of each image have the same features.
    """
    distances = np.linalg.norm(unit_rows(features) - unit_rows(others), axis=1)
    return float(np.mean(distances**alpha))


def uniformity(features: np.ndarray, t: float = 2.0) -> float:
    """Log of the mean of `exp(-t |x - y| ** 2)` over all pairs (arXiv 2005.10242, equation 6).

    Args:
        features: (N, F), N >= 2, scaled to length 1 here.
        t: factor of the squared distance, > 0; 2 by default.

    Returns:
        A number in [-4 t, 0]; 0 for collapsed features, also where all of them are zero.
    """
    features = unit_rows(features)
    halves = features.any(axis=1).astype("float32") / 2  # Rows of zeros have the length 0, not 1.
    count, total = len(features), 0.0
    for first in range(0, count, CHUNK):
        part = features[first : first + CHUNK]
        # |x - y|^2 = |x|^2 + |y|^2 - 2 x.y; each chunk is compared with itself and with the rows after it.
        cosines = part @ features[first:].T
        cosines -= halves[first : first + CHUNK, None]
        cosines -= halves[first:]
        pairs = np.exp(2 * t * cosines)
        own = pairs[:, : len(part)]
        total += np.triu(own, 1).sum(dtype="float64") + pairs[:, len(part) :].sum(dtype="float64")
    return float(np.log(total / (count * (count - 1) / 2)))


def rankme(features: np.ndarray) -> float:
    """Smooth rank of the features (arXiv 2210.02885, equation 1).

    `exp(-sum_i p_i log p_i)` with `p_i = s_i / sum(s) + 1e-7`, s the singular values.

    Args:
        features: (N, F); they are neither centred nor scaled.

    Returns:
        A number of about 1 for collapsed features, at most min(N, F).
    """
    values = np.linalg.svd(np.asarray(features, "float64"), compute_uv=False)
    shares = values / max(values.sum(), 1e-30) + 1e-7
    return float(np.exp(-(shares * np.log(shares)).sum()))
