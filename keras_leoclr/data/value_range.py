"""Whether images are pixels in [0, 255], by a look at the first of a source."""

from __future__ import annotations

import numpy as np

from keras_leoclr.checks import PixelRange
from keras_leoclr.data.source import Source

CHUNK = 256  # images of an array that are looked at together


def check_array(images: np.ndarray, name: str) -> None:
    """Looks at all images of an array of floats.

    Args:
        images: (N, H, W, C).
        name: of the array, for messages.

    Raises:
        ValueError: if a value is not finite, or the values are no pixels in [0, 255].
    """
    if images.dtype == np.uint8:
        return
    seen = PixelRange(name, enough=np.inf)
    for start in range(0, len(images), CHUNK):
        seen.see(images[start : start + CHUNK])
    seen.check()


def check_source(source: Source, name: str = "source") -> Source:
    """Looks at the first images of a source that are not of 8 bits; the arrays of `load` were looked at.

    Returns:
        The source.

    Raises:
        ValueError: if a value is not finite, or the values are no pixels in [0, 255].
    """
    if source.encoded is None and not getattr(source.images, "values_checked", False):
        image = source.element_spec["image"]
        if image.dtype != np.uint8:
            seen = PixelRange(name)
            for element in source.dataset.take(seen.enough).as_numpy_iterator():
                seen.see(element["image"][None])
            seen.check()
    return source
