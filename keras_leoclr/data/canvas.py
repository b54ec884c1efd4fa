"""The canvas: pictures of many sizes in one array of 8 bits, from which a device makes their views.

A picture lies in the upper left corner, and zeros fill what is left. Where a picture does not fit, it is
reduced, with the ratio of its sides, until it does; boxes of crops are in pixels of the reduced picture.
Pillow reduces, whatever makes the batches: the pixels are the same bits with TensorFlow and without it.
"""

from __future__ import annotations

import math
import os
import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from keras_leoclr.checks import one_of

MAX_PIXELS = 178_956_970  # of a picture, as where files are decoded
ASPECT = 4 / 3  # pictures up to this ratio of their sides keep the pixels that the smallest crop needs
STEP = 16  # sides that are chosen for pictures of many sizes are multiples of it


class Canvas(NamedTuple):
    """The height and width that the pictures of all batches of a run get, in pixels."""

    height: int
    width: int

    def fitting(self, height: int, width: int) -> tuple[int, int]:
        """The height and width that a picture has on the canvas."""
        scale = min(self.height / height, self.width / width, 1.0)
        return (
            min(self.height, max(1, round(height * scale))),
            min(self.width, max(1, round(width * scale))),
        )

    def reduced(self, picture: np.ndarray) -> np.ndarray:
        """A picture (H, W, C) uint8, C 1 or 3, with a smaller size if it does not fit."""
        height, width = self.fitting(*picture.shape[:2])
        if (height, width) == picture.shape[:2]:
            return picture
        grey = picture.shape[-1] == 1
        image = Image.fromarray(np.ascontiguousarray(picture[..., 0] if grey else picture))
        smaller = np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))  # with antialiasing
        return smaller[..., None] if grey else smaller

    def placed(self, pictures: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        """A batch of pictures on the canvas.

        Args:
            pictures: (H, W, C) uint8 each, or an array (B, H, W, C) of them.

        Returns:
            `{"image": (B, height, width, C) uint8, "size": (B, 2) int32}`, the size as height and width.
        """
        if isinstance(pictures, np.ndarray) and pictures.shape[1:3] == tuple(self):
            size = np.tile(np.array(self, np.int32), (len(pictures), 1))
            return {"image": pictures, "size": size}
        made = [self.reduced(picture) for picture in pictures]
        image = np.zeros((len(made), *self, made[0].shape[-1]), np.uint8)
        for place, picture in zip(image, made, strict=True):
            place[: picture.shape[0], : picture.shape[1]] = picture
        return {"image": image, "size": np.array([picture.shape[:2] for picture in made], np.int32)}


def pixels(images: np.ndarray) -> np.ndarray:
    """Images of uint8 as they are; floats in [0, 255] rounded to it."""
    images = np.asarray(images)
    return images if images.dtype == np.uint8 else np.rint(images.clip(0, 255)).astype(np.uint8)


def check_place(views_on: str, views: Any, canvas: Any) -> None:
    """Raises ValueError unless the views can be made where they are asked for.

    Args:
        views_on: "host" or "device".
        views: what makes them.
        canvas: the argument `canvas`, which is of views on the device.
    """
    one_of("views_on", views_on, ("host", "device"))
    if not callable(views):
        raise ValueError(
            "`views` must be a layer such as LeOCLRViews, or a function `(images, seed) -> views`. "
            f"Received: views={views!r}"
        )
    if views_on == "host" and canvas is not None:
        raise ValueError(
            f'`canvas` is of `views_on="device"`. Received: canvas={canvas}, views_on={views_on!r}'
        )
    if views_on == "device" and not hasattr(views, "packed"):
        raise ValueError(
            '`views` must be a layer such as LeOCLRViews for `views_on="device"`: a function of your own is '
            f"called on the host alone. Received: views={views!r}, views_on={views_on!r}"
        )


def shard_size(shard: tuple[int, int], batch_size: int) -> int:
    """Pictures of a batch that a worker makes.

    Args:
        shard: its number, and the number of workers.
        batch_size: pictures of a batch.

    Raises:
        ValueError: unless the workers can share a batch evenly.
    """
    index, shards = shard
    if not 0 <= index < shards or batch_size % shards:
        raise ValueError(
            "`shard` must be (index, count) with 0 <= index < count, and count must divide `batch_size`. "
            f"Received: shard={shard}, batch_size={batch_size}"
        )
    return batch_size // shards


def canvas_of(given: Any, shape: Sequence[int | None], sizes: np.ndarray | None, least: int | None) -> Canvas:
    """The canvas that is given, or one for the pictures of a source.

    Each side is the largest that a picture has, rounded up to a multiple of 16 where pictures have many
    sizes, but no more than pictures of 4:3 need to keep `least` pixels, and that where sizes are not known.

    Args:
        given: (height, width) of the canvas, or None.
        shape: (H, W, C) of the pictures, None where it varies.
        sizes: (N, 2) height and width of each picture, None if they are not known.
        least: pixels of a picture that its smallest crop needs, see `PairSettings.least_pixels`, or None.

    Raises:
        ValueError: if the canvas is none, or nothing tells its size.
    """
    if given is not None:
        return check_canvas(given)
    limit = None if least is None else STEP * math.ceil(math.sqrt(ASPECT * least) / STEP)
    found = []
    for axis in range(2):
        side = shape[axis]
        if side is None and sizes is not None and len(sizes):
            side = STEP * math.ceil(int(sizes[:, axis].max()) / STEP)
        if side is None and limit is None:
            raise ValueError(
                "`canvas` must be given, (height, width), where neither pictures nor crops tell its size. "
                "Received: canvas=None, pictures of unknown sizes"
            )
        found.append(min(side or limit, limit or side))
    return check_canvas(tuple(found))


def check_canvas(value: Any) -> Canvas:
    """The value as a canvas.

    Raises:
        ValueError: unless it is two whole numbers >= 1 with at most `MAX_PIXELS` pixels.
    """
    try:
        sides = tuple(value)
        good = len(sides) == 2 and all(isinstance(side, (int, np.integer)) and side >= 1 for side in sides)
    except TypeError:
        good = False
    if not good or any(isinstance(side, bool) for side in sides):
        raise ValueError(
            f"`canvas` must be two whole numbers >= 1, height and width in pixels. Received: canvas={value!r}"
        )
    height, width = (int(side) for side in sides)
    if height * width > MAX_PIXELS:
        raise ValueError(
            f"`canvas` must have {MAX_PIXELS:,} pixels or fewer. "
            f"Received: canvas={(height, width)}, {height * width:,} pixels"
        )
    return Canvas(height, width)


def check_pixels(name: str, shape: Sequence[int], most: int, number: int | None = None) -> None:
    """Raises ValueError if a picture has no pixels, or more than are allowed.

    Args:
        name: of the argument that holds the picture, for messages.
        shape: (H, W, C) of it.
        most: largest height times width.
        number: which of several pictures it is.
    """
    height, width = shape[:2]
    if 1 <= height * width <= most:
        return
    which = "" if number is None else f" in picture {number}"
    raise ValueError(
        f"`{name}` must have pictures of 1 to {most:,} pixels, which is `max_pixels`. "
        f"Received: {height} x {width} pixels{which}"
    )


# === Memory ===


def check_memory(canvas: Canvas, channels: int, batch_size: int, batches: int) -> None:
    """Raises ValueError if the batches that are held at a time do not fit into the memory that is free.

    Args:
        canvas: the canvas.
        channels: C of the pictures.
        batch_size: pictures of a batch that this process makes.
        batches: how many batches are held at a time.
    """
    each = batch_size * canvas.height * canvas.width * channels
    free = free_memory()
    if free is not None and batches * each > free:
        raise ValueError(
            f"`canvas` must fit into memory: a batch of {batch_size} pictures of {canvas.height} x "
            f"{canvas.width} pixels has {each:,} bytes, and {batches} batches are held at a time, "
            f"{batches * each:,} bytes of {free:,} that are free. "
            f"Received: canvas={tuple(canvas)}, batch_size={batch_size}"
        )


def free_memory() -> int | None:
    """Bytes that this process can still take, of the machine and of its control group; None if unknown."""
    known = []
    try:
        for line in pathlib.Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                known.append(1024 * int(line.split()[1]))
    except (OSError, ValueError, IndexError):
        pass
    group = pathlib.Path("/sys/fs/cgroup")
    try:
        most, used = (int((group / name).read_text()) for name in ("memory.max", "memory.current"))
        held = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        known.append(max(0, most - used + int(held.get("file", 0))))  # files that are cached give way
    except (OSError, ValueError):  # no control group, or "max", which is no limit
        pass
    if not known and hasattr(os, "sysconf") and "SC_AVPHYS_PAGES" in os.sysconf_names:
        known.append(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return min(known, default=None)
