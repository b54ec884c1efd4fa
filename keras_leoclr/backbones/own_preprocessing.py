"""Finds the layers at the beginning of a network that preprocess images, and what they do to each channel.

The networks of `keras.applications`, keras-cv and KerasHub begin with one or more of `Rescaling` and
`Normalization`; other networks also begin with arithmetic. Together, such layers multiply each channel by one
factor and add one summand. Views and `Preprocessing` do the same with a mean and a deviation.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from keras_leoclr.backbones.graph import in_order, rewired
from keras_leoclr.backbones.pixel_scale import pixel_scale

STOCK = (keras.layers.Rescaling, keras.layers.Normalization)
ARITHMETIC = ("Add", "Subtract", "Multiply", "Divide", "TrueDivide")  # names of Keras' operations
WHITE = 255.0


def preprocessing_steps(backbone: keras.Model) -> list[Any]:
    """Lists the layers and operations that preprocess the images, in order, beginning at the images.

    A `Rescaling` always counts as preprocessing. Another layer counts as long as the network without the
    layers before it would still scale or shift the pixels. Layers behind padding or behind random layers do
    not count, because the network would compute something else without them.

    Args:
        backbone: functional or Sequential model of images (B, H, W, C). For another kind of model the list
            is empty.
    """
    if not isinstance(backbone, keras.Model):
        return []
    backbone = functional(backbone)
    candidates, found = _candidates(backbone), []
    for number, step in enumerate(candidates):
        if not isinstance(step, keras.layers.Rescaling):
            rest = without_steps(backbone, candidates[:number]) if number else backbone
            if pixel_scale(rest) is None:
                break
        found.append(step)
    return found


def scale_of(backbone: keras.Model, steps: list[Any]) -> tuple[np.ndarray, np.ndarray]:
    """Computes what the steps do to the pixels of each channel: `pixels * factor + summand`.

    Args:
        backbone: the network.
        steps: its preprocessing, as `preprocessing_steps` returns it.

    Returns:
        Factor and summand, two (C,) float64 arrays.
    """
    backbone, channels = functional(backbone), backbone.input_shape[-1]
    factor, summand = np.ones(channels), np.zeros(channels)
    for step in steps:
        own_factor, own_summand = _stock_scale(step, channels) or _measured_scale(backbone, step)
        factor, summand = factor * own_factor, summand * own_factor + own_summand
    return factor, summand


def without_steps(backbone: keras.Model, steps: list[Any]) -> keras.Model:
    """Returns a network of the same layers without the preprocessing.

    Args:
        backbone: functional model.
        steps: layers to leave out, as `preprocessing_steps` returns them.
    """
    left_out = {id(step) for step in steps}
    images = keras.Input(backbone.input_shape[1:], name="images")

    def call(operation: Any, *args: Any, **kwargs: Any) -> Any:
        if id(operation) in left_out:
            return next(each for each in (*args, *kwargs.values()) if keras.backend.is_keras_tensor(each))
        return operation(*args, **kwargs)

    return rebuilt(backbone, images, call)


def rebuilt(backbone: keras.Model, images: Any, call: Callable) -> keras.Model:
    """Returns a model of the same layers on a new tensor of images; `call` calls each operation."""
    inputs = keras.tree.map_structure(lambda _: images, backbone.input)  # a tensor, or a list of one
    return rewired(backbone, inputs=inputs, call=call)


def functional(backbone: keras.Model) -> keras.Model:
    """Returns the model itself, or for a Sequential model a functional model of the same layers."""
    if isinstance(backbone, keras.Sequential) and backbone.built and backbone.inputs:
        return keras.Model(backbone.inputs, backbone.outputs, name=backbone.name)
    return backbone


def _candidates(backbone: Any) -> list[Any]:
    """Lists layers and operations of the kinds that can preprocess, as long as they follow each other."""
    inputs = getattr(backbone, "inputs", None) or ()
    outputs = getattr(backbone, "outputs", None) or ()
    if len(inputs) != 1 or not all(hasattr(tensor, "_keras_history") for tensor in outputs):
        return []
    nodes = in_order(outputs)
    tensor, found = inputs[0], []
    while True:
        using = [node for node in nodes if any(each is tensor for each in node[1])]
        if len(using) != 1 or len(using[0][1]) != 1 or len(using[0][2]) != 1:
            return found
        operation, _, (after,) = using[0]
        if not _can_preprocess(operation) or tuple(after.shape) != tuple(tensor.shape):
            return found
        found.append(operation)
        tensor = after


def _can_preprocess(operation: Any) -> bool:
    if isinstance(operation, keras.Model):
        inner = [layer for layer in operation.layers if not isinstance(layer, keras.layers.InputLayer)]
        return all(isinstance(layer, STOCK) for layer in inner)
    return isinstance(operation, STOCK) or type(operation).__name__ in ARITHMETIC


def _stock_scale(step: Any, channels: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Returns factor and summand of a stock layer, from its settings; None for anything else."""
    if isinstance(step, keras.layers.Rescaling):
        config = step.get_config()
        values = (np.asarray(config[name], "float64") for name in ("scale", "offset"))
    elif isinstance(step, keras.layers.Normalization) and not step.invert:
        mean, variance = (
            np.asarray(keras.ops.convert_to_numpy(value), "float64").ravel()
            for value in (step.mean, step.variance)
        )
        if len(mean) not in (1, channels):
            return None
        deviation = np.maximum(np.sqrt(variance), keras.backend.epsilon())
        values = (1 / deviation, -mean / deviation)
    else:
        return None
    return tuple(np.broadcast_to(value, channels).astype("float64") for value in values)


def _measured_scale(backbone: keras.Model, step: Any) -> tuple[np.ndarray, np.ndarray]:
    """Returns factor and summand of a step, measured on a black and a white image."""
    _, inputs, outputs = next(node for node in in_order(backbone.outputs) if node[0] is step)
    shape = [size or 8 for size in backbone.input_shape[1:]]
    images = np.stack([np.full(shape, value, "float32") for value in (0.0, WHITE)])
    before, after = (
        images
        if tensor is backbone.inputs[0]
        else keras.ops.convert_to_numpy(keras.Model(backbone.inputs[0], tensor)(images, training=False))
        for tensor in (inputs[0], outputs[0])
    )
    before, after = (np.asarray(values[:, 0, 0], "float64") for values in (before, after))
    factor = (after[1] - after[0]) / (before[1] - before[0])
    return factor, after[0] - before[0] * factor
