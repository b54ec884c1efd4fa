"""Makes views on the device of the model, with keras.ops.

All steps are matrix products, which every backend has and which XLA compiles. `views_of_rows` computes what
`host.RandomView` computes from the same parameters; nothing here is random. Images are held as planes
(B, V, C, S, S): the first two dimensions are the batch dimensions of the products, and the last two are the
rows and columns that are multiplied with the resizing and blurring matrices of each view.
"""

from __future__ import annotations

import math
from typing import Any

from keras import ops

from keras_leoclr.views import sampling
from keras_leoclr.views.settings import LUMA, PairSettings, ViewSettings

BLOCK = 32  # number of pixels in a line that one matrix product blurs
_LUMA = LUMA.tolist()


class BackendFunctions:
    """The array functions that `sampling.colour_matrix` needs, computed by the Keras backend."""

    where = staticmethod(ops.where)
    cos = staticmethod(ops.cos)
    sin = staticmethod(ops.sin)

    @staticmethod
    def float32(x: Any) -> Any:
        """Converts lists of numbers to a float32 tensor."""
        return _constant(x)


def views_of_batch(settings: PairSettings, batch: dict[str, Any], dtype: str = "float32") -> dict[str, Any]:
    """Makes the query views and the key views of a batch of images.

    Args:
        settings: settings of the query views and of the key views.
        batch: dictionary with `"image"`, `"size"`, `"query_parameters"` and `"key_parameters"`; see
            `sampling.packed_pair`.
        dtype: type of the views; they are computed in float32 and rounded at the end. "float32" by default.

    Returns:
        `{"query": (B, S, S, 3), "keys": (B, V, S, S, 3)}`.
    """
    return {"query": query_of_batch(settings, batch, dtype), "keys": keys_of_batch(settings, batch, dtype)}


def query_of_batch(settings: PairSettings, batch: dict[str, Any], dtype: str = "float32") -> Any:
    """Makes only the query views (B, S, S, 3) of a batch; see `views_of_batch`."""
    rows = batch["query_parameters"][:, None]
    return views_of_rows(settings.query, batch["image"], batch["size"], rows, dtype)[:, 0]


def keys_of_batch(settings: PairSettings, batch: dict[str, Any], dtype: str = "float32") -> Any:
    """Makes only the key views (B, V, S, S, 3) of a batch; see `views_of_batch`."""
    return views_of_rows(settings.keys, batch["image"], batch["size"], batch["key_parameters"], dtype)


def views_of_rows(settings: ViewSettings, images: Any, sizes: Any, rows: Any, dtype: str = "float32") -> Any:
    """Makes V views of each image from given parameters: crop, flip, resize, colour, blur and normalisation.

    Pixels are interpolated as in `host.RandomView` for batches of images of one size: a crop that is enlarged
    is interpolated over up to half a pixel beyond its own border, where the image goes on.

    Args:
        settings: settings of the views; `num_views` is V.
        images: (B, H, W, C), uint8 or float in [0, 255], C is 1 or 3. Pixels beyond the height and width
            given in `sizes` are padding and have no influence.
        sizes: (B, 2) int, height and width of each image in pixels, at most (H, W).
        rows: (B, V, P) float32, the parameters of each view; see `sampling.packed`.
        dtype: type of the result; "float32" by default.

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
    # The argument is a list of numbers because torch.compile cannot trace through NumPy arrays.
    return ops.convert_to_tensor(numbers, "float32")


# === Crop, flip and resize ===


def _cropped(settings, images, sizes, parameters, count):
    """Crops, flips and resizes images (B, H, W, C) to planes (B, V, C, S, S): one product along each side."""
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
    # One product resizes the rows of all views of an image. It needs H and W as the outer dimensions, so the
    # channels are moved between them.
    planes = ops.transpose(ops.cast(images, "float32"), (0, 1, 3, 2))
    planes = ops.reshape(planes, (-1, height, channels * width))
    planes = ops.matmul(ops.reshape(lines, (-1, count * size, height)), planes)
    planes = ops.reshape(planes, (-1, count, size * channels, width))
    planes = ops.matmul(planes, ops.transpose(columns, (0, 1, 3, 2)))
    return ops.transpose(ops.reshape(planes, (-1, count, size, channels, size)), (0, 1, 3, 2, 4))


def tent_weights(
    start: Any, length: Any, limit: Any, size: int, side: int, antialias: bool, flip: Any = None
) -> Any:
    """The weight of each pixel along a side of an image in each pixel of a resized box.

    Bilinear interpolation weighs pixels by a tent function, `max(0, 1 - |distance|)`, around the centre of
    each output pixel; the centre is kept at least half a pixel inside of the image. With antialiasing, the
    tent is as wide as the part of the image that an output pixel covers.

    Args:
        start: (B, V) first pixel of the box.
        length: (B, V) length of the box in pixels.
        limit: (B, 1) length of the image in pixels; pixels beyond it have the weight 0.
        size: S, number of output pixels.
        side: N, length in pixels of the canvas that holds the image.
        antialias: whether boxes that are reduced get a wider tent.
        flip: (B, V) bool, whether the output is reversed; None (the default) reverses nothing.

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
    """Applies all colour operations to planes (B, V, C, S, S); the values are not clipped yet."""
    gain, shift = sampling.gain_and_shift(parameters)
    mean = ops.mean(views, axis=(3, 4))
    if views.shape[2] != 3:  # Without RGB only gain and bias apply, to each channel by itself.
        gain, shift = (ops.reshape(each, (-1, count, 1, 1, 1)) for each in (gain, shift))
        return views * gain + shift * mean[..., None, None]
    mean_luma = ops.matmul(mean, _constant(_LUMA))
    matrix = sampling.colour_matrix(parameters, BackendFunctions)
    matrix = ops.transpose(ops.reshape(matrix, (-1, count, 3, 3)), (0, 1, 3, 2))
    bias = ops.reshape(shift, (-1, count)) * mean_luma
    channels, size = views.shape[2], views.shape[3]
    lines = ops.matmul(matrix, ops.reshape(views, (-1, count, channels, size * size)))
    return ops.reshape(lines + bias[:, :, None, None], (-1, count, channels, size, size))


