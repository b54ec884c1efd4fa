"""Several labels per picture: rows of zeros and ones, with one column per class. Needs no TensorFlow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

DTYPE = "uint8"


def is_multi_hot(labels: np.ndarray) -> bool:
    """Whether labels are (N, C), several per picture, rather than (N,), one per picture."""
    return np.ndim(labels) == 2


def checked_labels(label: Any, count: int, origin: str, name: str = "label") -> np.ndarray:
    """Checks labels and converts them to the types that a source holds.

    Args:
        label: (N,) class numbers, -1 for none; or (N, C) zeros and ones, with any number of ones in a row.
        count: N, number of images.
        origin: where the labels come from, for messages.
        name: name of the array, for messages; "label" by default.

    Returns:
        (N,) int64 or (N, C) uint8.

    Raises:
        ValueError: if the labels are neither, or their number is not N.
    """
    label = _rectangular(label, origin, name)
    if label.ndim not in (1, 2) or len(label) != count or (label.ndim == 2 and label.shape[1] < 2):
        column = "; `label[:, 0]` is the list of a column" if label.shape[1:] == (1,) else ""
        raise ValueError(
            f"`{name}` in {origin} must be ({count},), as many as images, or ({count}, C) zeros and ones for "
            f"several labels per image, with C >= 2 classes{column}. "
            f"Received: {name}.shape={label.shape}"
        )
    if label.dtype.kind not in "biuf":
        raise ValueError(f"`{name}` in {origin} must be numbers. Received: {name}.dtype={label.dtype}")
    if label.ndim == 1:
        return whole_labels(label, f"`{name}` in {origin}")
    wrong = np.argwhere((label != 0) & (label != 1))
    if len(wrong):
        row, column = wrong[0]
        raise ValueError(
            f"`{name}` in {origin} must be zeros and ones where an image has several labels. Received: "
            f"{len(wrong):,} other values, the first {label[row, column]!s} for image {row}, class {column}"
        )
    return label.astype(DTYPE)


def whole_labels(labels: np.ndarray, which: str = "`labels`") -> np.ndarray:
    """Converts labels (N,) of any number type to int64.

    Args:
        labels: class numbers; negative for images without a label.
        which: what they are called in messages.

    Raises:
        ValueError: if one of them is no whole number.
    """
    if labels.dtype.kind == "f":
        wrong = np.flatnonzero(~np.isfinite(labels) | (labels != np.trunc(labels)))
        if len(wrong):
            raise ValueError(
                f"{which} must be whole numbers, -1 for an image without a label. Received: {len(wrong):,} "
                f"other values, the first {labels[wrong[0]]!s} for image {wrong[0]}"
            )
    return labels.astype("int64")


def check_class_names(names: Sequence[str], labels: np.ndarray, origin: str) -> tuple[str, ...]:
    """Checks the names of the classes of labels.

    Args:
        names: C names, in the order of the class numbers; () if there are none.
        labels: (N,) int64 or (N, C) uint8.
        origin: where they come from, for messages.

    Raises:
        ValueError: if their number is wrong, or a name occurs twice.
    """
    names = tuple(str(name) for name in names)
    if not names:
        return ()
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(
            f"`class_names` in {origin} must be different from each other. Received twice: {', '.join(twice)}"
        )
    least = labels.shape[1] if is_multi_hot(labels) else int(labels.max(initial=-1)) + 1
    if len(names) < least or (is_multi_hot(labels) and len(names) > least):
        raise ValueError(
            f"`class_names` in {origin} must have {least} names, one per class. Received: {len(names)}"
        )
    return names


def counts(labels: np.ndarray, classes: int = 0) -> np.ndarray:
    """Number of images of each class, (C,) int64.

    Args:
        labels: (N,) in [0, C), or (N, C) zeros and ones.
        classes: least number of classes of the result, for labels (N,); 0 by default.
    """
    if is_multi_hot(labels):
        return labels.sum(axis=0, dtype="int64")
    return np.bincount(labels, minlength=classes)


def without_image(labels: np.ndarray, class_names: Sequence[str]) -> np.ndarray:
    """The numbers of the classes that no image has; see `counts`."""
    return np.flatnonzero(counts(labels, len(class_names)) == 0)


def rows_of(labels: Sequence[Sequence[str]], class_names: Sequence[str]) -> np.ndarray:
    """Converts the class names of each image, all among the C `class_names`, to rows (N, C) uint8."""
    number = {name: place for place, name in enumerate(class_names)}
    rows = np.zeros((len(labels), len(class_names)), DTYPE)
    for row, names in zip(rows, labels, strict=True):
        row[[number[name] for name in names]] = 1
    return rows


def _rectangular(label: Any, origin: str, name: str) -> np.ndarray:
    """Makes an array of labels; raises an error that names the first rows of different length."""
    if not isinstance(label, np.ndarray):
        rows = [np.shape(row) for row in label]
        other = next((number for number, shape in enumerate(rows) if shape != rows[0]), None)
        if other is not None:
            mixed = () in (rows[0], rows[other])
            rule = "one label for each image or several for each" if mixed else "rows of one length"
            raise ValueError(
                f"`{name}` in {origin} must be {rule}. Received: shape {rows[0]} for image 0, "
                f"{rows[other]} for image {other}"
            )
    return np.asarray(label)
