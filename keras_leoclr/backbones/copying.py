"""Copies a Keras model: the copy computes the same, with layers and variables of its own."""

from __future__ import annotations

import contextlib
from typing import Any

import keras


def copy_of(
    model: keras.Model,
    *,
    weights: bool = True,
    inputs: Any = None,
    dtype: Any = None,
    device: str | None = None,
) -> keras.Model:
    """Copies a model: new layers with the same configuration, weights and adapted state.

    `keras.models.clone_model` followed by `set_weights` is not enough. A `keras.layers.Normalization` that
    was adapted to data computes with tensors that it has made from its weights, and `set_weights` does not
    make these tensors anew.

    Args:
        model: a built Keras model. Models within it are copied in the same way.
        weights: whether the copy gets the weights of the model; True by default. Otherwise it is initialised
            anew, except layers that were adapted to data, such as `keras.layers.Normalization`, because
            their numbers describe the images and were not learned.
        inputs: symbolic tensors on which a functional or Sequential model is called, in the structure of its
            own inputs; by default new ones of the same shapes.
        dtype: dtype policy of every layer of the copy, such as "mixed_bfloat16"; by default each layer keeps
            its own. Only for functional and Sequential models.
        device: device of the copy's variables, as `keras.device` takes it; by default the current one.

    Returns:
        The copy. It has the same names as the model.
    """
    with contextlib.nullcontext() if device is None else keras.device(device):
        if dtype is None:
            copy = keras.models.clone_model(model, input_tensors=inputs)
        else:
            copy = keras.models.clone_model(
                model,
                input_tensors=inputs,
                clone_function=lambda layer: _with_dtype(layer, dtype),
                recursive=True,
            )
        if weights:
            copy_weights(model, copy)
        else:
            _copy_adapted_state(model, copy)
    return copy


def copy_weights(source: keras.layers.Layer, target: keras.layers.Layer) -> None:
    """Copies weights and adapted state from one model or layer to another one of the same configuration.

    Args:
        source: model or layer that is copied from.
        target: model or layer that is changed.
    """
    target.set_weights(source.get_weights())
    _copy_adapted_state(source, target)


def _with_dtype(layer: keras.layers.Layer, dtype: Any) -> keras.layers.Layer:
    return type(layer).from_config({**layer.get_config(), "dtype": dtype})


def _copy_adapted_state(source: keras.layers.Layer, target: keras.layers.Layer) -> None:
    """Copies the state of layers that can be adapted, with the methods by which Keras saves and loads it."""
    # Both models have the same configuration, so the private `_flatten_layers` lists both in the same order.
    for layer, twin in zip(source._flatten_layers(), target._flatten_layers(), strict=True):
        if hasattr(layer, "finalize_state") and layer.built:
            stored: dict[str, Any] = {}
            layer.save_own_variables(stored)
            twin.load_own_variables({name: keras.ops.convert_to_numpy(v) for name, v in stored.items()})