# === Blur ===


def _blurred(views, settings, sigma, count):
    """Blurs planes (B, V, C, S, S) along both sides.

    Each block of pixels is the product of the block and its surroundings with a banded matrix. A view has one
    such matrix, which serves all of its blocks. With blocks of 32 pixels, a blur of radius 6 takes a fifth of
    the operations that a full matrix of 224 x 224 would take.
    """
    size, channels = views.shape[3], views.shape[2]
    radius = min(math.ceil(3.0 * settings.blur_sigma[1]), size - 1)
    if not radius:
        return views
    block = min(size, BLOCK)
    weights = ops.reshape(blur_matrices(sigma, radius, block), (-1, count, block + 2 * radius, block))
    upright = ops.transpose(weights, (0, 1, 3, 2))[:, :, None]
    # Each entry is the first pixel of a block and its length; the last block may be shorter.
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
    """Pads lines (..., S) to (..., S + 2 * radius) by reflection; the outermost pixels are not repeated."""
    before, behind = lines[..., 1 : radius + 1], lines[..., -radius - 1 : -1]
    return ops.concatenate([ops.flip(before, axis=-1), lines, ops.flip(behind, axis=-1)], axis=-1)


def blur_matrices(sigma: Any, radius: int, block: int) -> Any:
    """The Gaussian filters of N views as banded matrices, to be applied as `surroundings @ matrix`.

    Args:
        sigma: (N,) standard deviation in pixels; 0 leaves the pixels unchanged.
        radius: distance in pixels at which the Gaussian is truncated.
        block: number of output pixels.

    Returns:
        (N, block + 2 * radius, block) float32; each column sums to 1.
    """
    distances = ops.arange(radius + 1, dtype="float32")
    kernel = ops.exp(-0.5 * ops.square(distances / ops.maximum(sigma, 1e-6)[:, None]))
    kernel = kernel / (2.0 * ops.sum(kernel, axis=1, keepdims=True) - 1.0)  # the weight at distance 0 is 1
    around = block + 2 * radius
    # The positions are float32 because TensorFlow computes with int32 on the host even if it has a GPU.
    rows, columns = ops.arange(around, dtype="float32"), ops.arange(block, dtype="float32")
    apart = ops.abs(rows[:, None] - radius - columns)
    places = ops.cast(apart == distances[:, None, None], "float32")
    weights = ops.matmul(kernel, ops.reshape(places, (radius + 1, around * block)))
    return ops.reshape(weights, (-1, around, block))
