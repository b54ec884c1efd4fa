"""Weighted kNN classification."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from keras_leoclr.checks import number, whole_number
from keras_leoclr.evaluation.feature_checks import check_features
from keras_leoclr.evaluation.labels import as_labels, kind_of
from keras_leoclr.evaluation.neighbour_search import MEMORY, nearest


def knn(
    train_features: np.ndarray,
    train_labels: np.ndarray,
    test_features: np.ndarray,
    test_labels: np.ndarray,
    k: int | Sequence[int] = 200,
    temperature: float = 0.07,
    memory: int = MEMORY,
) -> dict:
    """Accuracy of a weighted kNN classifier by the usual protocol (arXiv 1805.01978, section 3.4).

    Each of the `k` most similar training features votes for its label with the weight `exp(cosine / T)`. With
    several labels per image, a neighbour votes for all of its labels: the score of a class is the share of
    the total weight that comes from neighbours with this label, and the measure is mean average precision.

    Args:
        train_features: (N, F) features of the training images.
        train_labels: (N,), integers >= 0; or (N, C), zeros and ones, for several labels per image.
        test_features: (M, F) features of the test images.
        test_labels: (M,), or (M, C), of the same kind as the training labels.
        k: number of neighbours that vote, or several such numbers, which are judged in one pass; 200 by
            default. Numbers above N are reduced to N.
        temperature: T > 0; 0.07 by default.
        memory: bytes of similarities held at a time, besides a copy of the training features.

    Returns:
        `{"top1", "top5"}`, the shares in [0, 1] of the test images whose label has the most votes, or is
        among the five labels with the most; among the `k` with the most if `k` is below 5. With several
        labels per image `{"map", "average_precision", "left_out"}`: the mean average precision in [0, 1], the
        average precision of each class, and the numbers of the classes that no training image or no test
        image has, which are left out of the mean.
        For several `k`, a dictionary from each `k` to such a result.

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
    """Accuracy of the kNN classifier on the training images themselves, each classified by the others.

    Args:
        features: (N, F), N >= 2, features of the training images.
        labels: (N,), integers >= 0; or (N, C), zeros and ones.
        k: see `knn`; at most N - 1 neighbours vote.
        temperature: see `knn`.
        memory: see `knn`.

    Returns:
        The result of `knn`.
    """
    check_features(features, labels, features, labels)
    return _judged(features, labels, None, labels, k, temperature, memory)


def _judged(train_features, train_labels, test_features, test_labels, k, temperature, memory) -> dict:
    ks = (k,) if np.ndim(k) == 0 else tuple(k)
    answers = knn_answers(train_features, train_labels, test_features, ks, temperature, memory)
    kind = kind_of(train_labels, test_labels)
    scores = {one: kind.judged(answers[one], test_labels, train_labels) for one in ks}
    return scores[k] if np.ndim(k) == 0 else scores


def check_votes(ks: Sequence[int], temperature: float) -> None:
    """Checks the options of kNN, see `knn_answers`.

    Raises:
        ValueError: if `ks` are not whole numbers >= 1, one or more, or the temperature is not a number > 0.
    """
    number("temperature", temperature, 0, above=True)
    if not len(ks):
        raise ValueError(f"`k` must be a whole number >= 1, or several. Received: k={ks}")
    for k in ks:
        whole_number("k", k, 1)


def knn_answers(
    train_features: np.ndarray,
    train_labels: np.ndarray,
    test_features: np.ndarray | None,
    ks: Sequence[int],
    temperature: float = 0.07,
    memory: int = MEMORY,
) -> dict[int, np.ndarray]:
    """The votes for each test image: the five classes with the most, or the scores of several labels.

    Args:
        train_features: (N, F) features of the training images.
        train_labels: (N,), integers >= 0; or (N, C), zeros and ones.
        test_features: (M, F); None takes the training images, each classified by the others.
        ks: numbers of neighbours that vote.
        temperature: T > 0; 0.07 by default.
        memory: see `knn`.

    Returns:
        `{k: (M, min(5, k, classes)) int64}`, the class with the most votes first; with several labels per
        image `{k: (M, C) float32}`, the share of the total weight of the votes that each class has.
    """
    check_votes(ks, temperature)
    most = len(train_features) - (test_features is None)
    used = {k: min(int(k), most) for k in ks}
    train_labels = as_labels(train_labels)  # NumPy adds uint64 and int64 to floats, which count nothing.
    kind = kind_of(train_labels)
    parts = {k: [] for k in ks}
    for _, similarity, neighbours in nearest(train_features, test_features, max(used.values()), memory):
        # The largest weight is scaled to 1, because exp(1 / T) may overflow.
        weights = np.exp((similarity - similarity[:, :1]) / np.float32(temperature))
        for k, count in used.items():
            votes = kind.votes(neighbours[:, :count], weights[:, :count], train_labels)
            parts[k].append(kind.voted(votes, k))
    return {k: np.concatenate(part) for k, part in parts.items()}
