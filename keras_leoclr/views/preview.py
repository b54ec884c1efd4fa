"""Pictures that show people the views of the first images of a source; `sheet` does the layout."""

from __future__ import annotations

import os
from typing import Any

import keras
import numpy as np

from keras_leoclr.checks import whole_number
from keras_leoclr.data import canvas as canvases
from keras_leoclr.data.channels import as_rgb
from keras_leoclr.data.source import Source
from keras_leoclr.data.source_arguments import as_source
from keras_leoclr.tensorflow_host import tf
from keras_leoclr.views import missed
from keras_leoclr.views.preprocessing import Preprocessing
from keras_leoclr.views.sheet import Drawn, write_sheet


def draw_views(
    views: Any,
    source: Source | tf.data.Dataset,
    count: int = 12,
    seed: int = 0,
    views_on: str = "host",
    canvas: tuple[int, int] | None = None,
) -> list[Drawn]:
    """Makes the views of the first images of a source.

    Args:
        views: a layer such as `LeOCLRViews`.
        source: dictionaries with the key `image`; see `data.load`.
        count: number of images, >= 1; 12 by default.
        seed: seed of the views; 0 by default.
        views_on: "host" (the default), or "device" for the views that a model makes within its training step.
            With "device", boxes and pictures are those of the canvas.
        canvas: height and width in pixels of the canvas; see `data.view_dataset`.

    Returns:
        One `Drawn` per image; fewer than `count` if the source has fewer images.
    """
    whole_number("count", count, 1)
    canvases.check_place(views_on, views, canvas)
    source = as_source(source)
    images = [element["image"] for element in source.take(count)]
    if views_on == "device":
        sizes = getattr(source.images, "sizes", None)
        chosen = canvases.canvas_of(canvas, source.image_shape, sizes, views.settings.least_pixels)
        pictures = [canvases.pixels(image) for image in images]
        drawn = views.draw_arrays(len(images), np.array([seed, 0], np.int32))
        made = [_drawn_on_device(views, chosen, *each) for each in zip(pictures, _rows(drawn), strict=True)]
        return [
            one._replace(things=_scaled(_things(source, row), images[row].shape, one.picture.shape))
            for row, one in enumerate(made)
        ]
    draws = views.draw(len(images), tf.constant([seed, 0], tf.int32))
    preprocessing = Preprocessing.of(views)
    drawn = []
    for row, image in enumerate(images):
        own = tf.nest.map_structure(lambda values, row=row: values[row], draws)
        made = {name: _pixels(view, preprocessing) for name, view in views.views_of_one(image, own).items()}
        boxes = {name: np.asarray(box) for name, box in views.boxes_of_one(image, own).items()}
        picture = np.clip(np.asarray(image), 0, 255).astype("uint8")
        things = _things(source, row)
        drawn.append(Drawn(as_rgb(picture), boxes, **made, things=things))
    return drawn


def write_views(
    views: Any,
    source: Source | tf.data.Dataset,
    path: str | os.PathLike,
    count: int = 12,
    views_on: str = "host",
    canvas: tuple[int, int] | None = None,
) -> None:
    """Writes a PNG with one strip for each of the first images; see `sheet`.

    Args:
        views: a layer such as `LeOCLRViews`.
        source: dictionaries with the key `image`.
        path: path of the PNG file.
        count: number of images that are shown; 12 by default.
        views_on: see `draw_views`.
        canvas: see `data.view_dataset`.
    """
    write_sheet(draw_views(views, source, count, views_on=views_on, canvas=canvas), path)


def write_missed(
    views: Any,
    source: Source | tf.data.Dataset,
    path: str | os.PathLike,
    count: int = 36,
    views_on: str = "host",
    canvas: tuple[int, int] | None = None,
) -> None:
    """Writes a PNG that shows what the crops of one of the first images miss; see `missed.write_figure`.

    Args:
        views: a layer such as `LeOCLRViews`.
        source: dictionaries with the key `image`.
        path: path of the PNG file.
        count: number of images from which the one with the most different crops is chosen; 36 by default.
        views_on: see `draw_views`.
        canvas: see `data.view_dataset`.
    """
    missed.write_figure(draw_views(views, source, count, views_on=views_on, canvas=canvas), path)


def _things(source, row):
    """The names and boxes of the things in a picture, if they are known."""
    return [] if source.images is None else source.images.things(row)


def _scaled(things, before, after):
    """Scales boxes from the size `before` of a picture to its size `after`."""
    down, right = after[0] / before[0], after[1] / before[1]
    return [(name, (y * down, x * right, h * down, w * right)) for name, (y, x, h, w) in things]


def _drawn_on_device(views, canvas, picture, draws):
    from keras_leoclr.views.device import views_of_batch

    batch = canvas.placed([picture])
    ((height, width),) = batch["size"]
    parameters = views.packed(draws, height, width)
    tensors = {name: keras.ops.convert_to_tensor(value) for name, value in (batch | parameters).items()}
    made = views_of_batch(views.settings, tensors)
    made = {name: keras.ops.convert_to_numpy(made[name])[0] for name in ("query", "keys")}
    preprocessing = Preprocessing.of(views)
    picture = batch["image"][0, :height, :width]
    return Drawn(
        as_rgb(picture),
        {"query": parameters["query_parameters"][0, :4], "keys": parameters["key_parameters"][0, :, :4]},
        **{name: _pixels(view, preprocessing) for name, view in made.items()},
    )


def _rows(draws):
    """Splits the random numbers of a batch into those of batches of one image each."""
    count = len(draws["query"]["photometric"])
    for row in range(count):
        yield {
            view: {name: values[row : row + 1] for name, values in own.items()} for view, own in draws.items()
        }


def _pixels(views, preprocessing):
    values = np.asarray(views) * np.array(preprocessing.std) + np.array(preprocessing.mean)
    values = np.clip(255.0 * values, 0, 255).round().astype("uint8")
    return (
        values
        if values.shape[-1] == 3
        else np.stack([as_rgb(view) for view in values.reshape(-1, *values.shape[-3:])]).reshape(
            *values.shape[:-1], 3
        )
    )
