"""Checks of features and labels before a classifier is fitted to them."""

from __future__ import annotations

import numpy as np

from keras_leoclr.evaluation.labels import kind_of


def check_features(train_features, train_labels, test_features, test_labels) -> None:
    """Checks the features and labels that a classifier is fitted to and judged by.

    Warns of classes that occur only in the test set: with one label per image, their images count as wrong;
    with several labels, the classes are left out of the mean average precision.

    Raises:
        ValueError: unless features are finite (N, F), labels are integers (N,) >= 0 or zeros and ones
            (N, C), and there are at least two classes to tell apart.
    """
    kind = kind_of(train_labels, test_labels)
    for name, features, labels in (
        ("train", train_features, train_labels),
        ("test", test_features, test_labels),
    ):
        if np.ndim(features) != 2 or len(features) == 0:
            raise ValueError(f"`{name}_features` must be (N, F), N >= 1. Received: {np.shape(features)}")
        kind.check(name, labels, len(features))
        check_finite(f"{name}_features", features)
    if np.shape(train_features)[1] != np.shape(test_features)[1]:
        raise ValueError(
            "`train_features` and `test_features` must be equally wide. "
            f"Received: {np.shape(train_features)} and {np.shape(test_features)}"
        )
    kind.check_classes(train_labels, test_labels)


def check_same_images(labels: np.ndarray, others: np.ndarray) -> None:
    """Raises ValueError if the labels of two passes over the test images differ, so that the images do."""
    if not np.array_equal(labels, others):
        where = f", {int((labels != others).sum())} of them differ" if labels.shape == others.shape else ""
        raise ValueError(
            "`test` must yield the same images in the same order each time that it is read; a `tf.data` set "
            "is shuffled with `reshuffle_each_iteration=False`. "
            f"Received: {len(labels)} and {len(others)} labels in two passes{where}"
        )


def check_finite(name: str, features: np.ndarray) -> None:
    """Raises ValueError if a feature is NaN or infinite, with the number of such rows."""
    # The minimum and the maximum are NaN if any value is. This avoids a boolean array as large as the
    # features.
    if not (np.isfinite(np.min(features)) and np.isfinite(np.max(features))):
        bad = int((~np.isfinite(features)).any(axis=1).sum())
        raise ValueError(f"`{name}` must be finite. Received: {bad} rows with NaN or infinity")
