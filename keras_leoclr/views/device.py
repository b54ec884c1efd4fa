"""Views made where the model is, by keras.ops: matrix products that every backend has and XLA compiles.

`views_of_rows` does what `host.RandomView` does, with the same parameters. Nothing here is random. A batch is
worked on as planes (B, V, C, S, S): the first two dimensions are those of batched products, and the last two
are the rows and columns that resizing and blurring multiply with a matrix of each view.
"""

from __future__ import annotations

import math
from typing import Any

from keras import ops

from keras_leoclr.views import sampling
from keras_leoclr.views.settings import LUMA, PairSettings, ViewSettings

BLOCK = 32  # pixels that are blurred by one product
_LUMA = LUMA.tolist()


class BackendFunctions:
    """The array functions that `sampling.colour_matrix` needs, by the backend of Keras."""

    where = staticmethod(ops.where)
    cos = staticmethod(ops.cos)
    sin = staticmethod(ops.sin)

    @staticmethod
    def float32(x: Any) -> Any:
        """A float32 tensor of lists of numbers."""
        return _constant(x)


def views_of_batch(settings: PairSettings, batch: dict[str, Any], dtype: str = "float32") -> dict[str, Any]:
    """The query views and the key views of a batch of images.

    Args:
        settings: of query and keys.
        batch: `"image"`, `"size"`, `"query_parameters"` and `"key_parameters"`, see `sampling.packed_pair`.
        dtype: of the views; they are computed in float32 and rounded at the end.

    Returns:
        `{"query": (B, S, S, 3), "keys": (B, V, S, S, 3)}`.
    """
    return {"query": query_of_batch(settings, batch, dtype), "keys": keys_of_batch(settings, batch, dtype)}


def query_of_batch(settings: PairSettings, batch: dict[str, Any], dtype: str = "float32") -> Any:
    """The query views (B, S, S, 3) of a batch, see `views_of_batch`."""
    rows = batch["query_parameters"][:, None]
    return views_of_rows(settings.query, batch["image"], batch["size"], rows, dtype)[:, 0]


def keys_of_batch(settings: PairSettings, batch: dict[str, Any], dtype: str = "float32") -> Any:
    """The key views (B, V, S, S, 3) of a batch, see `views_of_batch`."""
    return views_of_rows(settings.keys, batch["image"], batch["size"], batch["key_parameters"], dtype)


def views_of_rows(settings: ViewSettings, images: Any, sizes: Any, rows: Any, dtype: str = "float32") -> Any:
    """V views of each image by given parameters: crop, flip, resize, colour, blur and normalisation.

    Positions between pixels are interpolated as by `host.RandomView` in batches of images of one size: a crop
    that is enlarged takes up to half a pixel beyond its own border, where the image goes on.

    Args:
        settings: of the views; `num_views` is V.
        images: (B, H, W, C), uint8 or float in [0, 255], C 1 or 3; what lies outside of an image's own height
            and width has no influence.
        sizes: (B, 2) int, height and width of each image in pixels, at most (H, W).
        rows: (B, V, P) float32, see `sampling.packed`.
        dtype: of the result.

    Returns:
        (B, V, S, S, 3), with S = `image_size`. Grey images stay grey.
    """
    count = rows.shape[1]
    parameters = sampling.unpacked(ops.reshape(rows, (-1, rows.shape[2])))
    views = _cropped(settings, images, sizes, parameters, count)
    if settings.jitter_probability or settings.grayscale_probability:
        views = _coloured(views, parameters, count)
    views = ops.clip(views, 0.0, 255.0)
    if settings.blur_probability:
        views = _blurred(views, settings, parameters["sigma"], count)
    views = ops.transpose(views, (0, 1, 3, 4, 2)) * _constant([1.0 / (255.0 * s) for s in settings.std])
    views = views + _constant([-m / s for m, s in zip(settings.mean, settings.std, strict=True)])
    return ops.cast(views, dtype)


def _constant(numbers):
    # of a list: torch.compile cannot look into arrays
    return ops.convert_to_tensor(numbers, "float32")


# === Crop, flip and resize ===


def _cropped(settings, images, sizes, parameters, count):
    """(B, H, W, C) -> planes (B, V, C, S, S): two products, along the width and along the height."""
    height, width, channels = images.shape[1:]
    size = settings.image_size
    sizes = ops.cast(sizes, "float32")
    top, left, box_height, box_width = (parameters["box"][:, place] for place in range(4))

    def weights(start, length, side, limit, flip=None):
        start, length = (ops.reshape(value, (-1, count)) for value in (start, length))
        return tent_weights(start, length, sizes[:, limit, None], size, side, settings.antialias, flip)

    flip = ops.reshape(parameters["flip"], (-1, count))
    columns = weights(left, box_width, width, 1, flip)
    lines = weights(top, box_height, height, 0)
    # The lines of all views of an image are one product, for which the channels lie between its two sides.
    planes = ops.transpose(ops.cast(images, "float32"), (0, 1, 3, 2))
    planes = ops.reshape(planes, (-1, height, channels * width))
    planes = ops.matmul(ops.reshape(lines, (-1, count * size, height)), planes)
    planes = ops.reshape(planes, (-1, count, size * channels, width))
    planes = ops.matmul(planes, ops.transpose(columns, (0, 1, 3, 2)))
    return ops.transpose(ops.reshape(planes, (-1, count, size, channels, size)), (0, 1, 3, 2, 4))


