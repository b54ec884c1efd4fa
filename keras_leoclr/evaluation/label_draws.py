"""Draws the images that are held out or labelled: random parts with the same classes as the whole.

With several labels per image, no part has exactly a given share of every class. There the images are divided
by iterative stratification (Sechidis et al., 2011). In each step it takes the class with the fewest undivided
images, moves as many of them to the part as the part still lacks of this class, and leaves the others out.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np


def of_each_class(
    labels: np.ndarray, counts: Iterable[tuple[int, int]], rng: np.random.Generator
) -> np.ndarray:
    """Draws numbers of images with one label each, class by class.

    Args:
        labels: (N,) labels of the images.
        counts: pairs of a class and the number of its images to draw.
        rng: random generator of the draw.
    """
    rows = [rng.choice(np.flatnonzero(labels == label), count, replace=False) for label, count in counts]
    return np.concatenate(rows)


def share_of_each_class(labels: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """Boolean mask of a share of every class, at least one image of each class with two or more, and not all.

    Args:
        labels: (N,) labels of the images.
        share: share of the images, in (0, 1).
        rng: random generator of the draw.
    """
    mask = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == label))
        count = min(max(1, round(share * len(rows))), len(rows) - 1)
        mask[rows[:count]] = True
    return mask


def at_least_of_each_label(labels: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Draws a few images, in ascending order, so that each label that occurs has at least `count` of them.

    Labels are processed from the rarest to the most frequent. For each label, images that have it are drawn
    until `count` of the drawn images do; images that were drawn for an earlier label count.

    Args:
        labels: (N, C), zeros and ones.
        count: number of images for each label, at most as many as have the rarest label that occurs.
        rng: random generator of the draw.
    """
    has = np.asarray(labels, bool)
    sums = has.sum(axis=0)
    chosen = np.zeros(len(has), bool)
    for label in np.argsort(sums, kind="stable"):
        missing = count - int((chosen & has[:, label]).sum())
        if sums[label] and missing > 0:
            chosen[rng.choice(np.flatnonzero(has[:, label] & ~chosen), missing, replace=False)] = True
    return np.flatnonzero(chosen)


def share_of_each_label(labels: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """Boolean mask of about a share of the images with each label, in most cases at least one of two or more.

    Images that also have a rarer label are divided with it, and can leave a frequent label without one.

    Args:
        labels: (N, C), zeros and ones.
        share: share of the images, in (0, 1).
        rng: random generator of the draw.
    """
    has = np.asarray(labels, bool)
    sums = has.sum(axis=0)
    wanted = np.where(sums > 1, np.maximum(1, np.round(share * sums)), 0).astype(int)
    part, left = np.zeros(len(has), bool), np.ones(len(has), bool)
    while (waiting := has[left].sum(axis=0)).any():
        label = int(np.where(waiting, waiting, len(has) + 1).argmin())
        rows = np.flatnonzero(left & has[:, label])
        lacking = int(np.clip(wanted[label] - (part & has[:, label]).sum(), 0, len(rows)))
        part[rng.choice(rows, lacking, replace=False)] = True
        left[rows] = False
    rows = np.flatnonzero(left)  # images without any label
    part[rng.choice(rows, round(share * len(rows)), replace=False)] = True
    return part


def labelled_fraction(labels: np.ndarray, fraction: float, seed: int) -> np.ndarray:
    """Draws a random part of the images with the given fraction of each class, rounded.

    With several labels per image it is about that fraction of each class, at least one image, and the same
    fraction of the images without any label.

    Args:
        labels: (N,), or (N, C) of zeros and ones.
        fraction: fraction of each class, in (0, 1].
        seed: seed of the draw.

    Raises:
        ValueError: if a class would be left without an image.
    """
    if not 0 < fraction <= 1:
        raise ValueError(f"`fraction` must be in (0, 1]. Received: fraction={fraction}")
    several = np.ndim(labels) == 2
    if several:
        classes, sums = np.arange(labels.shape[1]), np.sum(labels, axis=0, dtype=int)
    else:
        classes, sums = np.unique(labels, return_counts=True)
    counts = np.array([round(fraction * int(count)) for count in sums])
    for label, count, images in zip(classes, counts, sums, strict=True):
        if images and not count:
            raise ValueError(
                "`fraction` must leave an image of every class. "
                f"Received: fraction={fraction}, class {label} has {images} images"
            )
    rng = np.random.default_rng(seed)
    if several:
        everything = np.ones(len(labels), bool)
        return np.flatnonzero(share_of_each_label(labels, fraction, rng) if fraction < 1 else everything)
    return np.sort(of_each_class(labels, zip(classes, counts, strict=True), rng))
