"""Reads pictures that are not 8-bit RGB, and scales their values to [0, 255].

All other parts of the library take pixels in [0, 255]. Values of another range are scaled when they are read,
by `255 * (value - low) / (high - low)`; a value outside of the range is an error.
"""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Sequence
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from keras_leoclr.checks import check_value_range, whole_number
from keras_leoclr.data.decode import PILLOW, Header
from keras_leoclr.data.failures import ImageError

SUFFIXES = (b".npy", b".tif", b".tiff", b".png")
RANGES = {"uint8": (0.0, 255.0), "uint16": (0.0, 65535.0)}  # range of the types whose range is known
STATISTICS = 2000  # number of pictures that mean and deviation are measured on
_MODES = {"L": "uint8", "LA": "uint8", "RGB": "uint8", "RGBA": "uint8", "I;16": "uint16", "I": "uint16"}


@dataclasses.dataclass(frozen=True)
class ChannelPixels:
    """The number of channels that pictures must have, and the range of their values.

    Args:
        channels: number of channels C of every picture.
        value_range: the two values, low and high, that become 0 and 255; () (the default) for the range of
            the type, which is 0 to 255 for 8 bits and 0 to 65535 for 16 bits. Other types have no such range.
        max_pixels: largest width times height of a picture; None (the default) for no limit.

    Raises:
        ValueError: if an argument is wrong.
    """

    channels: int
    value_range: tuple[float, ...] = ()
    max_pixels: int | None = None

    def __post_init__(self):
        whole_number("channels", self.channels, 1)
        object.__setattr__(self, "value_range", check_value_range(self.value_range))

    def header(self, file: BinaryIO) -> Header:
        """Returns the size, the type and the number of channels of a picture in a file.

        Raises:
            ImageError: if it cannot be read, has another number of channels, or values of an unknown range.
        """
        kind, (height, width, _), name = self._checked(*_shape(file))
        return Header(kind, name, width, height, 1, PILLOW)

    def read(self, file: BinaryIO) -> np.ndarray:
        """Returns a picture (H, W, C) float32 in [0, 255].

        Raises:
            ImageError: for the reasons of `header`, or if a value lies outside of the range.
        """
        self._checked(*_shape(file))
        file.seek(0)
        return self.scaled(_values(file))

    def scaled(self, values: np.ndarray) -> np.ndarray:
        """Scales an array of any shape to float32 values in [0, 255].

        Raises:
            ImageError: if a value lies outside of the range or is not finite, or the range is not known.
        """
        low, high = self.range_of(values.dtype)
        if values.size:
            found = float(values.min()), float(values.max())
            if not all(map(math.isfinite, found)):
                raise ImageError("NaN or infinity among its values")
            if found[0] < _stored(low, values.dtype) or found[1] > _stored(high, values.dtype):
                raise ImageError(
                    f"values from {found[0]:.10g} to {found[1]:.10g}, outside of `value_range` "
                    f"{low:.10g},{high:.10g}"
                )
        if values.dtype == np.uint8 and (low, high) == RANGES["uint8"]:
            return values.astype(np.float32)
        made = (values.astype(np.float64) - low) * (255.0 / (high - low))
        return np.clip(made, 0.0, 255.0, out=made).astype(np.float32)  # An end may be rounded, see `_stored`.

    def range_of(self, dtype: Any) -> tuple[float, float]:
        """Returns the two values that become 0 and 255.

        Raises:
            ImageError: if the range was not given and does not follow from the type.
        """
        found = self.value_range or RANGES.get(np.dtype(dtype).name)
        if not found:
            raise ImageError(
                f"values of type {np.dtype(dtype).name}, whose range must be given as `value_range` low,high"
            )
        return tuple(found)

    def _checked(self, kind, shape, dtype):
        if shape[-1] != self.channels:
            raise ImageError(
                f"{shape[-1]} channel{'s' * (shape[-1] != 1)}, where `channels` is {self.channels}"
            )
        if not shape[0] or not shape[1]:
            raise ImageError("no pixels, of size 0")
        if self.max_pixels and shape[0] * shape[1] > self.max_pixels:
            raise ImageError(
                f"{shape[1]} x {shape[0]} pixels are more than `max_pixels`, {self.max_pixels:,}, allows"
            )
        self.range_of(dtype)
        return kind, shape, np.dtype(dtype).name


def _stored(end: float, dtype: np.dtype) -> float:
    """An end of a range as floats of this type hold it: 1.2 is 1.2000000477 in float32."""
    with np.errstate(over="ignore"):  # It is infinite where the type has no numbers as large.
        return float(np.asarray(end).astype(dtype)) if dtype.kind == "f" else end


def as_rgb(picture: np.ndarray) -> np.ndarray:
    """Turns a picture (H, W, C) into one (H, W, 3) that can be shown.

    One channel is shown as grey, and so is the mean of two channels. Of more than three channels, the first
    three are shown as red, green and blue.
    """
    if picture.shape[-1] == 2:
        picture = picture.astype(np.float32).mean(-1, keepdims=True).astype(picture.dtype)
    return np.repeat(picture, 3, -1) if picture.shape[-1] == 1 else picture[..., :3]


# === Measuring ===


