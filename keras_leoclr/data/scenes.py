"""Scenes: pictures with several garments each, drawn from pictures of single garments.

All arithmetic uses whole numbers, and all random numbers come from `philox`. The pictures are therefore the
same bits on every platform and with every version of NumPy.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_leoclr import philox
from keras_leoclr.checks import one_of, whole_number

BACKGROUNDS = ("plain", "cloudy")
LEAST_SIZE, MOST_CANVAS = 4, 256  # smallest side of a garment and largest side of a picture, in pixels
HELD_OUT = 5  # The last fifth of the scenes shares no garment with the others.
CLOUD = 8  # distance in pixels between the points of a cloudy background whose brightness is drawn
CLOUD_VALUES = 128  # The brightness of a cloudy background is below this value.
DARKEST_TINT = 64  # smallest factor, in 256ths, of a channel of a coloured garment
OPAQUE = 4  # A pixel of a garment covers the background if its value is at least 255 / 4.
TRIES = 100  # number of attempts to place the garments of a picture before an error is raised
WORD = np.uint64(32)

# The purposes of the draws: the second number of the seed of `philox`; the first is the seed of the split.
THINGS, GARMENTS, SIZES, TINTS, CLOUDS, CLOUD_TINTS, PLACES = range(7)


@dataclasses.dataclass(frozen=True)
class SceneSettings:
    """The settings of scenes.

    Attributes:
        things: lowest and highest number of garments in a picture, or one number for both.
        size: smallest and largest side of a garment in pixels, or one number for both.
        canvas: side of the picture in pixels.
        background: "plain", which is black, or "cloudy", a soft pattern that differs in every picture.
        colour: whether garments and clouds have random colours; otherwise the pictures are grey.

    Raises:
        ValueError: if a value is wrong, or so many garments of that size do not fit beside each other.
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
        image: (N, canvas, canvas, C) uint8; C is 3 with colour and 1 without.
        label: (N, classes) uint8, 1 for each class that the picture has a garment of.
        boxes: (N, T, 4) int16, top, left, bottom and right of each garment in pixels; -1 fills the rows of
            pictures with fewer than T garments.
        classes: (N, T) int16, the class of each garment; -1 likewise.
    """

    image: np.ndarray
    label: np.ndarray
    boxes: np.ndarray
    classes: np.ndarray


def draw_scenes(
    garments: np.ndarray, labels: np.ndarray, count: int, settings: SceneSettings, seed: int = 0
) -> Scenes:
    """Draws scenes.

    The place of a garment is drawn uniformly from all places where it covers no other. The last fifth of the
    scenes shows garments of the last fifth of `garments`, which the other scenes do not show.

    Args:
        garments: (G, H, W) uint8, pictures of one garment each, on black.
        labels: (G,) classes of the garments.
        count: number of scenes.
        settings: settings of the scenes.
        seed: seed of all draws; 0 by default.

    Raises:
        ValueError: if no places were found for the garments of a picture.
    """
    low, high = settings.things
    shape = count, high

    def below(purpose: int, shape: Sequence[int], most: Any) -> np.ndarray:
        """Random whole numbers from 0 to `most` - 1."""
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
    """Converts random words of 32 bits to whole numbers from 0 to `most` - 1, int64."""
    return (words.astype(np.uint64) * np.asarray(most).astype(np.uint64) >> WORD).astype(np.int64)


def reduced(images: np.ndarray, side: int) -> np.ndarray:
    """Reduces images (N, H, H) uint8 to (N, side, side) by the rounded mean of the area of each new pixel."""
    height = images.shape[1]
    # In a common unit, pixel j covers [j, j + 1) * side and pixel i of the result [i, i + 1) * height.
    start, stop = np.arange(side)[:, None] * height, np.arange(height)[None] * side
    shared = np.minimum(start + height, stop + side) - np.maximum(start, stop)
    weights = np.maximum(shared, 0).astype(np.float32)  # whole numbers; all sums are below 2**24, thus exact
    sums = weights @ images.astype(np.float32) @ weights.T
    return ((sums.astype(np.int64) + height**2 // 2) // height**2).astype(np.uint8)


def _clouds(values, canvas):
    """Interpolates brightness (N, P, P) at points `CLOUD` pixels apart to images (N, canvas, canvas)."""
    places = 2 * np.arange(canvas)[:, None] + 1  # centres of the pixels, in halves of pixels
    distance = np.abs(places - 2 * CLOUD * np.arange(values.shape[1])[None])
    weights = np.maximum(2 * CLOUD - distance, 0).astype(np.float32)  # whole numbers, as above
    sums = weights @ values.astype(np.float32) @ weights.T
    return (sums.astype(np.int64) // (2 * CLOUD) ** 2).astype(np.uint8)


def _tinted(images, tints):
    """Multiplies images (N, H, W, C) by tints (N, C) in 256ths."""
    return (images.astype(np.int32) * tints[:, None, None].astype(np.int32) // 256).astype(np.uint8)


def _paste(image, rows, small, tints, corners):
    """Pastes garments (n, side, side), coloured by tints (n, C), into the images with the numbers `rows`."""
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
    """Draws upper left corners (N, T, 2) of garments with sides (N, T) that do not cover each other."""
    corners = np.zeros((*present.shape, 2), np.int64)
    left = np.arange(len(present))
    for attempt in range(TRIES):
        words = philox.words(present.size, _seed(seed, PLACES + attempt)).reshape(present.shape)
        placed = np.ones(len(left), bool)
        for thing in range(present.shape[1]):
            free = _free(corners[left, :thing], sides[left, :thing], sides[left, thing], settings.canvas)
            counts = np.cumsum(free, axis=1, dtype=np.int32)
            number = below_of_words(words[left, thing], counts[:, -1])
            place = (counts <= number[:, None]).sum(axis=1)  # index of the free place with this number
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
    """Whether corners (n, canvas * canvas) are free for sides (n,), beside others at corners (n, T, 2)."""
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
        raise ValueError(f"`{name}` must be low and high with low <= high. Received: {name}={value!r}")
    return low, high
