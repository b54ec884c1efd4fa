"""The bundled scenes: pictures with several garments, which are made when they are loaded."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_leoclr.data.readers.arrays import ArrayImages, bundled_images
from keras_leoclr.data.scenes import Scenes, SceneSettings, draw_scenes
from keras_leoclr.data.source import Source
from keras_leoclr.data.splits import SplitError, split_name, split_rows

NAME = "fashion_scenes"
COUNTS = {"train": 10_000, "test": 2_000}
SEEDS = {"train": 0, "test": 1}
YES_OR_NO = {"yes": True, "no": False}


class SceneImages(ArrayImages):
    """The pictures of scenes, with labels and boxes.

    Args:
        scenes: pictures, labels and boxes.
        class_names: names of the classes in the order of their numbers.
    """

    def __init__(self, scenes: Scenes, class_names: tuple[str, ...]):
        super().__init__(scenes.image, scenes.label, class_names)
        self._scenes = scenes

    def things(self, number):
        return [
            (self.class_names[kind], (int(top), int(left), int(bottom - top), int(right - left)))
            for kind, (top, left, bottom, right) in zip(
                self._scenes.classes[number], self._scenes.boxes[number], strict=True
            )
            if kind >= 0
        ]

    def subset(self, rows):
        if len(rows) == self.count and np.array_equal(rows, np.arange(self.count)):
            return self
        found = self._scenes
        parts = (array[rows] for array in (found.image, found.label, found.boxes, found.classes))
        return SceneImages(Scenes(*parts), self.class_names)


def fashion_scenes(
    split: str = "train",
    things: Sequence[int] | int = SceneSettings.things,
    size: Sequence[int] | int = SceneSettings.size,
    canvas: int = SceneSettings.canvas,
    background: str = SceneSettings.background,
    colour: bool = SceneSettings.colour,
) -> Source:
    """Pictures with several garments of Fashion-MNIST, made of the bundled pictures of single garments.

    There are 10,000 training and 2,000 test scenes. Test scenes show none of the garments of the training
    scenes, and "train[80%:]" none of those of "train[:80%]", so that settings can be chosen on it. The same
    arguments give the same bits on every platform.

    Args:
        split: "train" (the default) or "test", or a slice of them such as "train[:80%]".
        things: lowest and highest number of garments in a picture, or one number for both.
        size: smallest and largest side of a garment in pixels, or one number for both.
        canvas: side of the picture in pixels.
        background: "plain", which is black, or "cloudy", a soft pattern that differs in every picture.
        colour: whether garments and clouds have random colours; otherwise the pictures are grey.

    Returns:
        A `Source` of `{"image": (canvas, canvas, 3) uint8, "label": (10,) uint8}`, with one channel without
        colour; the label has a 1 for each class of which a garment is in the picture.

    Raises:
        ValueError: if a value is wrong, or so many garments do not fit into the picture.
    """
    return Source(scene_images(split, SceneSettings(things, size, canvas, background, colour)))


def is_scenes(name: str) -> bool:
    """Whether a name is that of the scenes, with or without settings."""
    return name.partition(":")[0] == NAME


def named_scenes(name: str, split: str) -> SceneImages:
    """Loads the scenes of a name such as "fashion_scenes:things=2-4,size=12,background=cloudy,colour=no".

    Raises:
        ValueError: if there are no such settings, or no such split.
    """
    return scene_images(split, settings_of(name))


def settings_of(name: str) -> SceneSettings:
    """Reads the settings in a name, see `named_scenes`.

    Raises:
        ValueError: if there are no such settings.
    """
    values: dict[str, Any] = {}
    text = name.partition(":")[2]
    for part in text.split(",") if ":" in name else ():
        key, _, value = part.partition("=")
        if key not in SceneSettings.__dataclass_fields__ or key in values:
            raise ValueError(
                f"`{NAME}:` must be followed by settings such as `things=2-4,size=12`, once each of "
                f"{', '.join(SceneSettings.__dataclass_fields__)}. Received: {name!r}"
            )
        values[key] = _value(key, value, name)
    return SceneSettings(**values)


def _value(key: str, text: str, name: str) -> Any:
    if key == "background":
        return text
    if key == "colour" and text in YES_OR_NO:
        return YES_OR_NO[text]
    if key == "canvas" and re.fullmatch(r"\d{1,9}", text):
        return int(text)
    if key in ("things", "size") and re.fullmatch(r"\d{1,9}(-\d{1,9})?", text):
        numbers = [int(number) for number in text.split("-")]
        return numbers[0], numbers[-1]
    kinds = {"colour": "yes or no", "canvas": "a number"}
    kind = kinds.get(key, "a number or two, such as 2-4")
    raise ValueError(f"`{key}` of `{NAME}` must be {kind}. Received: {key}={text} in {name!r}")


def scene_images(split: str, settings: SceneSettings) -> SceneImages:
    """Makes the scenes of a split or of a slice of it.

    Raises:
        ValueError: if there is no such split.
    """
    wanted = split_name(split)
    if wanted not in COUNTS:
        raise SplitError(
            f'`split` of "{NAME}" must be "train" or "test", or a slice of them. Received: split={split!r}'
        )
    return _whole(wanted, settings).subset(split_rows(split, COUNTS[wanted]))


def drawn_scenes(split: str, settings: SceneSettings) -> Scenes:
    """Draws the scenes of a whole split, with their boxes.

    Args:
        split: "train" or "test".
        settings: settings of the scenes.
    """
    single = bundled_images("fashion_mnist", split)
    return draw_scenes(single.pixels[..., 0], single.labels, COUNTS[split], settings, SEEDS[split])


@functools.lru_cache(maxsize=2)
def _whole(split: str, settings: SceneSettings) -> SceneImages:
    scenes = drawn_scenes(split, settings)
    for array in (scenes.image, scenes.label):
        array.flags.writeable = False  # The arrays are cached and shared by all callers.
    return SceneImages(scenes, bundled_images("fashion_mnist", split).class_names)