def statistics(source: Any, most: int = STATISTICS) -> dict[str, Any]:
    """Measures the mean and the standard deviation of each channel over all pixels, in units of [0, 1].

    Args:
        source: the pictures, as `load` returns them.
        most: largest number of pictures that are measured, drawn with a fixed seed; 2000 by default.

    Returns:
        `{"mean": [C], "std": [C], "low": [C], "high": [C], "pictures": number}`; `low` and `high` are the
        smallest and the largest value of each channel, in [0, 255].

    Raises:
        ValueError: if there is no picture, or all values of a channel are the same.
    """
    count, total, squares, low, high = 0, 0.0, 0.0, np.inf, -np.inf
    pictures = 0
    shift = None  # Sums of differences from the mean of the first picture are more precise than plain sums.
    for element in source.sample(most, seed=0).take(most).as_numpy_iterator():
        pixels = np.asarray(element["image"], np.float64)
        pixels = pixels.reshape(-1, pixels.shape[-1])
        shift = pixels.mean(0) if shift is None else shift
        count, pictures = count + len(pixels), pictures + 1
        total = total + (pixels - shift).sum(0)
        squares = squares + ((pixels - shift) ** 2).sum(0)
        low, high = np.minimum(low, pixels.min(0)), np.maximum(high, pixels.max(0))
    if not pictures:
        raise ValueError("`source` must hold pictures to measure their mean. Received: none")
    mean = total / count
    std = np.sqrt(np.maximum(squares / count - mean**2, 0.0)) / 255.0
    if std.min() < 1e-7:
        flat = int(std.argmin())
        raise ValueError(
            "`source` must have more than one value in each channel, because images are divided by its "
            "standard deviation. "
            f"Received: {low[flat]:g} in all of channel {flat} of {pictures:,} pictures"
        )
    numbers = {"mean": (mean + shift) / 255.0, "std": std, "low": low, "high": high}
    return {name: [float(f"{v:.6g}") for v in each] for name, each in numbers.items()} | {
        "pictures": pictures
    }


# === Files ===


def _shape(file: BinaryIO) -> tuple[str, tuple[int, int, int], np.dtype]:
    """Reads the format, the shape (H, W, C) and the type of a picture from its header."""
    start = file.read(8)
    file.seek(0)
    try:
        if start.startswith(b"\x93NUMPY"):
            return ("NPY", *_npy_header(file))
        if start[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
            with _tifffile().TiffFile(file, name="picture") as tif:
                series = tif.series[0]
                return "TIFF", _last(series.shape, series.axes), series.dtype
        with Image.open(file, formats=("PNG",)) as image:
            return "PNG", (image.height, image.width, len(image.getbands())), np.dtype(_png_type(image, file))
    except (ImageError, ImportError):
        raise
    except Exception as error:  # Each of these readers raises errors of its own types.
        words = (str(error).strip() or type(error).__name__).splitlines()[0][:120]
        raise ImageError(f"no .npy, TIFF or PNG picture, or damaged: {words}") from error


def _values(file: BinaryIO) -> np.ndarray:
    """Reads a picture (H, W, C) with the values that the file holds."""
    kind, shape, dtype = _shape(file)
    file.seek(0)
    try:
        if kind == "NPY":
            return np.load(file, allow_pickle=False).reshape(shape)
        if kind == "TIFF":
            with _tifffile().TiffFile(file, name="picture") as tif:
                series = tif.series[0]
                values = np.transpose(series.asarray(), _channels_last(series.axes))
                return np.ascontiguousarray(values.reshape(shape))
        with Image.open(file, formats=("PNG",)) as image:
            return np.asarray(image).astype(dtype).reshape(shape)
    except ImportError:
        raise
    except Exception as error:
        words = (str(error).strip() or type(error).__name__).splitlines()[0][:120]
        raise ImageError(f"damaged: {words}") from error


def _npy_header(file: BinaryIO) -> tuple[tuple[int, int, int], np.dtype]:
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    if dtype.kind not in "uif":
        raise ImageError(f"an array of type {dtype}, which is no picture")
    start = file.tell()
    if file.seek(0, os.SEEK_END) - start < math.prod(shape) * dtype.itemsize:
        raise ImageError("damaged: the array ends too early")
    return _last(shape, ""), dtype


def _last(shape: Sequence[int], axes: str) -> tuple[int, int, int]:
    """Returns the shape (H, W, C) of an array (H, W) or (H, W, C), or of a TIFF whose axes have names."""
    if len(shape) == 2:
        return (*shape, 1)
    if len(shape) != 3:
        raise ImageError(f"an array of shape {tuple(shape)}, where (H, W) or (H, W, C) is a picture")
    return tuple(shape[axis] for axis in _channels_last(axes)) if axes else tuple(shape)


def _channels_last(axes: str) -> list[int]:
    """The numbers of a TIFF's axes in the order height, width, channels; rows are "Y", columns "X"."""
    return sorted(range(len(axes)), key=lambda axis: "YX".find(axes[axis]) % 3)


def _png_type(image: Image.Image, file: BinaryIO) -> str:
    if image.mode not in _MODES:
        raise ImageError(f"a PNG of mode {image.mode}, which has no channels to read as they are")
    file.seek(24)  # bit depth in the header of every PNG
    if file.read(1) == b"\x10" and not image.mode.startswith("I"):
        raise ImageError("a PNG with 16 bits of colour, of which Pillow keeps 8; save it as TIFF or .npy")
    return _MODES[image.mode]


def _tifffile() -> Any:
    try:
        import tifffile
    except ImportError as error:
        raise ImportError(
            "TIFFs of several channels, or of more than 8 bits, need tifffile: "
            "pip install 'keras-leoclr[channels]'"
        ) from error
    return tifffile
