"""Checks of arguments that several modules share."""

from __future__ import annotations

from typing import Any

import numpy as np


def whole_number(name: str, value: Any, low: int) -> int:
    """The value as int.

    Raises:
        ValueError: unless it is a whole number >= `low`.
    """
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or value < low:
        raise ValueError(f"`{name}` must be a whole number >= {low}. Received: {name}={value!r}")
    return int(value)


def one_of(name: str, value: Any, choices: tuple[str, ...]) -> None:
    """Raises ValueError unless the value is one of the choices."""
    if value not in choices:
        rule = " or ".join(f'"{choice}"' for choice in choices)
        raise ValueError(f"`{name}` must be {rule}. Received: {name}={value!r}")


def batch_of_views(batch: Any) -> None:
    """Raises ValueError unless the batch is `{"query": (B, H, W, C), "keys": (B, V, H, W, C)}`."""
    names = set(batch) if isinstance(batch, dict) else set()
    if not {"query", "keys"} <= names:
        received = sorted(names) if isinstance(batch, dict) else type(batch).__name__
        raise ValueError(f'A batch must be a dictionary with "query" and "keys". Received: {received}')
    query, keys = batch["query"].shape, batch["keys"].shape
    if len(keys) != 5 or len(query) != 4:
        raise ValueError(
            f'"query" must be (B, H, W, C) and "keys" (B, V, H, W, C). Received: query {query}, keys {keys}'
        )


class PixelRange:
    """The smallest and the largest value of images that were seen, which must be pixels in [0, 255].

    Images of floats in [0, 1], or normalised ones, would become views of nearly one colour. A resized image
    may overshoot the range a little. Nothing is scaled here: only whoever made the images knows their range.

    Args:
        name: of the argument that holds the images, for messages.
        enough: images after which the range is judged; the later ones must be finite, no more.
    """

    DARK = 4.0  # images with negative values and none above this are normalised ones
    OVERSHOOT = 64.0

    def __init__(self, name: str, enough: float = 32):
        self.name = name
        self.enough = enough
        self.count = 0
        self.low, self.high = np.inf, -np.inf
        self._judged = False

    def see(self, images: np.ndarray) -> None:
        """Takes images (N, H, W, C) into account.

        Raises:
            ValueError: if a value is not finite, or those of the first images are no pixels in [0, 255].
        """
        if not images.size:
            return
        finite(self.name, images, self.count)
        self.count += len(images)
        if self._judged:
            return
        self.low, self.high = min(self.low, float(images.min())), max(self.high, float(images.max()))
        if self.count >= self.enough:
            self.check()

    def check(self) -> None:
        """Judges what was seen.

        Raises:
            ValueError: if the values are no pixels in [0, 255].
        """
        if self._judged or not self.low < self.high:  # a single value may be one of any range
            return
        self._judged = True
        scaled = self.high <= 1 or (self.low < 0 and self.high <= self.DARK)
        if scaled or self.low < -self.OVERSHOOT or self.high > 255 + self.OVERSHOOT:
            advice = "; multiply images in [0, 1] by 255" if self.low >= 0 and self.high <= 1 else ""
            raise ValueError(
                f"`{self.name}` must have pixels in [0, 255]{advice}. "
                f"Received: values from {self.low:.4g} to {self.high:.4g} in {self.count:,} images"
            )


def finite(name: str, images: np.ndarray, first: int = 0) -> None:
    """Raises ValueError if a value of images (N, ...) is not finite; `first` is the first one's number."""
    if np.isfinite(images.min()) and np.isfinite(images.max()):
        return
    bad = next(row for row, image in enumerate(images) if not np.isfinite(image).all())
    raise ValueError(f"`{name}` must have finite pixels. Received: NaN or infinity in image {first + bad}")
