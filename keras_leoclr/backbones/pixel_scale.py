"""Measures what a backbone does to pixels before its first layer with trained weights.

Preprocessing has many forms: `Rescaling`, `Normalization`, a `Lambda`, arithmetic on tensors, a model within
the model. All of them are detected in the same way: images of one value are passed through the network, and
the values are compared that reach the first layer with trained weights.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import keras
import numpy as np

from keras_leoclr.backbones.graph import in_order

PIXELS = (0.0, 127.0, 255.0)
_SIDE = 224  # side of the test images in pixels, for a backbone that takes any size


class PixelScale(NamedTuple):
    """How a backbone changes the values of pixels.

    Attributes:
        values: values that the pixels 0, 127 and 255 become; the median over rows, columns and channels.
        layer: name of the first layer with trained weights.
    """

    values: tuple[float, ...]
    layer: str

    def __str__(self) -> str:
        said = ", ".join(f"{value:.3g}" for value in self.values)
        return f"the pixels 0, 127 and 255 reach its first trained layer, {self.layer!r}, as {said}"


def pixel_scale(backbone: Any) -> PixelScale | None:
    """Measures how a backbone scales or shifts pixels before its first trained layer; None if it does not.

    Padding, cropping, resizing, cutting into patches, transforms that keep or enlarge the values, and
    channels that do not depend on the image do not count as preprocessing.

    Args:
        backbone: a built model of images (B, H, W, C). The result is None if it is not functional.
    """
    if len(getattr(backbone, "inputs", None) or ()) != 1 or len(backbone.inputs[0].shape) != 4:
        return None
    shape = [size or _SIDE for size in backbone.inputs[0].shape[1:]]
    images = np.stack([np.full(shape, value, "float32") for value in PIXELS])
    for layer, entering in _entering(backbone, images):
        black, grey, white = (np.asarray(value, "float32").ravel() for value in entering)
        depends = np.abs(white - black) > 1e-4
        if not depends.any():
            continue
        values = tuple(float(np.median(part[depends])) for part in (black, grey, white))
        gain, offset = (values[2] - values[0]) / PIXELS[2], values[0]
        if abs(gain) < 0.1 or abs(offset) > 0.1:
            return PixelScale(values, layer.name)
    return None


def _entering(model: keras.Model, images: Any) -> Iterator[tuple[keras.layers.Layer, np.ndarray]]:
    """Yields the first layer with trained weights on each path from the images, and what reaches it."""
    if not all(hasattr(tensor, "_keras_history") for tensor in getattr(model, "outputs", None) or [None]):
        return
    untouched: set[int] = set()  # tensors that are computed from the images without trained weights
    first = []
    for operation, inputs, outputs in in_order(model.outputs):
        if not inputs:
            from_images = any(tensor is image for tensor in outputs for image in model.inputs)
        else:
            from_images = all(id(tensor) in untouched for tensor in inputs)
            if from_images and _has_trained_weights(operation):
                from_images = False
                if len(inputs) == 1:
                    first.append((operation, inputs[0]))
        if from_images:
            untouched.update(id(tensor) for tensor in outputs)
    for operation, tensor in first:
        reached = images
        if tensor is not model.inputs[0]:
            # This model shares the layers, so nothing is copied; `training=False` switches random layers off.
            before = keras.Model(model.inputs[0], tensor)
            reached = keras.ops.convert_to_numpy(keras.ops.cast(before(images, training=False), "float32"))
        if isinstance(operation, keras.Model) and getattr(operation, "inputs", None):
            yield from _entering(operation, reached)
        else:
            yield operation, reached


def _has_trained_weights(operation: Any) -> bool:
    """Whether a layer has weights that can be trained; the statistics of `Normalization` do not count."""
    # `trainable_variables` of a frozen layer is empty, unlike Keras' private `_trainable_variables`.
    layers = operation._flatten_layers() if isinstance(operation, keras.layers.Layer) else []
    return any(layer._trainable_variables for layer in layers)


def advice(backbone: keras.Model) -> str:
    """Returns a sentence that says how to make a backbone without its preprocessing."""
    wanted = _letters(backbone.name)
    for name, function in vars(keras.applications).items():
        if _letters(name) == wanted and callable(function):
            if "include_preprocessing" in inspect.signature(function).parameters:
                return f"Make it with `keras.applications.{name}(..., include_preprocessing=False)`."
    return (
        "Make it without its preprocessing, such as with `include_preprocessing=False` in keras.applications "
        "or `include_rescaling=False` in keras-cv, where the network has it."
    )


def _letters(name: str) -> str:
    return re.sub("[^a-z0-9]", "", name.lower())
