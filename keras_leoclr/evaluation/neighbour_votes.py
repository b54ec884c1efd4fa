"""Weighted nearest-neighbour classification."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from keras_leoclr.checks import whole_number
from keras_leoclr.evaluation.feature_checks import check_features
from keras_leoclr.evaluation.neighbour_search import MEMORY, nearest
from keras_leoclr.evaluation.statistics import accuracies, best_classes


def knn(
    train_features: np.ndarray,
    train_labels: np.ndarray,
    test_features: np.ndarray,
    test_labels: np.ndarray,
    k: int | Sequence[int] = 200,
    temperature: float = 0.07,
    memory: int = MEMORY,
) -> dict:
    """Accuracy of a weighted kNN vote, the usual protocol (arXiv 1805.01978, section 3.4).

    Each of the `k` most similar training features votes for its label with `exp(cosine / T)`.

    Args:
        train_features: (N, F).
        train_labels: (N,), integers >= 0.
        test_features: (M, F).
        test_labels: (M,), integers >= 0.
        k: neighbours that vote, at most N of them; or several such numbers, judged in one pass.
        temperature: T > 0.
        memory: bytes for similarities held at a time, besides a copy of the training features.

    Returns:
        `{"top1", "top5"}`, shares of the test images in [0, 1] whose label has the most votes, or is
        among the five labels with the most; for several `k` a dictionary of these by `k`.

    Raises:
        ValueError: if the features, the labels or an option cannot be used.
    """
    check_features(train_features, train_labels, test_features, test_labels)
    return _judged(train_features, train_labels, test_features, test_labels, k, temperature, memory)


def knn_leave_one_out(
    features: np.ndarray,
    labels: np.ndarray,
    k: int | Sequence[int] = 200,
    temperature: float = 0.07,
    memory: int = MEMORY,
) -> dict:
    """Accuracy of the kNN vote on the training images themselves, each classified by the others.

    Args:
        features: (N, F), N >= 2.
        labels: (N,), integers >= 0.
        k: see `knn`; at most N - 1 vote.
        temperature: see `knn`.
        memory: see `knn`.

    Returns:
        As `knn`.
    """
    check_features(features, labels, features, labels)
    return _judged(features, labels, None, labels, k, temperature, memory)


def _judged(train_features, train_labels, test_features, test_labels, k, temperature, memory) -> dict:
    ks = (k,) if np.ndim(k) == 0 else tuple(k)
    ranked = knn_ranking(train_features, train_labels, test_features, ks, temperature, memory)
    scores = {one: accuracies(ranked[one], test_labels) for one in ks}
    return scores[k] if np.ndim(k) == 0 else scores


def knn_ranking(
    train_features: np.ndarray,
    train_labels: np.ndarray,
    test_features: np.ndarray | None,
    ks: Sequence[int],
    temperature: float = 0.07,
    memory: int = MEMORY,
) -> dict[int, np.ndarray]:
    """The five classes with the most votes, for each test image.

    Args:
        train_features: (N, F).
        train_labels: (N,), integers >= 0.
        test_features: (M, F); None for the training images, each classified by the others.
        ks: numbers of neighbours that vote.
        temperature: T > 0.
        memory: see `knn`.

    Returns:
        `{k: (M, min(5, classes)) int64}`, the class with the most votes first.
    """
    if not temperature > 0:
        raise ValueError(f"`temperature` must be > 0. Received: temperature={temperature}")
    if not len(ks):
        raise ValueError(f"`k` must be a whole number >= 1, or several. Received: k={ks}")
    most = len(train_features) - (test_features is None)
    used = {k: min(whole_number("k", k, 1), most) for k in ks}
    classes = int(np.max(train_labels)) + 1
    parts = {k: [] for k in ks}
    for _, similarity, neighbours in nearest(train_features, test_features, max(used.values()), memory):
        # the largest weight is 1: exp(1 / T) itself may overflow
        weights = np.exp((similarity - similarity[:, :1]) / np.float32(temperature))
        cells = np.arange(len(weights))[:, None] * classes + train_labels[neighbours]
        for k, count in used.items():
            votes = np.bincount(
                cells[:, :count].ravel(), weights[:, :count].ravel(), minlength=len(weights) * classes
            )
            parts[k].append(best_classes(votes.reshape(-1, classes)))
    return {k: np.concatenate(part) for k, part in parts.items()}
