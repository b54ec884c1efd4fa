"""Scenes: pictures with several garments each, drawn from pictures of single garments.

All arithmetic is of whole numbers, and all draws are those of `philox`, so that the pictures are the same
bits on every platform, with every version of NumPy.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_leoclr import philox
from keras_leoclr.checks import one_of, whole_number

BACKGROUNDS = ("plain", "cloudy")
LEAST_SIZE, MOST_CANVAS = 4, 256  # pixels
HELD_OUT = 5  # the last fifth of the scenes shares no garment with the others
CLOUD = 8  # pixels from one drawn brightness of a cloudy background to the next
CLOUD_VALUES = 128  # a cloudy background is darker than that
DARKEST_TINT = 64  # of a coloured garment, of 256
OPAQUE = 4  # a pixel of a garment covers the background where its value is 255 / 4 or more
TRIES = 100  # placements of the things of a picture, before it is said that they do not fit
WORD = np.uint64(32)

# What the draws are of: the second number of the seed of `philox`, the first is that of the split.
THINGS, GARMENTS, SIZES, TINTS, CLOUDS, CLOUD_TINTS, PLACES = range(7)


@dataclasses.dataclass(frozen=True)
class SceneSettings:
    """How scenes look.

    Attributes:
        things: number of garments in a picture, low and high; one number for both.
        size: side of a garment in pixels, low and high; one number for both.
        canvas: side of the picture, pixels.
        background: "plain", which is black, or "cloudy", a soft pattern that differs in every picture.
        colour: whether garments and clouds have drawn colours; otherwise the pictures are grey.

    Raises:
        ValueError: if a value is wrong, or so many things of that size cannot lie beside each other.
    """

    things: Sequence[int] | int = (2, 4)
    size: Sequence[int] | int = (10, 14)
    canvas: int = 32
    background: str = "plain"
    colour: bool = False

    def __post_init__(self):
        whole_number("canvas", self.canvas, LEAST_SIZE)
        if self.canvas > MOST_CANVAS:
            raise ValueError(f"`canvas` must be at most {MOST_CANVAS}. Received: canvas={self.canvas}")
        object.__setattr__(self, "things", _low_and_high("things", self.things, 1))
        object.__setattr__(self, "size", _low_and_high("size", self.size, LEAST_SIZE))
        if self.size[1] > self.canvas:
            raise ValueError(
                f"`size` must be at most `canvas`. Received: size={self.size}, canvas={self.canvas}"
            )
        if self.things[1] > (self.canvas // self.size[1]) ** 2:
            raise ValueError(
                f"`things` of `size` must fit into `canvas` beside each other, at most "
                f"{(self.canvas // self.size[1]) ** 2} here. Received: things={self.things}, "
                f"size={self.size}, canvas={self.canvas}"
            )
        one_of("background", self.background, BACKGROUNDS)
        if not isinstance(self.colour, bool):
            raise ValueError(f"`colour` must be True or False. Received: colour={self.colour!r}")


@dataclasses.dataclass(frozen=True)
class Scenes:
    """Pictures with several garments.

    Attributes:
        image: (N, canvas, canvas, C) uint8, C is 3 with colour and 1 without.
        label: (N, classes) uint8, 1 for each class of which a garment is in the picture.
        boxes: (N, T, 4) int16, top, left, bottom and right of each garment in pixels; -1 where a picture has
            fewer than T garments.
        classes: (N, T) int16, the class of each garment, -1 likewise.
    """

    image: np.ndarray
    label: np.ndarray
    boxes: np.ndarray
    classes: np.ndarray


def draw_scenes(
    garments: np.ndarray, labels: np.ndarray, count: int, settings: SceneSettings, seed: int = 0
) -> Scenes:
    """Draws scenes.

    Garments lie at places that are drawn uniformly among those where they cover no other. The last fifth of
    the scenes shows garments of the last fifth of `garments`, which the other scenes do not show.

    Args:
        garments: (G, H, W) uint8, pictures of one garment each on black.
        labels: (G,) their classes.
        count: number of scenes.
        settings: how they look.
        seed: of all draws.

    Raises:
        ValueError: if the garments of a picture were found no places.
    """
    low, high = settings.things
    shape = count, high

    def below(purpose: int, shape: Sequence[int], most: Any) -> np.ndarray:
        """Whole numbers from 0 to `most`, without it."""
        return below_of_words(philox.words(int(np.prod(shape)), _seed(seed, purpose)).reshape(shape), most)

    things = low + below(THINGS, (count,), high - low + 1)
    present = np.arange(high) < things[:, None]
    held_out = np.arange(count)[:, None] >= count - count // HELD_OUT
    first = len(garments) - len(garments) // HELD_OUT
    chosen = below(GARMENTS, shape, np.where(held_out, len(garments) - first, first))
    chosen = chosen + np.where(held_out, first, 0)
    sides = settings.size[0] + below(SIZES, shape, settings.size[1] - settings.size[0] + 1)
    corners = _places(present, sides, settings, seed)

    channels = 3 if settings.colour else 1
    image = np.zeros((count, settings.canvas, settings.canvas, channels), np.uint8)
    if settings.background == "cloudy":
        points = -(-settings.canvas // CLOUD) + 1
        image[:] = _clouds(below(CLOUDS, (count, points, points), CLOUD_VALUES), settings.canvas)[..., None]
    tints = np.full((*shape, channels), 256)
    if settings.colour:
        tints = DARKEST_TINT + below(TINTS, tints.shape, 257 - DARKEST_TINT)
        image = _tinted(image, DARKEST_TINT + below(CLOUD_TINTS, (count, channels), 257 - DARKEST_TINT))
    for thing in range(high):
        for side in range(settings.size[0], settings.size[1] + 1):
            rows = np.flatnonzero(present[:, thing] & (sides[:, thing] == side))
            if len(rows):
                small = reduced(garments[chosen[rows, thing]], side)
                _paste(image, rows, small, tints[rows, thing], corners[rows, thing])

    classes = np.where(present, labels[chosen], -1)
    label = np.zeros((count, int(labels.max()) + 1), np.uint8)
    np.maximum.at(label, (np.nonzero(present)[0], classes[present]), 1)
    boxes = np.concatenate([corners, corners + sides[..., None]], axis=-1)
    boxes[~present] = -1
    return Scenes(image, label, boxes.astype(np.int16), classes.astype(np.int16))


def below_of_words(words: np.ndarray, most: Any) -> np.ndarray:
    """Random words of 32 bits as whole numbers from 0 to `most`, without it, int64."""
    return (words.astype(np.uint64) * np.asarray(most).astype(np.uint64) >> WORD).astype(np.int64)


def reduced(images: np.ndarray, side: int) -> np.ndarray:
    """Images (N, H, H) uint8 as (N, side, side): the mean of the area that a pixel covers, rounded."""
    height = images.shape[1]
    # Pixel j covers [j, j + 1) * side, and pixel i of the result [i, i + 1) * height, of the same unit.
    start, stop = np.arange(side)[:, None] * height, np.arange(height)[None] * side
    shared = np.minimum(start + height, stop + side) - np.maximum(start, stop)
    weights = np.maximum(shared, 0).astype(np.float32)  # whole numbers, and so are all sums below, < 2**24
    sums = weights @ images.astype(np.float32) @ weights.T
    return ((sums.astype(np.int64) + height**2 // 2) // height**2).astype(np.uint8)


def _clouds(values, canvas):
    """Brightness (N, P, P) at points that lie `CLOUD` pixels apart as images (N, canvas, canvas)."""
    places = 2 * np.arange(canvas)[:, None] + 1  # the middle of a pixel, in halves of pixels
    distance = np.abs(places - 2 * CLOUD * np.arange(values.shape[1])[None])
    weights = np.maximum(2 * CLOUD - distance, 0).astype(np.float32)  # whole numbers, as above
    sums = weights @ values.astype(np.float32) @ weights.T
    return (sums.astype(np.int64) // (2 * CLOUD) ** 2).astype(np.uint8)


def _tinted(images, tints):
    """Images (N, H, W, C) times (N, C) 256ths."""
    return (images.astype(np.int32) * tints[:, None, None].astype(np.int32) // 256).astype(np.uint8)


def _paste(image, rows, small, tints, corners):
    """Puts garments (n, side, side), coloured by tints (n, C), into the images with the numbers `rows`."""
    along = np.arange(small.shape[1])
    where = (
        rows[:, None, None],
        corners[:, 0, None, None] + along[:, None],
        corners[:, 1, None, None] + along[None],
    )
    value = _tinted(small[..., None], tints).astype(np.int64)
    cover = np.minimum(OPAQUE * small[..., None].astype(np.int64), 255)
    image[where] = (image[where] * (255 - cover) + value * cover + 127) // 255


def _places(present, sides, settings, seed):
    """Upper left corners (N, T, 2) of things with sides (N, T) that do not cover each other."""
    corners = np.zeros((*present.shape, 2), np.int64)
    left = np.arange(len(present))
    for attempt in range(TRIES):
        words = philox.words(present.size, _seed(seed, PLACES + attempt)).reshape(present.shape)
        placed = np.ones(len(left), bool)
        for thing in range(present.shape[1]):
            free = _free(corners[left, :thing], sides[left, :thing], sides[left, thing], settings.canvas)
            counts = np.cumsum(free, axis=1, dtype=np.int32)
            number = below_of_words(words[left, thing], counts[:, -1])
            place = (counts <= number[:, None]).sum(axis=1)  # the first with more free places up to it
            found = counts[:, -1] > 0
            placed &= found | ~present[left, thing]
            place = np.where(found, place, 0)
            corners[left, thing] = np.stack(np.divmod(place, settings.canvas), axis=-1)
        left = left[~placed]
        if not len(left):
            return corners
    raise ValueError(
        f"`things` of `size` must leave more of `canvas` free: no places were found for those of {len(left)} "
        f"pictures. Received: things={settings.things}, size={settings.size}, canvas={settings.canvas}"
    )


def _free(corners, others, sides, canvas):
    """Corners (n, canvas * canvas) that things of sides (n,) may have beside others at corners (n, T, 2)."""
    along = np.arange(canvas)[None]
    inside = along + sides[:, None] <= canvas
    free = inside[:, :, None] & inside[:, None]
    for corner, other in zip(corners.swapaxes(0, 1), others.T, strict=True):
        apart = [
            (along + sides[:, None] <= corner[:, axis, None])
            | (along >= corner[:, axis, None] + other[:, None])
            for axis in (0, 1)
        ]
        free &= apart[0][:, :, None] | apart[1][:, None]
    return free.reshape(len(free), -1)


def _seed(seed, purpose):
    return np.array([seed, purpose], np.int64)


def _low_and_high(name, value, least):
    numbers = (value, value) if isinstance(value, (int, np.integer)) else value
    if not isinstance(numbers, (tuple, list)) or len(numbers) != 2:
        raise ValueError(f"`{name}` must be a whole number, or two, low and high. Received: {name}={value!r}")
    low, high = (whole_number(name, number, least) for number in numbers)
    if low > high:
        raise ValueError(f"`{name}` must be low and high. Received: {name}={value!r}")
    return low, high
