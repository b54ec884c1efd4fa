"""Parts of a source: a sample that stands for all of it, and the images that have a label."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np

from keras_leoclr.data.multi_hot import is_multi_hot

if TYPE_CHECKING:
    from keras_leoclr.data.source import Source

SEED = 0  # draws the parts that are the same in all runs
FIRST = (
    "The first {} images of a stream of unknown length stand for all of it: if it is sorted by class, these "
    "are of a few classes alone. TFRecord files without compression are drawn from."
)


def has_label(labels: np.ndarray) -> np.ndarray:
    """Which images have a label, (N,) bool: a negative number stands for none.

    A row of zeros is a label as well: it says that none of the classes is in the image.

    Args:
        labels: (N,) integers, or (N, C) zeros and ones.
    """
    if is_multi_hot(labels):
        return np.ones(len(labels), bool)
    return np.asarray(labels) >= 0


def without_labels(name: str, labels: np.ndarray) -> str:
    """How many images have no label, as a sentence; "" where all have one.

    Args:
        name: of the images, for the sentence.
        labels: (N,) integers, negative for none, or (N, C) zeros and ones.
    """
    missing = int((~has_label(labels)).sum())
    if not missing:
        return ""
    return (
        f"{missing:,} of {len(labels):,} images of `{name}` have no label (-1): what needs labels leaves "
        "them out."
    )


def with_labels(source: Source, name: str) -> tuple[Source, np.ndarray]:
    """The images of a source that have a label, and their labels (N,) or (N, C); says how many have none.

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
        labels: (N,) integers, negative for none, or (N, C) zeros and ones.
    """
    if is_multi_hot(labels) and not labels.any():
        raise ValueError(
            f"`{name}` must have images with a label. Received: {len(labels):,} images with zeros alone as "
            "labels"
        )
    if not has_label(labels).any():
        raise ValueError(
            f"`{name}` must have images with a label. Received: {len(labels):,} images, all with a "
            "negative label, which stands for none"
        )


def part_of(source: Source, count: int, seed: int = SEED) -> Source:
    """At most `count` images that stand for all of a source, whatever its order.

    They are drawn by the seed. Of a stream whose order is random they are the first; they are the first also
    of a stream of unknown length, which is said.

    Args:
        source: the images.
        count: >= 1.
        seed: of the draw; by default the same for every run, so that runs can be compared.
    """
    if source.count is not None and source.count <= count:
        return source
    if source.images is None and (source.mixed or source.count is None):
        if not source.mixed:
            warnings.warn(FIRST.format(f"{count:,}"), stacklevel=2)
        return source.take(count)
    return source.sample(count, seed)


def some_of(source: Source, count: int) -> Source:
    """At most `count` images for people to look at: as `part_of`, but no stream is read as a whole.

    Args:
        source: the images.
        count: >= 1.
    """
    if source.images is None and source.pick is None:
        return source.take(count)
    return part_of(source, count)


def two_parts(source: Source, first: int, second: int, seed: int) -> tuple[Source, Source]:
    """Two parts of a source without an image in common, both as `part_of` draws them.

    Where the labels are in memory, the images are drawn among those that have one; if these are fewer than
    `first` and `second` together, the parts are smaller in proportion.

    Args:
        source: the images.
        first: >= 1, images of the first part.
        second: >= 1, images of the second part.
        seed: of the draw.
    """
    if source.images is None and (source.mixed or source.count is None):
        if not source.mixed:
            warnings.warn(FIRST.format(f"{first + second:,}"), stacklevel=2)
        return source.take(first), source.skip(first).take(second)
    labels = source.labels
    rows = np.arange(source.count) if labels is None else np.flatnonzero(has_label(labels))
    if len(rows) < first + second:
        first, second = (max(1, len(rows) * part // (first + second)) for part in (first, second))
    rows = np.random.default_rng(seed).permutation(rows)
    return source.subset(rows[:first]), source.subset(rows[first : first + second])
