"""Weighted nearest-neighbour classification."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from keras_leoclr.checks import whole_number

CHUNK = 1000  # test images compared at a time


def knn(
    train_features: np.ndarray,
    train_labels: np.ndarray,
    test_features: np.ndarray,
    test_labels: np.ndarray,
    k: int = 200,
    temperature: float = 0.07,
) -> dict[str, float]:
    """Accuracy of a weighted kNN vote, the usual protocol (arXiv 1805.01978, section 3.4).

    Each of the `k` most similar training features votes for its label with `exp(cosine / T)`.

    Args:
        train_features: (N, F).
        train_labels: (N,), integers >= 0.
        test_features: (M, F).
        test_labels: (M,), integers >= 0.
        k: neighbours that vote; at most N of them.
        temperature: T > 0.

    Returns:
        `{"top1", "top5"}`, shares of the test images in [0, 1] whose label has the most votes, or is
        among the five labels with the most.
    """
    check_features(train_features, train_labels, test_features, test_labels)
    if not temperature > 0:
        raise ValueError(f"`temperature` must be > 0. Received: temperature={temperature}")
    k = min(whole_number("k", k, 1), len(train_features))
    classes = int(max(train_labels.max(), test_labels.max())) + 1
    hits1 = hits5 = 0
    with tf.device("CPU"):
        bank = tf.constant(unit_rows(train_features).T)
        bank_labels = tf.constant(train_labels, tf.int32)
        for start in range(0, len(test_features), CHUNK):
            queries = tf.constant(unit_rows(test_features[start : start + CHUNK]))
            similarity, neighbours = tf.math.top_k(queries @ bank, k, sorted=False)
            # the largest weight is 1: exp(1 / T) itself may overflow
            best = tf.reduce_max(similarity, axis=1, keepdims=True)
            weights = tf.exp((similarity - best) / temperature)
            rows = tf.repeat(tf.range(tf.shape(queries)[0])[:, None], k, axis=1)
            cells = tf.stack([rows, tf.gather(bank_labels, neighbours)], axis=-1)
            votes = tf.scatter_nd(cells, weights, [tf.shape(queries)[0], classes])
            top1, top5 = count_hits(votes.numpy(), test_labels[start : start + CHUNK])
            hits1, hits5 = hits1 + top1, hits5 + top5
    return {"top1": hits1 / len(test_labels), "top5": hits5 / len(test_labels)}


def count_hits(scores: np.ndarray, labels: np.ndarray) -> tuple[int, int]:
    """How many labels have the highest score, and one of the five highest.

    Args:
        scores: (M, C); equal scores are ordered by class.
        labels: (M,), integers in [0, C).
    """
    ranking = np.argsort(-scores, axis=1, kind="stable")[:, :5]
    hits = ranking == labels[:, None]
    return int(hits[:, 0].sum()), int(hits.any(axis=1).sum())


def unit_rows(features: np.ndarray) -> np.ndarray:
    """Rows scaled to length 1; zero rows stay zero."""
    features = np.asarray(features, "float32")
    return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)


def check_features(train_features, train_labels, test_features, test_labels) -> None:
    """Raises ValueError unless features are finite (N, F) and labels integers (N,) >= 0."""
    for name, features, labels in (
        ("train", train_features, train_labels),
        ("test", test_features, test_labels),
    ):
        if np.ndim(features) != 2 or len(features) == 0:
            raise ValueError(f"`{name}_features` must be (N, F), N >= 1. Received: {np.shape(features)}")
        if np.shape(labels) != (len(features),) or np.asarray(labels).dtype.kind not in "iu":
            raise ValueError(
                f"`{name}_labels` must be integers, one for each of the {len(features)} rows of "
                f"`{name}_features`. Received: {np.asarray(labels).dtype} {np.shape(labels)}"
            )
        if np.min(labels) < 0:
            raise ValueError(f"`{name}_labels` must be >= 0. Received: {np.min(labels)}")
        if not np.isfinite(features).all():
            bad = int((~np.isfinite(features)).any(axis=1).sum())
            raise ValueError(f"`{name}_features` must be finite. Received: {bad} rows with NaN or infinity")
    if np.shape(train_features)[1] != np.shape(test_features)[1]:
        raise ValueError(
            "`train_features` and `test_features` must be equally wide. "
            f"Received: {np.shape(train_features)} and {np.shape(test_features)}"
        )