def tent_weights(
    start: Any, length: Any, limit: Any, size: int, side: int, antialias: bool, flip: Any = None
) -> Any:
    """The share that each pixel along a side of an image has in each pixel of a resized box.

    Bilinear interpolation is a tent, `max(0, 1 - |distance|)`, around the centre of each output pixel, which
    is kept half a pixel inside of the image. To antialias, the tent is as wide as an output pixel covers.

    Args:
        start: (B, V) first pixel of the box.
        length: (B, V) pixels of the box.
        limit: (B, 1) pixels of the image; later ones have the weight 0.
        size: S, output pixels.
        side: N, pixels of the canvas that the image lies on.
        antialias: whether boxes that are reduced have a wider tent.
        flip: (B, V) bool, boxes whose output runs backwards; None for none.

    Returns:
        (B, V, S, N) float32; each row sums to 1.
    """
    share = (ops.arange(size, dtype="float32") + 0.5) / size
    if flip is not None:
        share = ops.where(flip[:, :, None], 1.0 - share, share)
    centre = start[:, :, None] + length[:, :, None] * share - 0.5
    pixels = ops.arange(side, dtype="float32")
    if not antialias:
        centre = ops.clip(centre, 0.0, limit[:, :, None] - 1.0)
        return ops.relu(1.0 - ops.abs(pixels - centre[..., None]))
    width = ops.maximum(length / size, 1.0)[:, :, None, None]
    weights = ops.relu(1.0 - ops.abs(pixels - centre[..., None]) / width)
    weights = ops.where(pixels < limit[:, :, None, None], weights, 0.0)
    return weights / ops.sum(weights, axis=-1, keepdims=True)


# === Colour ===


def _coloured(views, parameters, count):
    """Planes (B, V, C, S, S) with all colour operations applied, not yet clipped."""
    gain, shift = sampling.gain_and_shift(parameters)
    mean = ops.mean(views, axis=(3, 4))
    if views.shape[2] == 1:  # no chroma: only gain and bias are left
        mean_luma, matrix = mean[:, :, 0], ops.reshape(gain, (-1, count, 1, 1))
    else:
        mean_luma = ops.matmul(mean, _constant(_LUMA))
        matrix = sampling.colour_matrix(parameters, BackendFunctions)
        matrix = ops.transpose(ops.reshape(matrix, (-1, count, 3, 3)), (0, 1, 3, 2))
    bias = ops.reshape(shift, (-1, count)) * mean_luma
    channels, size = views.shape[2], views.shape[3]
    lines = ops.matmul(matrix, ops.reshape(views, (-1, count, channels, size * size)))
    return ops.reshape(lines + bias[:, :, None, None], (-1, count, channels, size, size))


# === Blur ===


def _blurred(views, settings, sigma, count):
    """Planes (B, V, C, S, S) blurred along both sides: a block of pixels is a product with its surroundings.

    The weights of a block and of the pixels around it are one banded matrix of each view, for all blocks.
    With blocks of 32 pixels a blur of radius 6 takes a fifth of the operations of matrices of 224 x 224.
    """
    size, channels = views.shape[3], views.shape[2]
    radius = min(math.ceil(3.0 * settings.blur_sigma[1]), size - 1)
    if not radius:
        return views
    block = min(size, BLOCK)
    weights = ops.reshape(blur_matrices(sigma, radius, block), (-1, count, block + 2 * radius, block))
    upright = ops.transpose(weights, (0, 1, 3, 2))[:, :, None]
    # first pixel of each block, its pixels, and those of its surroundings; the last block may be smaller
    blocks = [(first, min(block, size - first)) for first in range(0, size, block)]
    blocks = [(first, length, length + 2 * radius) for first, length in blocks]
    lines = _mirrored(ops.reshape(views, (-1, count, channels * size, size)), radius)
    made = [
        ops.matmul(lines[..., first : first + around], weights[:, :, :around, :length])
        for first, length, around in blocks
    ]
    views = ops.reshape(ops.concatenate(made, axis=3), (-1, count, channels, size, size))
    columns = ops.transpose(_mirrored(ops.transpose(views, (0, 1, 2, 4, 3)), radius), (0, 1, 2, 4, 3))
    made = [
        ops.matmul(upright[..., :length, :around], columns[..., first : first + around, :])
        for first, length, around in blocks
    ]
    return ops.concatenate(made, axis=3)


def _mirrored(lines, radius):
    """(..., S) -> (..., S + 2 * radius): the outermost pixels, which are not repeated, are mirrors."""
    before, behind = lines[..., 1 : radius + 1], lines[..., -radius - 1 : -1]
    return ops.concatenate([ops.flip(before, axis=-1), lines, ops.flip(behind, axis=-1)], axis=-1)


def blur_matrices(sigma: Any, radius: int, block: int) -> Any:
    """The Gaussian of N views as banded matrices, `surroundings @ matrix`.

    Args:
        sigma: (N,) pixels; 0 leaves the pixels as they are.
        radius: pixels at which the Gaussian is cut.
        block: output pixels.

    Returns:
        (N, block + 2 * radius, block) float32; each column sums to 1.
    """
    distances = ops.arange(radius + 1, dtype="float32")
    kernel = ops.exp(-0.5 * ops.square(distances / ops.maximum(sigma, 1e-6)[:, None]))
    kernel = kernel / (2.0 * ops.sum(kernel, axis=1, keepdims=True) - 1.0)  # the weight at distance 0 is 1
    around = block + 2 * radius
    # in float32: TensorFlow's GPUs compute with whole numbers of 32 bits on the host
    rows, columns = ops.arange(around, dtype="float32"), ops.arange(block, dtype="float32")
    apart = ops.abs(rows[:, None] - radius - columns)
    places = ops.cast(apart == distances[:, None, None], "float32")
    weights = ops.matmul(kernel, ops.reshape(places, (radius + 1, around * block)))
    return ops.reshape(weights, (-1, around, block))
