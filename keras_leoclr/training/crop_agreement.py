"""How much crops lose that the original shows, by a feature that needs no training and no labels.

A view of 16 pixels is described by histograms of its gradient orientations in 4 x 4 parts (Dalal and Triggs,
CVPR 2005).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from keras_leoclr.data.source import Source

SIZE, PARTS, ANGLES = 16, 4, 8
BATCH = 50
CLOSE = 0.05  # difference below which MoCo v2 was ahead where both were trained, see docs/compare_methods.md


class CropAgreement(NamedTuple):
    """How often a view is more like another view of its own image than like one of another image, in [0, 1].

    Attributes:
        crops: of two crops, as MoCo v2 pairs them.
        original: of the original and a crop, as LeOCLR pairs them.
    """

    crops: float
    original: float

    @property
    def difference(self) -> float:
        """How much more the original and a crop agree than two crops."""
        return self.original - self.crops


def crop_agreement(source: Source, crop_scale: tuple[float, float], count: int = 1000) -> CropAgreement:
    """Compares views of images that are drawn from a source.

    Args:
        source: the images.
        crop_scale: area of the crops as a share of the image, low and high.
        count: number of images; fewer where the source has fewer.
    """
    import keras_leoclr as kl

    plain = {"jitter_probability": 0.0, "grayscale_probability": 0.0, "blur_probability": 0.0}
    views = kl.LeOCLRViews(SIZE, crop_scale, antialias_original=True, jit_compile=False, **plain)
    source = source.sample(count, seed=0)
    batch = BATCH if source.count is None else min(BATCH, source.count)  # whole batches alone are made
    batches = list(kl.data.view_dataset(source, views, batch_size=batch, seed=0))
    original = orientations(np.concatenate([np.asarray(batch["query"]) for batch in batches]))
    crops = np.concatenate([np.asarray(batch["keys"]) for batch in batches])
    first, second = (orientations(crops[:, number]) for number in (0, 1))
    return CropAgreement(agreement(first, second), agreement(original, first))


def orientations(images: np.ndarray) -> np.ndarray:
    """Histograms (N, 128) of gradient orientations of images (N, 16, 16, 3), of length 1."""
    down, right = np.gradient(images.mean(axis=-1), axis=(1, 2))
    strength = np.hypot(down, right)
    angle = ((np.arctan2(down, right) + np.pi) / (2 * np.pi) * ANGLES).astype(int) % ANGLES
    split = strength[..., None] * (angle[..., None] == np.arange(ANGLES))
    side = SIZE // PARTS
    split = split.reshape(-1, PARTS, side, PARTS, side, ANGLES).sum(axis=(2, 4))
    found = np.sqrt(split).reshape(len(images), -1)
    return found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-6)


def agreement(views: np.ndarray, others: np.ndarray) -> float:
    """How often a view (N, F) is more like its own other view than like those of other images, in [0, 1]."""
    similar = views @ others.T
    return float((np.diagonal(similar)[:, None] > similar).sum() / (len(views) * (len(views) - 1)))


def told(found: CropAgreement) -> str:
    """The numbers in words, and what they hint at."""
    points = 100 * found.difference
    hint = "MoCo v2 was ahead" if found.difference < CLOSE else "LeOCLR was ahead"
    return (
        f"Two crops of a picture are told from those of other pictures in {found.crops:.1%} of the cases, "
        f"the original and a crop in {found.original:.1%}: {points:+.1f} points. Where this was "
        f"{'below' if found.difference < CLOSE else 'above'} {100 * CLOSE:.0f} points {hint} in most studies "
        "(docs/compare_methods.md)."
    )
