"""Randomness of the views: from a seed to draws, from draws to the parameters of each view.

Everything that is random about a view is drawn here, a few dozen numbers in [0, 1), and everything else is a
function of these numbers. Both steps are written once, over the few array functions that `NumPyFunctions`
lists: NumPy is the default, `host.TensorFlowFunctions` runs them in the graph of a tf.data pipeline. The
draws are the same bits in both.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from keras_leoclr.views import philox
from keras_leoclr.views.settings import LUMA, RGB_TO_YIQ, PairSettings, ViewSettings

CROP_TRIES = 10  # as torchvision's RandomResizedCrop
# The colour matrix of an image is a mix of these three; pixels are row vectors, x @ matrix. The turn
# goes from red to yellow, as a positive hue shift in HSV.
TO_LUMA = np.outer(LUMA, np.ones(3)).astype("float32")
CHROMA = np.eye(3, dtype="float32") - TO_LUMA
QUARTER_TURN = (
    RGB_TO_YIQ.T @ np.array([[0, 0, 0], [0, 0, -1], [0, 1, 0]]) @ np.linalg.inv(RGB_TO_YIQ).T
).astype("float32")


class NumPyFunctions:
    """The functions of arrays that drawing needs, by NumPy, in float32."""

    where = staticmethod(np.where)
    sqrt = staticmethod(np.sqrt)
    cos = staticmethod(np.cos)
    sin = staticmethod(np.sin)
    round = staticmethod(np.round)
    floor = staticmethod(np.floor)
    minimum = staticmethod(np.minimum)
    stack = staticmethod(np.stack)
    reshape = staticmethod(np.reshape)
    transpose = staticmethod(np.transpose)
    argmax = staticmethod(np.argmax)
    any = staticmethod(np.any)
    float32 = staticmethod(np.float32)
    uniform = staticmethod(philox.uniform)

    @staticmethod
    def split(seed: Any) -> np.ndarray:
        """Two seeds (2, 2) from a seed (2,)."""
        return philox.split(np.asarray(seed).astype(np.int32), 2)

    @staticmethod
    def unstack(array: np.ndarray, axis: int) -> list[np.ndarray]:
        """The arrays along an axis."""
        return list(np.moveaxis(array, axis, 0))

    @staticmethod
    def pick(array: np.ndarray, index: np.ndarray) -> np.ndarray:
        """Row i of the result is `array[i, index[i]]`."""
        return array[np.arange(len(index)), index]

    @staticmethod
    def exp(x: np.ndarray) -> np.ndarray:
        """The exponential of small numbers, with the bits that TensorFlow's has on x86.

        np.exp differs from it in the last bit, and a crop would now and then be a pixel larger or smaller.
        This is Eigen's polynomial (`pexp_float`), whose error is at most one unit in the last place.
        """
        x = np.asarray(x, np.float32)
        power = np.floor(x * np.float32(1.44269504088896341) + np.float32(0.5))
        rest = power * np.float32(-0.693359375) + x
        rest = power * np.float32(2.12194440e-4) + rest
        square = rest * rest
        even = square * np.float32(1.37449637986719608306884765625e-3)
        even = square * (even + np.float32(4.166965186595916748046875e-2))
        even = even + np.float32(0.49999988079071044921875)
        odd = square * np.float32(8.36894474923610687255859375e-3)
        odd = odd + np.float32(0.16666518151760101318359375)
        return np.ldexp(square * (rest * odd + even) + (rest + np.float32(1)), power.astype(np.int32))


def draw(settings: ViewSettings, count: Any, seed: Any, functions: Any = NumPyFunctions) -> dict[str, Any]:
    """Uniform numbers in [0, 1) for `count` views: all the randomness that they have.

    Args:
        settings: of the views.
        count: number of views.
        seed: (2,) integers.
        functions: of arrays.

    Returns:
        `{"photometric": (count, 9)}`, and `"box": (count, 4, 10)` where the views are crops, float32.
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
    """All the randomness of the query views and the key views of `count` images.

    Args:
        settings: of query and keys.
        count: number of images.
        seed: (2,) integers.
        functions: of arrays.

    Returns:
        `{"query": draws, "keys": draws}`; row i of each array belongs to image i and has a row for each of
        its views.
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
    """Parameters of N views from uniform numbers.

    Args:
        settings: of the views.
        draws: N rows of `draw`.
        height: of the images in pixels, scalar.
        width: of the images in pixels, scalar.
        functions: of arrays.

    Returns:
        Arrays of N rows: `box` (top, left, height, width in pixels of the image), `flip`, `brightness`,
        `contrast`, `saturation` (factors), `hue` (share of the colour circle), `grayscale`, `sigma`
        (pixels of the view, 0 where it is not blurred).
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
    height, width = functions.float32(height), functions.float32(width)
    if settings.crop_scale is None:
        zero = 0.0 * draws["photometric"][:, 0]
        return functions.stack([zero, zero, zero + height, zero + width], axis=1)
    u_area, u_ratio, u_top, u_left = functions.unstack(draws["box"], axis=1)
    low, high = settings.crop_scale
    area = height * width * (low + u_area * (high - low))
    log_low, log_high = (math.log(ratio) for ratio in settings.crop_ratio)
    ratio = functions.exp(log_low + u_ratio * (log_high - log_low))
    # Whole pixels, as torchvision; the first try that fits wins.
    w = functions.round(functions.sqrt(area * ratio))
    h = functions.round(functions.sqrt(area / ratio))
    fits = (w > 0) & (w <= width) & (h > 0) & (h <= height)
    top = functions.floor(u_top * (height - h + 1.0))
    left = functions.floor(u_left * (width - w + 1.0))
    drawn = functions.pick(functions.stack([top, left, h, w], axis=2), functions.argmax(fits, axis=1))
    # None fits: the largest centred crop with a ratio in the range.
    w = functions.minimum(width, functions.round(height * settings.crop_ratio[1]))
    h = functions.minimum(height, functions.round(width / settings.crop_ratio[0]))
    centred = functions.stack(
        [functions.floor((height - h) / 2.0), functions.floor((width - w) / 2.0), h, w], axis=0
    )
    return functions.where(functions.any(fits, axis=1)[:, None], drawn, centred)


def gain_and_shift(parameters: dict[str, Any]) -> tuple[Any, Any]:
    """Brightness and contrast of N views: `x' = gain * x + shift * m`, with m the mean luma of the view.

    Returns:
        Two arrays (N,).
    """
    brightness, contrast = parameters["brightness"], parameters["contrast"]
    return brightness * contrast, brightness * (1.0 - contrast)


def colour_matrix(parameters: dict[str, Any], functions: Any = NumPyFunctions) -> Any:
    """All colour operations of N views on pixels x, but for the shift: `x' = x @ matrix + shift * m`.

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
        TO_LUMA
        + (saturation * functions.cos(angle))[:, None, None] * CHROMA
        + (saturation * functions.sin(angle))[:, None, None] * QUARTER_TURN
    )
