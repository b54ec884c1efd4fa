"""Checks of features and labels before a classifier is fitted to them."""

from __future__ import annotations

import warnings

import numpy as np


def check_features(train_features, train_labels, test_features, test_labels) -> None:
    """Checks four arrays that a classifier is fitted to and judged by.

    Warns of classes that only the test set has: their images count as wrong.

    Raises:
        ValueError: unless features are finite (N, F), labels are integers (N,) >= 0, and the training
            labels are of two classes or more.
    """
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
        check_finite(f"{name}_features", features)
    if np.shape(train_features)[1] != np.shape(test_features)[1]:
        raise ValueError(
            "`train_features` and `test_features` must be equally wide. "
            f"Received: {np.shape(train_features)} and {np.shape(test_features)}"
        )
    known = np.unique(train_labels)
    if len(known) < 2:
        raise ValueError(
            f"`train_labels` must be of two classes or more. Received: {len(train_labels)} times {known[0]}"
        )
    unknown = only_in_test(train_labels, test_labels)
    if len(unknown):
        images = int(np.isin(test_labels, unknown).sum())
        warnings.warn(
            f"{images} of {len(test_labels)} test images are of {len(unknown)} classes that `train_labels` "
            f"lacks, such as {unknown[0]}: they count as wrong, and no accuracy can be above "
            f"{1 - images / len(test_labels):.1%}.",
            stacklevel=3,
        )


def check_finite(name: str, features: np.ndarray) -> None:
    """Raises ValueError at NaN or infinity, with the number of rows."""
    # min and max pass a NaN on: no array of booleans as large as the features is made
    if not (np.isfinite(np.min(features)) and np.isfinite(np.max(features))):
        bad = int((~np.isfinite(features)).any(axis=1).sum())
        raise ValueError(f"`{name}` must be finite. Received: {bad} rows with NaN or infinity")


def only_in_test(train_labels: np.ndarray, test_labels: np.ndarray) -> np.ndarray:
    """Classes that occur in `test_labels` alone."""
    return np.setdiff1d(test_labels, train_labels)
