"""Checks of arguments, shared by several modules."""

from __future__ import annotations

import math
import os
import pathlib
import types
import typing
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

# The types of single settings, and what their values are called in messages.
TYPES = {bool: "True or False", int: "a whole number", float: "a finite number", str: "a text"}


def whole_number(name: str, value: Any, low: int) -> int:
    """Checks that a value is a whole number, and returns it as int.

    Args:
        name: name of the argument, for the message.
        value: the value that was given.
        low: smallest value that is allowed.

    Raises:
        ValueError: if the value is not a whole number >= `low`.
    """
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or value < low:
        raise ValueError(f"`{name}` must be a whole number >= {low}. Received: {name}={value!r}")
    return int(value)


def shape_of_images(name: str, value: Any) -> tuple[int | None, int | None, int]:
    """Checks that a value is (H, W, C), with None as height or width for any, and returns it as a tuple.

    Raises:
        ValueError: if it is not.
    """
    try:
        height, width, channels = value
        sides = [side if side is None else whole_number(name, side, 1) for side in (height, width)]
        return *sides, whole_number(name, channels, 1)
    except (TypeError, ValueError):
        raise ValueError(
            f"`{name}` must be (height, width, channels) of the images, whole numbers >= 1. "
            f"Received: {name}={value!r}"
        ) from None


def whole_seed(value: Any) -> int:
    """Checks that a seed is a whole number of 64 bits, negative or not, and returns it as int."""
    good = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not (good and -(2**63) <= value < 2**63):
        raise ValueError(f"`seed` must be a whole number of 64 bits. Received: seed={value!r}")
    return int(value)


def number(name: str, value: Any, low: float, high: float = math.inf, above: bool = False) -> float:
    """Checks that a value is a finite number in an interval, and returns it as float.

    Args:
        name: name of the argument, for the message.
        value: the value that was given; a number of Python or NumPy, or a scalar tensor.
        low: smallest value that is allowed.
        high: largest value that is allowed; infinity, the default, for no limit.
        above: whether the value must be larger than `low`; False by default.

    Raises:
        ValueError: if the value is not such a number.
    """
    try:
        made = math.nan if isinstance(value, (str, bytes, bool)) else float(value)
    except (TypeError, ValueError):
        made = math.nan
    if not (math.isfinite(made) and low <= made <= high and not (above and made == low)):
        rule = f"in {'(' if above else '['}{low}, {high}]"
        if high == math.inf:
            rule = f"{'>' if above else '>='} {low}"
        raise ValueError(f"`{name}` must be a number {rule}. Received: {name}={value!r}")
    return made


def setting_of(name: str, value: Any, kind: Any) -> Any:
    """A value for a setting of one type, as that type: Python's own numbers, and tuples instead of lists.

    A whole number is taken where a float belongs, and a float that is whole where a whole number belongs. A
    single value where several belong becomes a tuple of it.

    Args:
        name: name of the setting, for the message.
        value: the value that was given.
        kind: type of the setting, as `typing.get_type_hints` returns it.

    Raises:
        ValueError: if the value is of another type, a number is not finite, or there are several values where
            one belongs, or no values where several do.
    """
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if hasattr(value, "__array__"):  # an array or a number of NumPy, or a tensor
        value = np.asarray(value).tolist()
    kinds = typing.get_args(kind) if typing.get_origin(kind) in (types.UnionType, typing.Union) else (kind,)
    several = next((one for one in kinds if typing.get_origin(one) is tuple), None)
    if several is None:
        if isinstance(value, (list, tuple)) and set(kinds) <= {*TYPES, type(None)}:
            raise ValueError(f"`{name}` must be a single value. Received: {name}={value!r}")
        return _single(name, value, kinds)
    if value == "auto" or (value is None and type(None) in kinds):
        return value
    each = typing.get_args(several)[0]
    if isinstance(value, (int, float)) or (isinstance(value, str) and each is str):
        return (_single(name, value, (each,)),)
    if isinstance(value, (str, bytes)) or not isinstance(value, Iterable):
        raise ValueError(f"`{name}` must be a number or a tuple of them. Received: {name}={value!r}")
    return tuple(setting_of(name, one, each) for one in value)


def _single(name: str, value: Any, kinds: tuple[Any, ...]) -> Any:
    """The value as one of the types; types that are not in `TYPES` allow any value."""
    if not set(kinds) <= {*TYPES, type(None), os.PathLike} or (value is None and type(None) in kinds):
        return value
    finite = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if float in kinds and finite:
        return float(value)
    if int in kinds and finite and value == int(value):
        return int(value)
    if (bool in kinds and isinstance(value, bool)) or (str in kinds and isinstance(value, str)):
        return value
    rule = " or ".join(TYPES[kind] for kind in kinds if kind in TYPES)
    raise ValueError(f"`{name}` must be {rule}. Received: {name}={value!r}")


