"""The canvas: one uint8 array for pictures of many sizes, from which a device makes their views.

A picture lies in the upper left corner, and the rest is filled with zeros. A picture that does not fit is
reduced, with its aspect ratio kept, until it does; boxes of crops are then in pixels of the reduced picture.
Pillow always does the reduction, so that the pixels are the same bits with TensorFlow and without it.
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

MAX_PIXELS = 178_956_970  # largest number of pixels of a picture, the same as for decoding files
ASPECT = 4 / 3  # pictures up to this aspect ratio keep the pixels that the smallest crop needs
STEP = 16  # sides of a canvas for pictures of many sizes are multiples of this number of pixels


class Canvas(NamedTuple):
    """The height and width in pixels of the canvas, which is the same for all batches of a run."""

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
        """Reduces a picture (H, W, C) uint8 if it does not fit on the canvas."""
        height, width = self.fitting(*picture.shape[:2])
        if (height, width) == picture.shape[:2]:
            return picture
        if picture.shape[-1] not in (1, 3):  # each channel is reduced by itself, as those of RGB are
            planes = [self.reduced(picture[..., place, None]) for place in range(picture.shape[-1])]
            return np.concatenate(planes, axis=-1)
        grey = picture.shape[-1] == 1
        image = Image.fromarray(np.ascontiguousarray(picture[..., 0] if grey else picture))
        smaller = np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))  # with antialiasing
        return smaller[..., None] if grey else smaller

    def placed(self, pictures: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        """Puts a batch of pictures on the canvas.

        Args:
            pictures: B arrays (H, W, C) uint8, or one array (B, H, W, C).

        Returns:
            `{"image": (B, height, width, C) uint8, "size": (B, 2) int32}`; the sizes are height and width.
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
    """Returns uint8 images unchanged and rounds floats in [0, 255] to uint8."""
    images = np.asarray(images)
    return images if images.dtype == np.uint8 else np.rint(images.clip(0, 255)).astype(np.uint8)


def check_place(views_on: str, views: Any, canvas: Any) -> None:
    """Raises ValueError unless the views can be made at the requested place.

    Args:
        views_on: "host" or "device".
        views: layer that makes the views.
        canvas: the argument `canvas`, which is only allowed with views on the device.
    """
    one_of("views_on", views_on, ("host", "device"))
    if not callable(views):
        raise ValueError(
            "`views` must be a layer such as LeOCLRViews, or a function `(images, seed) -> views`. "
            f"Received: views={views!r}"
        )
    if views_on == "host" and canvas is not None:
        raise ValueError(
            '`canvas` may be given with `views_on="device"` alone, where views are made within the step. '
            f"Received: canvas={canvas}, views_on={views_on!r}"
        )
    if views_on == "device" and not hasattr(views, "packed"):
        raise ValueError(
            '`views` must be a layer such as LeOCLRViews for `views_on="device"`: a function of your own is '
            f"called on the host alone. Received: views={views!r}, views_on={views_on!r}"
        )


def check_initial_batch(initial_batch: int, batches: int) -> None:
    """Raises ValueError if a pass is to start behind the last batch of its epoch, which would be empty."""
    if initial_batch >= batches:
        raise ValueError(
            "`initial_batch` must be smaller than the number of batches of an epoch. "
            f"Received: initial_batch={initial_batch}, {batches} batches"
        )


def shard_size(shard: tuple[int, int], batch_size: int) -> int:
    """The number of pictures of a batch that one worker makes.

    Args:
        shard: number of the worker, and the number of workers.
        batch_size: number of pictures of a batch.

    Raises:
        ValueError: unless the workers can share a batch evenly.
    """
    pair = isinstance(shard, (tuple, list)) and len(shard) == 2
    index, shards = shard if pair and all(isinstance(n, (int, np.integer)) for n in shard) else (0, 0)
    if not 0 <= index < shards or batch_size % shards:
        raise ValueError(
            "`shard` must be (index, count) with 0 <= index < count, and count must divide `batch_size`. "
            f"Received: shard={shard}, batch_size={batch_size}"
        )
    return batch_size // shards


def canvas_of(given: Any, shape: Sequence[int | None], sizes: np.ndarray | None, least: int | None) -> Canvas:
    """Returns the given canvas, or chooses one for the pictures of a source.

    Each side is the largest that a picture has, rounded up to a multiple of 16 if the sizes of the pictures
    differ. It is limited to what pictures of 4:3 need to keep `least` pixels, and is equal to that limit if
    the sizes are not known.

    Args:
        given: (height, width) of the canvas in pixels, or None.
        shape: (H, W, C) of the pictures, with None where it varies.
        sizes: (N, 2) height and width of each picture, None if they are not known.
        least: pixels of a picture that its smallest crop needs, see `PairSettings.least_pixels`, or None.

    Raises:
        ValueError: if `given` is not a canvas, or nothing determines its size.
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
    """Checks a value and returns it as a canvas.

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
        name: name of the argument that holds the picture, for messages.
        shape: (H, W, C) of the picture.
        most: largest height times width.
        number: number of the picture among several; None (the default) for a single one.
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
    """Raises ValueError if the batches that are held at a time do not fit into the free memory.

    Args:
        canvas: the canvas.
        channels: C of the pictures.
        batch_size: pictures of a batch that this process makes.
        batches: number of batches that are held at a time.
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
    """Bytes that this process can still allocate on this machine, in its control group; None if unknown."""
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
        known.append(max(0, most - used + int(held.get("file", 0))))  # Cached files can be dropped.
    except (OSError, ValueError):  # There is no control group, or its limit is "max", which means none.
        pass
    if not known and hasattr(os, "sysconf") and "SC_AVPHYS_PAGES" in os.sysconf_names:
        known.append(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return min(known, default=None)
