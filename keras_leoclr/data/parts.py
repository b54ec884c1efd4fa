"""Parts of a source: a sample that represents all of it, and the images that have a label."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np

from keras_leoclr.data.multi_hot import is_multi_hot

if TYPE_CHECKING:
    from keras_leoclr.data.source import Source

SEED = 0  # seed of the parts that are the same in all runs
FIRST = (
    "The first {} images of a stream of unknown length stand for all of it: if it is sorted by class, these "
    "are of a few classes alone. TFRecord files without compression are drawn from."
)


def has_label(labels: np.ndarray) -> np.ndarray:
    """Which images have a label, (N,) bool; a negative number means that there is none.

    A row of zeros is a label as well: it says that none of the classes is in the image.

    Args:
        labels: (N,) integers, or (N, C) zeros and ones.
    """
    if is_multi_hot(labels):
        return np.ones(len(labels), bool)
    return np.asarray(labels) >= 0


def without_labels(name: str, labels: np.ndarray) -> str:
    """A sentence on how many images have no label; "" if all have one.

    Args:
        name: name of the images in the sentence.
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
    """The images of a source that have a label, and their labels (N,) or (N, C); reports how many have none.

    Args:
        source: a source with labels, where a negative one means none.
        name: name of the source, for messages.

    Raises:
        ValueError: if no image has a label.
    """
    labels = source.read_labels()
    known = has_label(labels)
    check_any(name, labels)
    if not known.all():
        warnings.warn(without_labels(name, labels), stacklevel=3)
    elif source.count is not None:
        return source, labels
    # The part of a stream of unknown length knows its length.
    return source.subset(np.flatnonzero(known)), labels[known]


def check_any(name: str, labels: np.ndarray) -> None:
    """Raises ValueError if no image has a label.

    Args:
        name: name of the images, for the message.
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
    """At most `count` images that represent all of a source, whatever its order.

    They are drawn by the seed. For a stream whose order is random they are the first images. They are also
    the first images of a stream of unknown length, with a message that says so.

    Args:
        source: the images.
        count: largest number of images, >= 1.
        seed: seed of the draw; by default the same for every run, so that runs can be compared.
    """
    if source.count is not None and source.count <= count:
        return source
    if source.images is None and (source.mixed or source.count is None):
        if not source.mixed:
            warnings.warn(FIRST.format(f"{count:,}"), stacklevel=2)
        return source.take(count)
    return source.sample(count, seed)


def some_of(source: Source, count: int) -> Source:
    """At most `count` images for people to look at, chosen as by `part_of` but without reading whole streams.

    Args:
        source: the images.
        count: largest number of images, >= 1.
    """
    if source.images is None and source.pick is None:
        return source.take(count)
    return part_of(source, count)


def two_parts(source: Source, first: int, second: int, seed: int) -> tuple[Source, Source]:
    """Two disjoint parts of a source, each drawn as by `part_of`.

    If the labels are in memory, only images that have one are drawn; if these are fewer than `first` and
    `second` together, both parts are reduced in proportion.

    Args:
        source: the images.
        first: number of images of the first part, >= 1.
        second: number of images of the second part, >= 1.
        seed: seed of the draw.
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