def one_of(name: str, value: Any, choices: tuple[str, ...]) -> None:
    """Raises ValueError unless the value is one of the choices."""
    if value not in choices:
        rule = " or ".join(f'"{choice}"' for choice in choices)
        raise ValueError(f"`{name}` must be {rule}. Received: {name}={value!r}")


def output_file(name: str, path: Any, endings: tuple[str, ...] = ()) -> None:
    """Checks the path of a file that will be written, before there is anything to write.

    Args:
        name: name of the argument, for the message.
        path: the path; a file that is there will be replaced.
        endings: the endings that the name may have, such as ".html"; () (the default) allows any.

    Raises:
        ValueError: if the file has another ending, is a folder, or would lie in a folder that does not exist
            or is read-only.
    """
    path = pathlib.Path(path).expanduser()
    if endings and path.suffix.lower() not in endings:
        raise ValueError(f"`{name}` must end in {' or '.join(endings)}. Received: {name}={path}")
    if path.is_dir():
        raise ValueError(f"`{name}` must be a file. Received: {name}={path}, a folder")
    if not path.parent.is_dir():
        raise ValueError(f"`{name}` must lie in a folder that exists. Received: {name}={path}")
    if not os.access(path.parent, os.W_OK):
        raise ValueError(f"`{name}` must lie in a folder that can be written to. Received: {name}={path}")


def several_passes(name: str, batches: Any) -> None:
    """Raises ValueError if batches can be read only once, so that a second epoch would find none."""
    if isinstance(batches, Iterator):
        raise ValueError(
            f"`{name}` must be batches that can be read again, such as a list or a tf.data.Dataset. "
            f"Received: {name}={batches!r}"
        )


def has_backbone(model: Any) -> None:
    """Raises ValueError unless a model has a `backbone`, whose features callbacks judge."""
    if getattr(model, "backbone", None) is None:
        raise ValueError(
            "`model` must have a `backbone`, such as a LeOCLR, for callbacks that judge its features. "
            f"Received: a {type(model).__name__} without one"
        )


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


def check_value_range(value: Any) -> tuple[float, ...]:
    """The value as () or as two finite floats, low below high.

    Raises:
        ValueError: if it is neither.
    """
    try:
        numbers = tuple(float(each) for each in (() if value is None else value))
    except (TypeError, ValueError):
        numbers = (math.nan,)
    good = len(numbers) == 2 and all(map(math.isfinite, numbers)) and numbers[0] < numbers[1]
    if numbers and not good:
        raise ValueError(
            "`value_range` must be empty or two numbers, low below high, the values that become black and "
            f"white. Received: value_range={value!r}"
        )
    return numbers


class PixelRange:
    """Checks that the pixels of images are in [0, 255], from the smallest and the largest value seen so far.

    Images with values in [0, 1], or normalised images, would give views of nearly one colour. Values a little
    outside of [0, 255] are allowed, because resizing an image can overshoot. Images in another range are
    refused and not scaled: the right factor cannot be known from the values.

    Args:
        name: name of the argument that holds the images, for messages.
        enough: number of images after which the range is checked; 32 by default. Of later images it is only
            checked that they are finite.
    """

    DARK = 4.0  # images with negative values and no value above this one count as normalised
    OVERSHOOT = 64.0  # how far pixels may lie outside of [0, 255]

    def __init__(self, name: str, enough: float = 32):
        self.name = name
        self.enough = enough
        self.count = 0
        self.low, self.high = np.inf, -np.inf
        self._judged = False

    def see(self, images: np.ndarray) -> None:
        """Adds images (N, H, W, C) to those that were seen.

        Raises:
            ValueError: if a value is not finite, or if the values of the first images are not in [0, 255].
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
        """Checks the range of the images that were seen.

        Raises:
            ValueError: if the values are not pixels in [0, 255].
        """
        if self._judged or not self.low < self.high:  # images of a single value do not tell their range
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
    """Raises ValueError if images hold NaN or infinity.

    Args:
        name: name of the argument that holds the images, for the message.
        images: (N, ...) array.
        first: number of the first image in the data set, for the message; 0 by default.
    """
    if (bad := first_not_finite(images)) is not None:
        raise ValueError(
            f"`{name}` must have finite pixels. Received: NaN or infinity in image {first + bad}"
        )


def first_not_finite(values: np.ndarray) -> int | None:
    """Number of the first row of an array (N, ...), N >= 1, with NaN or infinity; None if there is none."""
    if np.isfinite(values.min()) and np.isfinite(values.max()):
        return None
    return next(row for row, part in enumerate(values) if not np.isfinite(part).all())
