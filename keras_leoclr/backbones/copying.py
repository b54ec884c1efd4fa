"""Copies of a Keras model that have layers and variables of their own and compute the same."""

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
    """A model of new layers with the configuration, the weights and the adapted state of another one.

    `keras.models.clone_model` followed by `set_weights` is not enough: a `keras.layers.Normalization` that
    was adapted computes with tensors that it makes from its weights, and makes them anew only when it is
    told to.

    Args:
        model: a built Keras model. Models within it are copied likewise.
        weights: whether the copy has the weights of the model. Without, it is initialised anew, but
            layers that were adapted to data, such as `keras.layers.Normalization`, stay adapted: they
            describe the images, not what was learned from them.
        inputs: symbolic tensors that a functional or Sequential model is to be called on, in the structure of
            its own inputs; by default new ones of the same shapes.
        dtype: policy that every layer of the copy has, such as "mixed_bfloat16"; by default each its own.
            For functional and Sequential models.
        device: where the copy has its variables, as `keras.device` takes it; by default the current one.

    Returns:
        The copy. Its names are those of the model.
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
    """Gives a model or layer the weights and the adapted state of another one of the same configuration.

    Args:
        source: what is copied from.
        target: what is changed.
    """
    target.set_weights(source.get_weights())
    _copy_adapted_state(source, target)


def _with_dtype(layer: keras.layers.Layer, dtype: Any) -> keras.layers.Layer:
    return type(layer).from_config({**layer.get_config(), "dtype": dtype})


def _copy_adapted_state(source: keras.layers.Layer, target: keras.layers.Layer) -> None:
    """Copies the layers that can be adapted, with the two functions by which Keras saves and loads them."""
    # In one order, as the copy is of the same configuration; _flatten_layers is private to Keras.
    for layer, twin in zip(source._flatten_layers(), target._flatten_layers(), strict=True):
        if hasattr(layer, "finalize_state") and layer.built:
            stored: dict[str, Any] = {}
            layer.save_own_variables(stored)
            twin.load_own_variables({name: keras.ops.convert_to_numpy(v) for name, v in stored.items()})
