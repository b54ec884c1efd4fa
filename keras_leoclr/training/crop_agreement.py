"""Measures how much crops lose that the original shows, with a feature that needs no training and no labels.

A view of 16 pixels is described by histograms of its gradient orientations in 4 x 4 parts (Dalal and Triggs,
CVPR 2005).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from keras_leoclr.data.source import Source

SIZE = 16  # height and width of a view in pixels
PARTS = 4  # number of parts of a view along each side
ANGLES = 8  # number of bins of the gradient's direction
BATCH = 50  # number of images whose views are made at a time
CLOSE = 0.05  # below this difference MoCo v2 was ahead in most studies, see docs/compare_methods.md


class CropAgreement(NamedTuple):
    """How often a view is more similar to another view of its own image than to one of another image.

    Attributes:
        crops: share for two crops, as MoCo v2 pairs them, in [0, 1].
        original: share for the original and a crop, as LeOCLR pairs them, in [0, 1].
    """

    crops: float
    original: float

    @property
    def difference(self) -> float:
        """The share of the original and a crop minus that of two crops, in [-1, 1]."""
        return self.original - self.crops


def crop_agreement(source: Source, crop_scale: tuple[float, float], count: int = 1000) -> CropAgreement:
    """Compares the views of some images, which are drawn from a source with a fixed seed.

    Args:
        source: the images.
        crop_scale: least and largest area of a crop, as shares of the area of the image.
        count: largest number of images; 1000 by default.
    """
    import keras_leoclr as kl

    plain = {"jitter_probability": 0.0, "grayscale_probability": 0.0, "blur_probability": 0.0}
    views = kl.LeOCLRViews(SIZE, crop_scale, antialias_original=True, jit_compile=False, **plain)
    source = source.sample(count, seed=0)
    batch = (
        BATCH if source.count is None else min(BATCH, source.count)
    )  # The data set drops a last, smaller batch.
    batches = list(kl.data.view_dataset(source, views, batch_size=batch, seed=0))
    original = orientations(np.concatenate([np.asarray(batch["query"]) for batch in batches]))
    crops = np.concatenate([np.asarray(batch["keys"]) for batch in batches])
    first, second = (orientations(crops[:, number]) for number in (0, 1))
    return CropAgreement(agreement(first, second), agreement(original, first))


def orientations(images: np.ndarray) -> np.ndarray:
    """Computes histograms (N, 128), of length 1, of the gradient directions of images (N, 16, 16, 3)."""
    down, right = np.gradient(images.mean(axis=-1), axis=(1, 2))
    strength = np.hypot(down, right)
    angle = ((np.arctan2(down, right) + np.pi) / (2 * np.pi) * ANGLES).astype(int) % ANGLES
    split = strength[..., None] * (angle[..., None] == np.arange(ANGLES))
    side = SIZE // PARTS
    split = split.reshape(-1, PARTS, side, PARTS, side, ANGLES).sum(axis=(2, 4))
    found = np.sqrt(split).reshape(len(images), -1)
    return found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-6)


def agreement(views: np.ndarray, others: np.ndarray) -> float:
    """Returns how often a view is more similar to the other view of its image than to those of other images.

    Args:
        views: (N, F) features of length 1 of a view of each image.
        others: (N, F) features of length 1 of another view of each image.

    Returns:
        The share of all pairs of different images, in [0, 1].
    """
    similar = views @ others.T
    return float((np.diagonal(similar)[:, None] > similar).sum() / (len(views) * (len(views) - 1)))


def told(found: CropAgreement) -> str:
    """Returns the numbers in sentences, and the method that they speak for."""
    points = 100 * found.difference
    hint = "MoCo v2 was ahead" if found.difference < CLOSE else "LeOCLR was ahead"
    return (
        f"Two crops of a picture are told from crops of other pictures in {found.crops:.1%} of the cases, "
        f"the original and a crop in {found.original:.1%}: {points:+.1f} points. Where this was "
        f"{'below' if found.difference < CLOSE else 'above'} {100 * CLOSE:.0f} points {hint} in most studies "
        "(docs/compare_methods.md)."
    )
