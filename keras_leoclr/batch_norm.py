"""BatchNorm in training by the backend's fused kernel; the layers and what is saved stay Keras' own."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


def with_fused_batch_norm(model: keras.Model) -> keras.Model:
    """The same model, of the same layers and weights, whose BatchNorm is faster and lighter in training.

    Keras computes BatchNorm's moments and its normalisation as separate passes over the activations.
    TensorFlow and torch have one kernel for all of it, forward and backward, which keeps only the
    activations that the backward pass needs. JAX compiles the passes into few and needs no other form.

    Args:
        model: functional or Sequential; models within it are treated likewise. Its layers are shared, not
            copied: it can be used and saved as before, and sees what is trained. A model of another kind is
            returned as it is.
    """
    if keras.backend.backend() == "jax" or not _cloneable(model):
        return model
    return keras.models.clone_model(
        model, clone_function=lambda layer: _Fused(layer) if _has_kernel(layer) else layer, recursive=True
    )


def without_fused_batch_norm(model: keras.Model) -> keras.Model:
    """The model of stock layers that `with_fused_batch_norm` was given, of the same layers and weights."""
    if not any(isinstance(layer, _Fused) for layer in model._flatten_layers()):
        return model
    return keras.models.clone_model(
        model,
        clone_function=lambda layer: layer.layer if isinstance(layer, _Fused) else layer,
        recursive=True,
    )


def _cloneable(model):
    # of other classes, a clone would be of a class of its own, without their methods
    return type(model) in (keras.Model, keras.Sequential) or type(model).__name__ == "Functional"


def _has_kernel(layer):
    return (
        type(layer) is keras.layers.BatchNormalization
        and len(layer.moving_mean.shape) == 1
        and layer.input_spec.ndim == 4
        and layer.axis in (-1, 3)
        and layer.scale
        and layer.center
        and not layer.synchronized
        and not getattr(layer, "renorm", False)
    )


class _Fused(keras.layers.Layer):
    """Another form of a BatchNormalization layer that exists: its variables, one kernel in training."""

    def __init__(self, layer: keras.layers.BatchNormalization):
        super().__init__(name=layer.name, dtype=layer.dtype_policy)
        self.layer = layer

    def build(self, input_shape):
        pass  # the layer is

    def compute_output_shape(self, input_shape):
        return input_shape

    def call(self, inputs: Any, training: bool = False, mask: Any = None) -> Any:
        """(B, H, W, C) -> (B, H, W, C)."""
        layer = self.layer
        if not (training and layer.trainable) or mask is not None:
            return layer(inputs, training=training, mask=mask)
        kernel = _tensorflow if keras.backend.backend() == "tensorflow" else _torch
        outputs, mean, variance = kernel(inputs, layer.gamma, layer.beta, layer.epsilon)
        # Both kernels return the variance divided by n - 1; Keras' own, and JAX', is divided by n.
        count = ops.cast(ops.prod(ops.shape(inputs)[:3]), variance.dtype)
        variance = variance * ((count - 1) / count)
        for moving, new in ((layer.moving_mean, mean), (layer.moving_variance, variance)):
            moving.assign(moving * layer.momentum + ops.stop_gradient(new) * (1.0 - layer.momentum))
        return outputs


def _tensorflow(inputs, gamma, beta, epsilon):
    import tensorflow as tf

    nothing = tf.zeros([0])
    outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
        x=inputs,
        scale=ops.convert_to_tensor(gamma, "float32"),
        offset=ops.convert_to_tensor(beta, "float32"),
        mean=nothing,
        variance=nothing,
        epsilon=epsilon,
        is_training=True,
    )
    return outputs, mean, variance


def _torch(inputs, gamma, beta, epsilon):
    import torch

    gamma, beta = ops.convert_to_tensor(gamma), ops.convert_to_tensor(beta)
    mean, variance = torch.zeros_like(beta), torch.zeros_like(gamma)  # the kernel writes into them
    outputs = torch.nn.functional.batch_norm(
        inputs.permute(0, 3, 1, 2), mean, variance, gamma, beta, training=True, momentum=1.0, eps=epsilon
    )
    return outputs.permute(0, 2, 3, 1), mean, variance
