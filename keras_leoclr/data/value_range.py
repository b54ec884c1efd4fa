"""Checks on the first images of a source whether images are pixels in [0, 255]."""

from __future__ import annotations

import numpy as np

from keras_leoclr.checks import PixelRange
from keras_leoclr.data.source import Source

CHUNK = 256  # number of images of an array that are checked together


def check_array(images: np.ndarray, name: str) -> None:
    """Checks all images of a float array.

    Args:
        images: (N, H, W, C) float array.
        name: name of the array, for messages.

    Raises:
        ValueError: if a value is not finite, or the values are not pixels in [0, 255].
    """
    if images.dtype == np.uint8:
        return
    seen = PixelRange(name, enough=np.inf)
    for start in range(0, len(images), CHUNK):
        seen.see(images[start : start + CHUNK])
    seen.check()


def check_source(source: Source, name: str = "source") -> Source:
    """Checks the first images of a source that are not uint8; `load` has already checked arrays.

    Returns:
        The source.

    Raises:
        ValueError: if a value is not finite, or the values are not pixels in [0, 255].
    """
    if source.encoded is None and not getattr(source.images, "values_checked", False):
        image = source.element_spec["image"]
        if image.dtype != np.uint8:
            seen = PixelRange(name)
            for element in source.dataset.take(seen.enough).as_numpy_iterator():
                seen.see(element["image"][None])
            seen.check()
    return source
