"""The randomness of the views: a seed gives random numbers, and these give the parameters of each view.

Everything that is random about a view is drawn here: a few dozen numbers in [0, 1). Everything else is a
function of these numbers. Both steps are written once, with the few array functions that `NumPyFunctions`
lists. NumPy is the default; `TensorFlowFunctions` runs them in the graph of a tf.data pipeline. Both give
the same random numbers bit by bit.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from keras_leoclr.views.numpy_functions import NumPyFunctions
from keras_leoclr.views.settings import LUMA, RGB_TO_YIQ, PairSettings, ViewSettings

CROP_TRIES = 10  # as in torchvision's RandomResizedCrop
# These are the columns of `packed`, followed by the names of those columns that are 1 or 0.
PACKED = (
    *("top", "left", "height", "width", "flip", "brightness", "contrast", "saturation", "hue"),
    *("grayscale", "sigma"),
)
YES_OR_NO = ("flip", "grayscale")
# The colour matrix of an image is a weighted sum of these three matrices; pixels are row vectors, x @ matrix.
# A positive angle turns red towards yellow, as a positive hue shift in HSV does.
_TO_LUMA = np.outer(LUMA, np.ones(3)).astype("float32")
_TURN_OF_YIQ = np.array([[0, 0, 0], [0, 0, -1], [0, 1, 0]])
# These are lists of float32 numbers because torch.compile cannot trace through NumPy arrays.
TO_LUMA = _TO_LUMA.tolist()
CHROMA = (np.eye(3, dtype="float32") - _TO_LUMA).tolist()
QUARTER_TURN = (RGB_TO_YIQ.T @ _TURN_OF_YIQ @ np.linalg.inv(RGB_TO_YIQ).T).astype("float32").tolist()


def draw(settings: ViewSettings, count: Any, seed: Any, functions: Any = NumPyFunctions) -> dict[str, Any]:
    """Draws uniform numbers in [0, 1) for `count` views; they are all the randomness of the views.

    Args:
        settings: settings of the views.
        count: number of views.
        seed: two integers, shape (2,).
        functions: array functions to compute with; NumPy's by default.

    Returns:
        `{"photometric": (count, 9)}`, and `"box": (count, 4, 10)` if the views are crops, both float32.
    """
    seeds = functions.split(seed)
    draws = {"photometric": functions.uniform([count, 9], seeds[0])}
    if settings.crop_scale is not None:
        box = functions.uniform([4, count, CROP_TRIES], seeds[1])
        draws["box"] = functions.transpose(box, [1, 0, 2])
    return draws


def draw_pair(
    settings: PairSettings, count: Any, seed: Any, functions: Any = NumPyFunctions
) -> dict[str, dict[str, Any]]:
    """Draws all the random numbers of the query views and the key views of `count` images.

    Args:
        settings: settings of the query views and of the key views.
        count: number of images.
        seed: two integers, shape (2,).
        functions: array functions to compute with; NumPy's by default.

    Returns:
        `{"query": draws, "keys": draws}`, each as `draw` returns it but with one more axis: entry (i, v) of
        each array belongs to view v of image i.
    """
    seeds = functions.split(seed)

    def by_image(view, seed):
        draws = draw(view, count * view.num_views, seed, functions)
        return {
            name: functions.reshape(value, [count, view.num_views, *value.shape[1:]])
            for name, value in draws.items()
        }

    return {"query": by_image(settings.query, seeds[0]), "keys": by_image(settings.keys, seeds[1])}


def parameters(
    settings: ViewSettings, draws: dict[str, Any], height: Any, width: Any, functions: Any = NumPyFunctions
) -> dict[str, Any]:
    """Computes the parameters of N views from uniform numbers.

    Args:
        settings: settings of the views.
        draws: the result of `draw` for N views.
        height: height of the images in pixels, a number, or (N,) if the images differ.
        width: width of the images in pixels, a number, or (N,).
        functions: array functions to compute with; NumPy's by default.

    Returns:
        A dictionary of arrays with N rows: `box` (top, left, height, width in pixels of the image), `flip`,
        `brightness`, `contrast`, `saturation` (factors), `hue` (share of the colour circle), `grayscale`, and
        `sigma` (pixels of the view, 0 where it is not blurred).
    """
    where = functions.where
    flip, jitter, gray, blur, sigma, *factors = functions.unstack(draws["photometric"], axis=1)
    jitter = jitter < settings.jitter_probability

    def factor(uniform, strength):
        low = max(0.0, 1.0 - strength)
        return where(jitter, low + uniform * (1.0 + strength - low), 1.0)

    low, high = settings.blur_sigma
    *strengths, hue = settings.color_jitter
    return {
        "box": _boxes(settings, draws, height, width, functions),
        "flip": flip < settings.flip_probability,
        "brightness": factor(factors[0], strengths[0]),
        "contrast": factor(factors[1], strengths[1]),
        "saturation": factor(factors[2], strengths[2]),
        "hue": where(jitter, (2.0 * factors[3] - 1.0) * hue, 0.0),
        "grayscale": gray < settings.grayscale_probability,
        "sigma": where(blur < settings.blur_probability, low + sigma * (high - low), 0.0),
    }


def _boxes(settings, draws, height, width, functions):
    # The sides get the shape (1, 1) or (N, 1), so that they broadcast over the tries (N, CROP_TRIES).
    height, width = (functions.reshape(functions.float32(side), [-1, 1]) for side in (height, width))
    if settings.crop_scale is None:
        zero = 0.0 * draws["photometric"][:, 0]
        return functions.stack([zero, zero, zero + height[:, 0], zero + width[:, 0]], axis=1)
    u_area, u_ratio, u_top, u_left = functions.unstack(draws["box"], axis=1)
    low, high = settings.crop_scale
    area = height * width * (low + u_area * (high - low))
    log_low, log_high = (math.log(ratio) for ratio in settings.crop_ratio)
    ratio = functions.exp(log_low + u_ratio * (log_high - log_low))
    # Sides are rounded to whole pixels as in torchvision, and the first try that fits is used.
    w = functions.round(functions.sqrt(area * ratio))
    h = functions.round(functions.sqrt(area / ratio))
    fits = (w > 0) & (w <= width) & (h > 0) & (h <= height)
    top = functions.floor(u_top * (height - h + 1.0))
    left = functions.floor(u_left * (width - w + 1.0))
    drawn = functions.pick(functions.stack([top, left, h, w], axis=2), functions.argmax(fits, axis=1))
    # If no try fits, the largest centred crop with a ratio in the range is used, of one pixel or more.
    w = functions.minimum(width, functions.maximum(functions.round(height * settings.crop_ratio[1]), 1.0))
    h = functions.minimum(height, functions.maximum(functions.round(width / settings.crop_ratio[0]), 1.0))
    sides = [functions.floor((height - h) / 2.0), functions.floor((width - w) / 2.0), h, w]
    centred = functions.stack([side[:, 0] for side in sides], axis=1)
    return functions.where(functions.any(fits, axis=1)[:, None], drawn, centred)


# === Parameters as rows of numbers ===


def packed(parameters: dict[str, Any], functions: Any = NumPyFunctions) -> Any:
    """Packs the parameters of N views into rows of P = 11 numbers, which travel to a device with the images.

    Nothing is rounded: `unpacked` returns the same numbers bit by bit. The columns are

    - 0 to 3: `box`, its top, left, height and width in pixels of the image;
    - 4: `flip`, 1 or 0;
    - 5, 6, 7: the factors `brightness`, `contrast` and `saturation`;
    - 8: `hue`, share of the colour circle;
    - 9: `grayscale`, 1 or 0;
    - 10: `sigma` of the blur in pixels of the view, 0 where it is not blurred.

    Args:
        parameters: arrays with N rows, as `parameters` returns them.
        functions: array functions to compute with; NumPy's by default.

    Returns:
        (N, 11) float32.
    """
    columns = functions.unstack(parameters["box"], axis=1)
    for name in PACKED[4:]:
        value = parameters[name]
        columns.append(functions.where(value, 1.0, 0.0) if name in YES_OR_NO else value)
    return functions.stack([functions.float32(column) for column in columns], axis=1)


def unpacked(rows: Any) -> dict[str, Any]:
    """Restores the parameters of N views from the rows that `packed` made.

    Args:
        rows: (N, 11) array or tensor.

    Returns:
        A dictionary of arrays with N rows; see `parameters`.
    """
    if rows.shape[-1] != len(PACKED):
        raise ValueError(
            f"The parameters of a view must be {len(PACKED)} numbers, {', '.join(PACKED)}. "
            f"Received: shape {tuple(rows.shape)}"
        )
    columns = {name: rows[:, place] for place, name in enumerate(PACKED) if place >= 4}
    chosen = {name: columns[name] > 0.5 for name in YES_OR_NO}
    return {"box": rows[:, :4], **columns, **chosen}


def packed_pair(
    settings: PairSettings,
    draws: dict[str, dict[str, Any]],
    height: Any,
    width: Any,
    functions: Any = NumPyFunctions,
) -> dict[str, Any]:
    """Packs the parameters of the query views and the key views of B images for a batch of a model.

    Args:
        settings: settings of the query views and of the key views.
        draws: the result of `draw_pair` for B images.
        height: height of the images in pixels, a number, or (B,) if the images differ.
        width: width of the images in pixels, a number, or (B,).
        functions: array functions to compute with; NumPy's by default.

    Returns:
        `{"query_parameters": (B, P), "key_parameters": (B, V, P)}` float32, see `packed`, and `"made_for"`,
        an array (B, 0, `settings.number`) without elements. Its shape tells a model, before anything is
        computed, whether the parameters were drawn for the model's own settings. The number is kept small
        because tf.data takes memory for such arrays although they are empty.
    """

    def rows(view, drawn):
        # The size of an image is repeated for each of its views, (B, V).
        nothing = 0.0 * drawn["photometric"][:, :, 0]
        sides = [nothing + functions.reshape(functions.float32(side), [-1, 1]) for side in (height, width)]
        flat = {name: functions.reshape(value, [-1, *value.shape[2:]]) for name, value in drawn.items()}
        own = parameters(view, flat, *(functions.reshape(side, [-1]) for side in sides), functions)
        return functions.reshape(packed(own, functions), [-1, view.num_views, len(PACKED)])

    query = rows(settings.query, draws["query"])[:, 0]
    return {
        "query_parameters": query,
        "key_parameters": rows(settings.keys, draws["keys"]),
        "made_for": functions.nothing(query, settings.number),
    }


# === Colour ===


def gain_and_shift(parameters: dict[str, Any]) -> tuple[Any, Any]:
    """Brightness and contrast of N views: `x' = gain * x + shift * m`, with m the mean luma of the view.

    Returns:
        `gain` and `shift`, two arrays (N,).
    """
    brightness, contrast = parameters["brightness"], parameters["contrast"]
    return brightness * contrast, brightness * (1.0 - contrast)


def colour_matrix(parameters: dict[str, Any], functions: Any = NumPyFunctions) -> Any:
    """The matrix of all colour operations but the shift on pixels x: `x' = x @ matrix + shift * m`.

    With Y the luma of a pixel, R(a) the rotation of the chroma by the hue angle a, b the brightness, c the
    contrast and s the saturation, which is 0 where greyscale is drawn:
    `x' = b * (c * (Y + s * R(a) (x - Y)) + (1 - c) * m)`.

    Returns:
        (N, 3, 3) float32.
    """
    gain, _ = gain_and_shift(parameters)
    saturation = functions.where(parameters["grayscale"], 0.0, parameters["saturation"])
    angle = 2.0 * math.pi * parameters["hue"]
    return gain[:, None, None] * (
        functions.float32(TO_LUMA)
        + (saturation * functions.cos(angle))[:, None, None] * functions.float32(CHROMA)
        + (saturation * functions.sin(angle))[:, None, None] * functions.float32(QUARTER_TURN)
    )
