"""What views make of the first images of a source, for people to look at; `sheet` lays them out."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from keras_leoclr.checks import whole_number
from keras_leoclr.data.source import Source, as_source
from keras_leoclr.tensorflow_host import tf
from keras_leoclr.views.preprocessing import Preprocessing
from keras_leoclr.views.sheet import Drawn, write_sheet


def draw_views(views: Any, source: Source | tf.data.Dataset, count: int = 12, seed: int = 0) -> list[Drawn]:
    """The views of the first images of a source.

    Args:
        views: layer such as `LeOCLRViews`.
        source: dictionaries with `image`, see `data.load`.
        count: >= 1, images.
        seed: of the views.

    Returns:
        One for each image, fewer where the source has fewer.
    """
    whole_number("count", count, 1)
    images = [element["image"] for element in as_source(source).take(count)]
    draws = views.draw(len(images), tf.constant([seed, 0], tf.int32))
    preprocessing = Preprocessing.of(views)
    drawn = []
    for row, image in enumerate(images):
        own = tf.nest.map_structure(lambda values, row=row: values[row], draws)
        made = {name: _pixels(view, preprocessing) for name, view in views.views_of_one(image, own).items()}
        boxes = {name: np.asarray(box) for name, box in views.boxes_of_one(image, own).items()}
        picture = np.clip(np.asarray(image), 0, 255).astype("uint8")
        drawn.append(Drawn(np.repeat(picture, 3 // picture.shape[-1], -1), boxes, **made))
    return drawn


def write_views(
    views: Any, source: Source | tf.data.Dataset, path: str | os.PathLike, count: int = 12
) -> None:
    """Writes a PNG with a strip for each of the first images, see `sheet`.

    Args:
        views: layer such as `LeOCLRViews`.
        source: dictionaries with `image`.
        path: of the PNG.
        count: images shown.
    """
    write_sheet(draw_views(views, source, count), path)


def _pixels(views, preprocessing):
    values = np.asarray(views) * np.array(preprocessing.std) + np.array(preprocessing.mean)
    return np.clip(255.0 * values, 0, 255).round().astype("uint8")
