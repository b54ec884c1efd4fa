"""Normalisation as the first layer of a backbone, so that the backbone takes raw images.

Normalisation can be read and removed if the model begins with `Rescaling`, `Normalization` or arithmetic, see
`own_preprocessing.py`. Any other preprocessing is detected by computing what it does to pixels, see
`pixel_scale.py`. Nothing is inferred from names, files or the values of images.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np

from keras_leoclr.backbones.own_preprocessing import (
    functional,
    preprocessing_steps,
    rebuilt,
    scale_of,
    without_steps,
)
from keras_leoclr.backbones.pixel_scale import advice, pixel_scale

PIXEL = 255.0  # largest value of a raw image


def with_normalization(backbone: keras.Model, mean: Sequence[float], std: Sequence[float]) -> keras.Model:
    """Returns a backbone with a first layer that normalises raw images.

    Args:
        backbone: functional or Sequential model that takes normalised images (B, H, W, C). The returned
            model shares its layers and weights, in the same order and under the same names.
        mean: mean of the data per channel, in [0, 1], as views take it.
        std: standard deviation of the data per channel, > 0, in units of the range [0, 1].

    Returns:
        A model that takes raw images (B, H, W, C), values in [0, 255]. Its first layer, a `Rescaling` in
        float32 under any dtype policy, computes `(images / 255 - mean) / std`.

    Raises:
        ValueError: if the backbone already normalises, or if mean and std do not fit its channels.
    """
    if normalization_of(backbone) is not None:
        raise ValueError(
            "`backbone` must not normalise already; `without_normalization` takes the layer off. "
            f"Received: backbone={backbone.name!r}, normalization_of(backbone)={normalization_of(backbone)}"
        )
    channels = backbone.input_shape[-1]
    for name, values in (("mean", mean), ("std", std)):
        fits = np.shape(values) == (channels,) and np.isfinite(values).all()
        if not fits or (name == "std" and np.min(values) <= 0):
            rule = "finite numbers > 0" if name == "std" else "finite numbers"
            raise ValueError(
                f"`{name}` must be {channels} {rule}, one per channel. Received: {name}={values}"
            )
    # Not Normalization: its tensors are made outside of the graph, and ONNX converters make inputs of them.
    layer = keras.layers.Rescaling(
        scale=[1.0 / (PIXEL * float(value)) for value in std],
        offset=[-float(m) / float(s) for m, s in zip(mean, std, strict=True)],
        dtype="float32",
        name="normalization",
    )
    network = functional(backbone)
    images = keras.Input(network.input_shape[1:], name="images")
    normalised = layer(images)

    def call(operation, *args, **kwargs):
        args, kwargs = keras.tree.map_structure(lambda t: normalised if t is images else t, (args, kwargs))
        return operation(*args, **kwargs)

    return rebuilt(network, images, call)


def without_normalization(backbone: keras.Model) -> keras.Model:
    """Removes the first layers of a backbone that normalise, so that it takes normalised images.

    These are the layer that `with_normalization` adds, or layers that belong to the network, such as
    `Rescaling` and `Normalization` in the EfficientNets of `keras.applications`.

    Args:
        backbone: any backbone; it is returned unchanged if it does not normalise. The returned model shares
            its layers and weights.
    """
    steps = preprocessing_steps(backbone)
    return without_steps(functional(backbone), steps) if steps else backbone


def normalization_of(backbone: Any) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """Returns mean and standard deviation per channel, in [0, 1], of a backbone's normalising layers.

    These layers compute `(images / 255 - mean) / std`, and `without_normalization` removes them. The result
    is None if there are no such layers.
    """
    steps = preprocessing_steps(backbone)
    if not steps:
        return None
    scale, offset = scale_of(backbone, steps)
    # Rounded to nine digits, because later digits are rounding errors of the divisions.
    return _nine_digits(-offset / (scale * PIXEL)), _nine_digits(1.0 / (scale * PIXEL))


def first_layer(backbone: Any) -> keras.layers.Layer | None:
    """Returns the first layer that processes the images; None if a model does not list its layers."""
    layers = getattr(backbone, "layers", [])  # a Sequential does not list its input
    return next((layer for layer in layers if not isinstance(layer, keras.layers.InputLayer)), None)


def check_takes_normalised(backbone: Any, what: str) -> None:
    """Raises ValueError if a backbone would normalise images that are normalised already.

    Args:
        backbone: a Keras model.
        what: name of the part that normalises the images before the backbone, for the message.
    """
    steps = preprocessing_steps(backbone)
    if steps:
        names = ", ".join(type(step).__name__ for step in steps)
        message = (
            f"`backbone` must take normalised images: {what} normalises them. Give it "
            "`kl.backbones.without_normalization(backbone)`, and the views the mean and the deviation that "
            "`kl.backbones.normalization_of(backbone)` gives. "
            f"Received: {backbone.name!r}, which begins with {names}"
        )
        if not _loads or names == "Rescaling":
            raise ValueError(message)
        warnings.warn(message, stacklevel=3)
        return
    scale = pixel_scale(backbone)
    if scale is not None:
        message = (
            f"`backbone` must take normalised images: {what} normalises them. {advice(backbone)} "
            f"Received: {backbone.name!r}; {scale}"
        )
        if not _loads:
            raise ValueError(message)
        warnings.warn(message, stacklevel=3)


def takes_raw(backbone: Any) -> bool:
    """Whether a backbone takes raw images, because it normalises them by layers or code of any form."""
    return normalization_of(backbone) is not None or pixel_scale(backbone) is not None


_loads: list[None] = []  # not empty while a model is loaded


@contextlib.contextmanager
def loading() -> Iterator[None]:
    """Context in which a backbone with preprocessing gives only a warning, because older files hold such."""
    _loads.append(None)
    try:
        yield
    finally:
        _loads.pop()


def _nine_digits(values: np.ndarray) -> tuple[float, ...]:
    return tuple(float(f"{value:.9g}") + 0.0 for value in values)  # + 0.0: no negative zero
