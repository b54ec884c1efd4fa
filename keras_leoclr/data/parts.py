"""Parts of a source that stand for all of it: those of its images that have a label."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from keras_leoclr.data.source import Source


def has_label(labels: np.ndarray) -> np.ndarray:
    """Which images have a label, (N,) bool: a negative number stands for none.

    Args:
        labels: (N,) integers.
    """
    return np.asarray(labels) >= 0


def without_labels(name: str, labels: np.ndarray) -> str:
    """How many images have no label, as a sentence; "" where all have one.

    Args:
        name: of the images, for the sentence.
        labels: (N,) integers, negative for none.
    """
    missing = int((~has_label(labels)).sum())
    if not missing:
        return ""
    return (
        f"{missing:,} of {len(labels):,} images of `{name}` have no label (-1): what needs labels leaves "
        "them out."
    )


def with_labels(source: Source, name: str) -> tuple[Source, np.ndarray]:
    """The images of a source that have a label, and their labels (N,); says how many have none.

    Args:
        source: with labels; a negative one stands for none.
        name: of the source, for messages.

    Raises:
        ValueError: if no image has a label.
    """
    labels = source.read_labels()
    known = has_label(labels)
    check_any(name, labels)
    if known.all():
        return source, labels
    warnings.warn(without_labels(name, labels), stacklevel=3)
    return source.subset(np.flatnonzero(known)), labels[known]


def check_any(name: str, labels: np.ndarray) -> None:
    """Raises ValueError if no image has a label.

    Args:
        name: of the images, for the message.
        labels: (N,) integers, negative for none.
    """
    if not has_label(labels).any():
        raise ValueError(
            f"`{name}` must have images with a label. Received: {len(labels):,} images, all with a "
            "negative label, which stands for none"
        )
