"""Makes views on the device of the model, with keras.ops.

All steps are matrix products, which every backend has and which XLA compiles; for crops, torch has a
function that is faster. `views_of_rows` computes what `host.RandomView` computes from the same parameters;
nothing here is random. Images are held as planes (B, V, C, S, S): the first two dimensions are the batch
dimensions of the products, and the last two are the rows and columns that are multiplied with the resizing
and blurring matrices of each view.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
from keras import ops

from keras_leoclr.views import sampling, torch_functions
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
    scale = [1.0 / (255.0 * std) for std in settings.std]
    offset = [-mean / std for mean, std in zip(settings.mean, settings.std, strict=True)]
    # Normalisation commutes with the blur, and one product with the pixels does both colour and
    # normalisation. Grey images that are normalised as RGB get their three channels last.
    late = images.shape[3] != len(scale)
    early = ([1.0], [0.0]) if late else (scale, offset)
    views = _coloured(settings, views, parameters, count, *early)
    if settings.blur_probability:
        sigma = ops.reshape(parameters["sigma"], (-1, count))
        if keras.backend.backend() == "torch":
            views = torch_functions.blurred_alone(_blurred, views, settings, sigma)
        else:
            views = _blurred(views, settings, sigma)
    if late:
        views = views * _of_channels(scale) + _of_channels(offset)
    return ops.cast(ops.transpose(views, (0, 1, 3, 4, 2)), dtype)


def _constant(numbers):
    # The argument is a list of numbers because torch.compile cannot trace through NumPy arrays.
    return ops.convert_to_tensor(numbers, "float32")


def _of_channels(numbers):
    """One number per channel, (C, 1, 1)."""
    return ops.reshape(_constant(numbers), (-1, 1, 1))


# === Crop, flip and resize ===


def _cropped(settings, images, sizes, parameters, count):
    """Crops, flips and resizes images (B, H, W, C) to planes (B, V, C, S, S)."""
    images = ops.convert_to_tensor(images)
    # TensorFlow leaves the height and width open once a model has met canvases of several sizes.
    height, width, channels = ops.shape(images)[1:]
    size = settings.image_size
    limits = ops.cast(sizes, "float32")[:, :, None]
    box = ops.reshape(parameters["box"], (-1, count, 4))
    flip = ops.reshape(parameters["flip"], (-1, count))
    top, left, box_height, box_width = (box[:, :, place] for place in range(4))
    lines, columns = (top, box_height, limits[:, 0]), (left, box_width, limits[:, 1])
    if keras.backend.backend() == "torch" and not settings.antialias:
        centres = tent_centres(*lines, size), tent_centres(*columns, size, flip)
        return torch_functions.interpolated(images, *centres)
    lines = tent_weights(*lines, size, height, settings.antialias)
    columns = tent_weights(*columns, size, width, settings.antialias, flip)
    # One product resizes the rows of all views of an image. It needs H and W as the outer dimensions, so the
    # channels are moved between them.
    planes = ops.transpose(ops.cast(images, "float32"), (0, 1, 3, 2))
    planes = ops.reshape(planes, (-1, height, channels * width))
    planes = ops.matmul(ops.reshape(lines, (-1, count * size, height)), planes)
    planes = ops.reshape(planes, (-1, count, size * channels, width))
    planes = ops.matmul(planes, ops.transpose(columns, (0, 1, 3, 2)))
    return ops.transpose(ops.reshape(planes, (-1, count, size, channels, size)), (0, 1, 3, 2, 4))


def tent_centres(
    start: Any, length: Any, limit: Any, size: int, flip: Any = None, inside: bool = True
) -> Any:
    """Where the centres of the pixels of a resized box lie along a side of the image, in its pixels.

    Args:
        start: (B, V) first pixel of the box.
        length: (B, V) length of the box in pixels.
        limit: (B, 1) length of the image in pixels.
        size: S, number of output pixels.
        flip: (B, V) bool, whether the output is reversed; None (the default) reverses nothing.
        inside: whether the centres are kept at least half a pixel inside of the image, as by default.

    Returns:
        (B, V, S) float32; 0 is the centre of the first pixel of the image.
    """
    share = (ops.arange(size, dtype="float32") + 0.5) / size
    if flip is not None:
        share = ops.where(flip[:, :, None], 1.0 - share, share)
    centre = start[:, :, None] + length[:, :, None] * share - 0.5
    return ops.clip(centre, 0.0, limit[:, :, None] - 1.0) if inside else centre


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
    centre = tent_centres(start, length, limit, size, flip, inside=not antialias)
    pixels = ops.arange(side, dtype="float32")
    if not antialias:
        return ops.relu(1.0 - ops.abs(pixels - centre[..., None]))
    width = ops.maximum(length / size, 1.0)[:, :, None, None]
    weights = ops.relu(1.0 - ops.abs(pixels - centre[..., None]) / width)
    weights = ops.where(pixels < limit[:, :, None, None], weights, 0.0)
    return weights / ops.sum(weights, axis=-1, keepdims=True)


# === Colour ===


def _coloured(settings, views, parameters, count, scale, offset):
    """Changes the colours of planes (B, V, C, S, S), clips them to [0, 255] and normalises them."""
    low, high = offset, [255.0 * factor + term for factor, term in zip(scale, offset, strict=True)]
    low, high, scale, offset = (_of_channels(each) for each in (low, high, scale, offset))
    if not (settings.jitter_probability or settings.grayscale_probability):
        return _clipped(views * scale, offset, low, high)
    channels, size = views.shape[2:4]
    gain, shift = (ops.reshape(each, (-1, count, 1, 1, 1)) for each in sampling.gain_and_shift(parameters))
    mean = ops.mean(views, axis=(3, 4))
    if channels != 3:  # Without RGB only gain and bias apply, to each channel by itself.
        bias = shift * mean[..., None, None]
        return _clipped(views * (gain * scale), bias * scale + offset, low, high)
    matrix = ops.transpose(sampling.colour_matrix(parameters, BackendFunctions), (0, 2, 1)) * scale[:, 0]
    matrix = ops.reshape(matrix, (-1, count, channels, channels))
    bias = shift * ops.matmul(mean, _constant(_LUMA))[..., None, None, None]
    lines = ops.matmul(matrix, ops.reshape(views, (-1, count, channels, size * size)))
    views = ops.reshape(lines, (-1, count, channels, size, size))
    return _clipped(views, bias * scale + offset, low, high)


def _clipped(views, bias, low, high):
    """Adds a bias to new planes and clips them."""
    if keras.backend.backend() == "torch":
        return views.add_(bias).clamp_(low, high)  # in place, because new memory takes torch most of its time
    return ops.minimum(ops.maximum(views + bias, low), high)


# === Blur ===


def _blurred(views, settings, sigma):
    """Blurs planes (B, V, C, S, S) with the standard deviations (B, V) along both sides.

    Each block of pixels is the product of the block and its surroundings with a banded matrix. All blocks
    between the borders have the same matrix. With blocks of 32 pixels, a blur of radius 6 takes a fifth of
    the operations that a full matrix of 224 x 224 would take.
    """
    size, channels = views.shape[3], views.shape[2]
    radius = min(math.ceil(3.0 * settings.blur_sigma[1]), size - 1)
    if not radius:
        return views
    count, sigma = sigma.shape[1], ops.reshape(sigma, (-1,))
    blocks = _blocks(size, radius)
    spans = list(dict.fromkeys(span for _, _, span in blocks))
    made = (ops.reshape(each, (-1, count, *each.shape[1:])) for each in blur_matrices(sigma, radius, spans))
    weights = dict(zip(spans, made, strict=True))
    lines = ops.reshape(views, (-1, count, channels * size, size))
    made = [ops.matmul(lines[..., first:behind], weights[span]) for first, behind, span in blocks]
    views = ops.reshape(_joined(made, axis=3), (-1, count, channels, size, size))
    upright = {span: ops.transpose(each, (0, 1, 3, 2))[:, :, None] for span, each in weights.items()}
    made = [ops.matmul(upright[span], views[..., first:behind, :]) for first, behind, span in blocks]
    return _joined(made, axis=3)


class Span(NamedTuple):
    """A block of pixels in a line; positions are counted from the first pixel of its surroundings.

    Attributes:
        start: first pixel of the block.
        stop: pixel behind the block.
        length: number of pixels of the block and its surroundings.
        first: first pixel of the line, where the surroundings reach it; None elsewhere.
        last: last pixel of the line, where the surroundings reach it; None elsewhere.
    """

    start: int
    stop: int
    length: int
    first: int | None
    last: int | None


def _blocks(size, radius):
    """The first pixel of the surroundings of each block, the pixel behind them, and its `Span`."""
    blocks = []
    for start in range(0, size, BLOCK):
        stop = min(size, start + BLOCK)
        first, behind = max(0, start - radius), min(size, stop + radius)
        borders = 0 if first == 0 else None, size - 1 - first if behind == size else None
        blocks.append((first, behind, Span(start - first, stop - first, behind - first, *borders)))
    return blocks


def _joined(parts, axis):
    return parts[0] if len(parts) == 1 else ops.concatenate(parts, axis=axis)


def blur_matrices(sigma: Any, radius: int, spans: Sequence[Span]) -> list[Any]:
    """The Gaussian filters of N views as banded matrices, to be applied as `surroundings @ matrix`.

    Lines are continued by reflection; the outermost pixels are not repeated.

    Args:
        sigma: (N,) standard deviation in pixels; 0 leaves the pixels unchanged.
        radius: distance in pixels at which the Gaussian is truncated, less than the length of the lines.
        spans: the blocks of pixels.

    Returns:
        For each span an array (N, length, stop - start) float32; each column sums to 1.
    """
    distances = ops.arange(radius + 1, dtype="float32")
    kernel = ops.exp(-0.5 * ops.square(distances / ops.maximum(sigma, 1e-6)[:, None]))
    kernel = kernel / (2.0 * ops.sum(kernel, axis=1, keepdims=True) - 1.0)  # the weight at distance 0 is 1
    distances = distances[:, None, None]
    matrices = []
    for span in spans:
        # The positions are float32 because TensorFlow computes with int32 on the host even if it has a GPU.
        rows, columns = (ops.arange(*each, dtype="float32") for each in ((span.length,), span[:2]))
        rows = rows[:, None]
        places = ops.cast(ops.abs(rows - columns) == distances, "float32")
        for border in (span.first, span.last):
            if border is not None:  # the pixels within are met again as reflections in the border
                mirrored = (ops.abs(2.0 * border - rows - columns) == distances) & (rows != border)
                places = places + ops.cast(mirrored, "float32")
        weights = ops.matmul(kernel, ops.reshape(places, (radius + 1, -1)))
        matrices.append(ops.reshape(weights, (-1, span.length, span.stop - span.start)))
    return matrices
