"""Normalisation as the first layer of a backbone, so that raw images go in.

Whether a backbone has one that can be read and taken off is seen from the model: it begins with `Rescaling`,
`Normalization` or arithmetic, see `own_preprocessing.py`. Preprocessing of any other form is found by what it
computes, see `pixel_scale.py`. Nothing is inferred from names, files or values of images.
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
    """The backbone with a first layer that normalises raw images.

    Args:
        backbone: functional or Sequential, takes normalised images (B, H, W, C). The model that is returned
            has the same layers, and so the same weights, in the same order and under the same names.
        mean: of the data per channel, in [0, 1], as views take it.
        std: standard deviation of the data per channel, > 0, in units of the same range.

    Returns:
        A model of raw images (B, H, W, C), values in [0, 255]. Its first layer, `Rescaling` in float32
        under any policy, computes `(images / 255 - mean) / std`.

    Raises:
        ValueError: if the backbone has such a layer already, or the numbers do not fit its channels.
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
    # not Normalization: it holds tensors made outside of the graph, which converters to ONNX take for inputs
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
    """The backbone without the first layers that normalise: it takes normalised images.

    They are the one that `with_normalization` puts there, or those of the network's maker, such as the
    `Rescaling` and `Normalization` in EfficientNet of `keras.applications`.

    Args:
        backbone: any; what does not normalise is returned as it is. Layers and weights are shared.
    """
    steps = preprocessing_steps(backbone)
    return without_steps(functional(backbone), steps) if steps else backbone


def normalization_of(backbone: Any) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """Mean and standard deviation per channel, in [0, 1], of a backbone's first layers; None without any.

    They say what `without_normalization` takes off: `(images / 255 - mean) / std`.
    """
    steps = preprocessing_steps(backbone)
    if not steps:
        return None
    scale, offset = scale_of(backbone, steps)
    # nine digits: what the divisions leave behind is not part of the numbers
    return _nine_digits(-offset / (scale * PIXEL)), _nine_digits(1.0 / (scale * PIXEL))


def first_layer(backbone: Any) -> keras.layers.Layer | None:
    """The layer that the images enter; None where a model does not list its layers."""
    layers = getattr(backbone, "layers", [])  # a Sequential does not list its input
    return next((layer for layer in layers if not isinstance(layer, keras.layers.InputLayer)), None)


def check_takes_normalised(backbone: Any, what: str) -> None:
    """Raises ValueError if a backbone normalises what is normalised already.

    Args:
        backbone: a Keras model.
        what: that uses it, for the message.
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
    """Whether a backbone normalises images by itself, in whatever form."""
    return normalization_of(backbone) is not None or pixel_scale(backbone) is not None


_loads: list[None] = []  # not empty while a model is loaded


@contextlib.contextmanager
def loading() -> Iterator[None]:
    """Within the block, a backbone with preprocessing gives a warning: older files hold such models."""
    _loads.append(None)
    try:
        yield
    finally:
        _loads.pop()


def _nine_digits(values: np.ndarray) -> tuple[float, ...]:
    return tuple(float(f"{value:.9g}") + 0.0 for value in values)  # + 0.0: no negative zero
