"""A backbone of RGB images as one of images with other channels."""

from __future__ import annotations

import keras
import numpy as np


def with_channels(backbone: keras.Model, channels: int) -> keras.Model:
    """A copy of a backbone of RGB whose first kernel is adapted to images of another number of channels.

    For every channel the kernel is `mean(red, green, blue) * 3 / channels`, so that the responses keep their
    size. All other weights are copied.

    Args:
        backbone: a functional model of normalised images (B, H, W, 3).
        channels: C of the images.

    Returns:
        A model of images (B, H, W, C).

    Raises:
        ValueError: if more than the first kernel depends on the number of channels.
    """
    images = keras.Input((*backbone.input_shape[1:3], channels), name="images")
    inputs = keras.tree.map_structure(lambda _: images, backbone.input)
    copy = keras.models.clone_model(backbone, input_tensors=inputs)
    before, after = backbone.get_weights(), [tuple(weight.shape) for weight in copy.weights]
    made, adapted = [], 0
    for weight, shape in zip(before, after, strict=True):
        if weight.shape != shape:
            kernel = weight.ndim == 4 and weight.shape == (*shape[:2], 3, shape[3])
            adapted += 1 if kernel else 2
            if adapted == 1:
                weight = np.repeat(weight.mean(2, keepdims=True) * (3.0 / channels), channels, axis=2)
        made.append(weight)
    if adapted != 1:
        raise ValueError(
            "`backbone` must have one convolution that sees the channels of images, its first. "
            f"Received: {backbone.name!r}, channels={channels}"
        )
    copy.set_weights(made)
    return copy
