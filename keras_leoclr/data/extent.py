"""The least and the greatest value of pictures, as they are stored."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_leoclr import terminal
from keras_leoclr.data.channels import ChannelPixels
from keras_leoclr.data.failures import ImageError

if TYPE_CHECKING:
    from keras_leoclr.data.source import Source


class Extent(ChannelPixels):
    """Reads pictures to note the range of their values; the pixels that it returns are all 0.

    Args:
        channels: C, of every picture.
    """

    def __init__(self, channels: int):
        super().__init__(channels, (0.0, 1.0))
        object.__setattr__(self, "found", [])  # (least, greatest) of each picture; threads append to it

    def range_of(self, dtype: Any) -> tuple[float, float]:
        return self.value_range

    def scaled(self, values: np.ndarray) -> np.ndarray:
        if values.size:
            ends = float(values.min()), float(values.max())
            if not all(map(math.isfinite, ends)):
                raise ImageError("NaN or infinity among its values")
            self.found.append(ends)
        return np.zeros(values.shape, np.float32)


def value_range_of(
    opened: Callable[[Extent], Source], channels: int = 3, progress: bool = True
) -> tuple[tuple[float, float], int]:
    """The least and the greatest value of all pictures of a source, which takes a pass over them.

    It is not measured on a part of the pictures, because a value outside of the range is an error.

    Args:
        opened: function that opens the source with an `Extent` as `value_range` of `load`.
        channels: C of the pictures.
        progress: whether to show a progress bar if it takes longer than a second; true by default.

    Returns:
        The two values, and the number of pictures.

    Raises:
        ValueError: if the pictures are no files or arrays, or all values are the same.
    """
    extent = Extent(channels)
    source = opened(extent)
    if not extent.found:  # Arrays are read when they are opened, files only here.
        for _ in terminal.progress(source.dataset, source.count or 0, "Values", "pictures", progress):
            pass
    if not extent.found:
        raise ValueError(
            '`value_range` "auto" is measured on pictures that are files or arrays, as `data.load` opens '
            f"them. Received: {source!r}"
        )
    low, high = min(low for low, _ in extent.found), max(high for _, high in extent.found)
    if low == high:
        raise ValueError(
            '`value_range` "auto" needs pictures of more than one value. '
            f"Received: {low:g} in all of {len(extent.found):,} pictures"
        )
    return (low, high), len(extent.found)


def in_all_digits(value_range: tuple[float, float]) -> str:
    """A range as text that can be typed again; a rounded end could lie within the values."""
    return ",".join(repr(float(end)).removesuffix(".0") for end in value_range)
