"""Accuracies and their uncertainty: intervals, means over classes and runs, and the paired bootstrap."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.special import stdtrit

CONFIDENCE = 0.95
Z = 1.959964  # quantile of the normal distribution for a two-sided interval of this confidence
RESAMPLES = 10_000  # number of draws of the bootstrap


def best_classes(scores: np.ndarray) -> np.ndarray:
    """The five classes with the highest scores, best first.

    Args:
        scores: (M, C) scores of the images; equal scores are ordered by class.

    Returns:
        (M, min(5, C)) int64.
    """
    return np.argsort(-scores, axis=1, kind="stable")[:, :5]


def accuracies(ranked: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """`{"top1", "top5"}`: the shares of images whose label is the best class, or among all of the row.

    Args:
        ranked: (M, R) classes of each image, best first.
        labels: (M,) true classes.
    """
    hits = ranked == np.asarray(labels)[:, None]
    return {"top1": float(hits[:, 0].mean()), "top5": float(hits.any(axis=1).mean())}


def wilson(hits: int, count: int) -> tuple[float, float]:
    """95 % confidence interval of a share (Wilson, 1927); unlike the normal interval, it stays in [0, 1].

    Args:
        hits: number of successes, in [0, count].
        count: number of trials, >= 1.
    """
    share, spread = hits / count, Z * Z / count
    centre = (share + spread / 2) / (1 + spread)
    half = math.sqrt(share * (1 - share) * spread + spread * spread / 4) / (1 + spread)
    return max(0.0, centre - half), min(1.0, centre + half)


def per_class(hits: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Accuracy (C,) and number of images (C,) of each class; NaN for a class without an image.

    Args:
        hits: (M,) bool, which images are classified correctly.
        labels: (M,) true classes.
    """
    counts = np.bincount(labels)
    with np.errstate(invalid="ignore"):
        return np.bincount(labels, hits) / counts, counts


def mean_per_class(hits: np.ndarray, labels: np.ndarray) -> tuple[float, tuple[float, float]]:
    """Mean of the accuracies of the classes, and its 95 % interval by the normal approximation.

    Args:
        hits: (M,) bool, which images are classified correctly.
        labels: (M,) true classes; classes without an image do not count.
    """
    accuracy, counts = per_class(hits, labels)
    accuracy, counts = accuracy[counts > 0], counts[counts > 0]
    # (h + 1) / (n + 2) keeps the variance of a class above 0 if all or none of its images are correct.
    smooth = (accuracy * counts + 1) / (counts + 2)
    half = Z * math.sqrt((smooth * (1 - smooth) / counts).sum()) / len(counts)
    mean = float(accuracy.mean())
    return mean, (max(0.0, mean - half), min(1.0, mean + half))


def student_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """95 % interval of the mean of independent values, by Student's t distribution.

    Args:
        values: accuracies, or differences of accuracies, of runs with several seeds.

    Returns:
        Low and high end, which may lie outside of [0, 1]; None for a single value.
    """
    if len(values) < 2:
        return None
    freedom = len(values) - 1
    half = stdtrit(freedom, (1 + CONFIDENCE) / 2) * np.std(values, ddof=1) / math.sqrt(len(values))
    mean = np.mean(values)
    return float(mean - half), float(mean + half)


def mean_of_runs(values: Sequence[float]) -> tuple[float, float, tuple[float, float] | None]:
    """Mean, standard deviation and Student's 95 % interval of the mean of accuracies of repeated runs.

    Args:
        values: one accuracy for each run. A single run has the deviation 0 and no interval.
    """
    mean, interval = float(np.mean(values)), student_interval(values)
    if interval is None:
        return mean, 0.0, None
    return mean, float(np.std(values, ddof=1)), (max(0.0, interval[0]), min(1.0, interval[1]))


def paired_bootstrap(hits: np.ndarray, others: np.ndarray, seed: int = 0) -> tuple[float, float]:
    """95 % interval of the difference of two accuracies on the same images.

    The images are drawn with replacement 10,000 times. All that matters of an image is which of the two
    classifies it correctly, so drawing the images amounts to drawing three counts from a multinomial
    distribution.

    Args:
        hits: (M,) bool, images that the first classifies correctly.
        others: (M,) bool, images that the second classifies correctly.
        seed: seed of the draws; 0 by default.

    Returns:
        Low and high end of `others.mean() - hits.mean()`.
    """
    count = len(hits)
    gained, lost = int((~hits & others).sum()), int((hits & ~others).sum())
    shares = np.array([gained, lost, count - gained - lost]) / count
    draws = np.random.default_rng(seed).multinomial(count, shares, RESAMPLES)
    tail = 50 * (1 - CONFIDENCE)
    low, high = np.percentile((draws[:, 0] - draws[:, 1]) / count, [tail, 100 - tail])
    return float(low), float(high)
