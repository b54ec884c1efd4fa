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
    size, count = settings.image_size, rows.shape[1]
    parameters = sampling.unpacked(ops.reshape(rows, (-1, rows.shape[2])))
    views = _cropped(settings, images, sizes, parameters, count)
    if settings.jitter_probability or settings.grayscale_probability:
        views = _coloured(views, parameters, count)
    views = ops.clip(views, 0.0, 255.0)
    if settings.blur_probability:
        matrices = ops.reshape(blur_matrices(parameters["sigma"], settings), (-1, count, 1, size, size))
        views = ops.matmul(ops.matmul(matrices, views), ops.transpose(matrices, (0, 1, 2, 4, 3)))
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
    planes = ops.transpose(ops.cast(images, "float32"), (0, 3, 1, 2))
    planes = ops.reshape(planes, (-1, 1, channels * height, width))
    sizes = ops.cast(sizes, "float32")
    top, left, box_height, box_width = (parameters["box"][:, place] for place in range(4))

    def weights(start, length, side, limit, flip=None):
        start, length = (ops.reshape(value, (-1, count)) for value in (start, length))
        return tent_weights(start, length, sizes[:, limit, None], size, side, settings.antialias, flip)

    flip = ops.reshape(parameters["flip"], (-1, count))
    columns = weights(left, box_width, width, 1, flip)
    lines = weights(top, box_height, height, 0)
    planes = ops.matmul(planes, ops.transpose(columns, (0, 1, 3, 2)))
    planes = ops.reshape(planes, (-1, count, channels, height, size))
    return ops.matmul(lines[:, :, None], planes)


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


def blur_matrices(sigma: Any, settings: ViewSettings) -> Any:
    """The Gaussian blur along a side of N views, mirrored at the outermost pixels, as banded matrices.

    Args:
        sigma: (N,) pixels; 0 makes the identity.
        settings: the Gaussian is cut at three times the largest `blur_sigma`.

    Returns:
        (N, S, S) float32; the columns of an output pixel's row are its weights.
    """
    size = settings.image_size
    radius = min(math.ceil(3.0 * settings.blur_sigma[1]), size - 1)
    distances = ops.arange(radius + 1, dtype="float32")
    kernel = ops.exp(-0.5 * ops.square(distances / ops.maximum(sigma, 1e-6)[:, None]))
    kernel = kernel / (2.0 * ops.sum(kernel, axis=1, keepdims=True) - 1.0)  # the weight at distance 0 is 1
    return ops.reshape(ops.matmul(kernel, _bands(size, radius)), (-1, size, size))


def _bands(size, radius):
    """(radius + 1, S * S): how often a distance leads from an output pixel to an input pixel."""
    # in float32: TensorFlow's GPUs compute with whole numbers of 32 bits on the host
    distances = ops.arange(radius + 1, dtype="float32")[:, None, None]
    rows = ops.arange(size, dtype="float32")[:, None]
    columns = ops.transpose(rows)
    # straight, and mirrored at the first and at the last pixel, which are not repeated
    before, behind = rows + columns, 2 * (size - 1) - rows - columns
    bands = (
        ops.cast(ops.abs(rows - columns) == distances, "float32")
        + ops.cast((before == distances) & (columns > 0), "float32")
        + ops.cast((behind == distances) & (columns < size - 1), "float32")
    )
    return ops.reshape(bands, (radius + 1, size * size))
