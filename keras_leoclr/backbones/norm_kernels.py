"""BatchNorm in training with one kernel of the backend, over the whole batch or over groups of images."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import Any

import keras
from keras import layers, ops

_groups = 1


@contextlib.contextmanager
def groups_of_images(groups: int) -> Iterator[None]:
    """Context in which BatchNorm of models from `with_fast_kernels` takes separate statistics per group.

    Args:
        groups: >= 1, number of equal parts of a batch; the images of a group follow each other.
    """
    global _groups
    before, _groups = _groups, groups
    try:
        yield
    finally:
        _groups = before


def normalised(layer: layers.BatchNormalization, inputs: Any, relu: bool) -> tuple[Any, Any, Any, float]:
    """Normalises inputs as BatchNorm does in training, and returns the new statistics.

    The moving statistics are updated by G groups one after the other, `m <- momentum * m + (1 - momentum) *
    s_g`. Together this is one update with the momentum `momentum ** G` and a weighted mean of the groups'
    statistics, in which later groups have more weight.

    Args:
        layer: a built BatchNormalization layer of Keras with scale and centre, axis -1.
        inputs: (B, H, W, C) tensor.
        relu: whether ReLU is applied to the outputs; only on torch.

    Returns:
        Outputs (B, H, W, C), mean (C,), variance (C,) with divisor n, and the momentum. Mean and variance are
        None if the layer has already updated its moving statistics by itself.
    """
    backend = keras.backend.backend()
    if backend == "jax":
        if _groups == 1:
            return layer(inputs, training=True), None, None, layer.momentum
        outputs, means, variances = _jax_norm(inputs, layer)
    else:
        norm = _tensorflow_norm if backend == "tensorflow" else _torch_norm
        parts = ops.split(inputs, _groups) if _groups > 1 else [inputs]
        made = [norm(part, layer.gamma, layer.beta, layer.epsilon, relu) for part in parts]
        outputs, means, variances = zip(*made, strict=True)
        outputs = ops.concatenate(outputs) if _groups > 1 else outputs[0]
        # Both kernels return the variance divided by n - 1; Keras' own, and JAX', is divided by n. `ops.prod`
        # of sizes that are known would make tensors of them, and a GPU of torch wait for them.
        count = math.prod(ops.shape(parts[0])[:3])
        count = count if isinstance(count, int) else ops.cast(count, variances[0].dtype)
        variances = [variance * ((count - 1) / count) for variance in variances]
    momentum = float(layer.momentum)
    if _groups == 1:
        return outputs, means[0], variances[0], momentum
    powers = [momentum ** (_groups - 1 - group) for group in range(_groups)]
    weights = [power / sum(powers) for power in powers]  # Python numbers, not tensors
    mean, variance = (
        sum(weight * values[group] for group, weight in enumerate(weights)) for values in (means, variances)
    )
    return outputs, mean, variance, momentum**_groups


def _jax_norm(inputs, layer):
    """Normalises all groups at once, which XLA compiles into few passes."""
    shape = ops.shape(inputs)
    images = ops.reshape(ops.cast(inputs, "float32"), (_groups, shape[0] // _groups, *shape[1:]))
    mean = ops.mean(images, axis=(1, 2, 3), keepdims=True)
    images = images - mean
    variance = ops.mean(ops.square(images), axis=(1, 2, 3), keepdims=True)
    outputs = images * (ops.rsqrt(variance + layer.epsilon) * layer.gamma) + layer.beta
    outputs = ops.cast(ops.reshape(outputs, shape), inputs.dtype)
    return outputs, mean[:, 0, 0, 0], variance[:, 0, 0, 0]


def _tensorflow_norm(inputs, gamma, beta, epsilon, _):
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


def _torch_norm(inputs, gamma, beta, epsilon, relu):
    import torch

    gamma, beta = ops.convert_to_tensor(gamma), ops.convert_to_tensor(beta)
    mean, variance = torch.zeros((2, *beta.shape), device=beta.device)  # the kernel writes into them
    if math.prod(inputs.shape[:3]) == 1:
        # The kernel refuses a single value for each channel. This is what Keras and the other backends make
        # of it: the value is the mean, and the variance is 0.
        values = inputs.float()
        outputs = (gamma * (values - values) * epsilon**-0.5 + beta).to(inputs.dtype)
        return outputs.relu() if relu else outputs, values.detach().reshape(-1), variance
    outputs = torch.nn.functional.batch_norm(
        channels_first(inputs), mean, variance, gamma, beta, training=True, momentum=1.0, eps=epsilon
    )
    if relu:
        outputs = outputs.relu_()  # before `permute`, after which autograd would make a copy
    return outputs.permute(0, 2, 3, 1), mean, variance


def channels_first(images):
    """Returns (B, H, W, C) as (B, C, H, W) without a copy, in torch's memory format channels_last."""
    return images.contiguous().permute(0, 3, 1, 2)
