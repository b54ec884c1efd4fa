"""Runs the layers of a network by faster kernels of the backend in training; its Keras layers stay the same.

Keras computes the moments of BatchNorm and the normalisation in separate passes over the activations.
TensorFlow and torch have one kernel for both, forward and backward, which keeps only the activations that the
backward pass needs. Keras on torch has three more costs. For every convolution it moves the channels first
and then last again, which makes two copies where a view is enough. It writes padded copies for convolutions
that can pad by themselves. And it allocates new memory for the outputs of ReLU. On TensorFlow, convolutions
that pad by themselves are slow (benchmarks/NOTES.md); there the padded copies are computed again for the
gradient instead of being kept. JAX compiles all this into few passes, so that nothing has to be replaced.

This module uses the name of Keras' private class `Functional` and the private parts that `graph.py` uses. It
assumes that stock layers compute what their public attributes say. Layers of a subclass are not replaced.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import keras
from keras import layers, ops

from keras_leoclr.backbones import norm_kernels
from keras_leoclr.backbones.graph import in_order, rewired
from keras_leoclr.backbones.moving_statistics import move_statistics
from keras_leoclr.backbones.norm_kernels import channels_first


def with_fast_kernels(model: keras.Model, grouped: bool = False) -> keras.Model:
    """Returns a model with the same layers and weights which trains faster and needs less memory.

    Args:
        model: functional or Sequential model; models within it are treated in the same way. Its layers are
            shared and not copied, so that the given model can be used and saved as before and has the
            trained weights. Another kind of model, and every model on JAX, is returned unchanged.
        grouped: whether BatchNorm layers are replaced on JAX too, which `norm_kernels.groups_of_images`
            needs; False by default.
    """
    # A clone of a subclass of `keras.Model` would be a plain functional model without the subclass' methods.
    functional = type(model) in (keras.Model, keras.Sequential) or type(model).__name__ == "Functional"
    jax = keras.backend.backend() == "jax"
    if (jax and not grouped) or not functional:
        return model
    _choose_kernels()
    forms = _forms_of(model)

    def form_of(layer):
        if isinstance(layer, keras.Model):
            return with_fast_kernels(layer, grouped)
        return forms.get(id(layer), layer)

    return rewired(model, form_of)


def takes_groups(model: keras.Model) -> bool:
    """Whether a model can encode several groups of images in one pass.

    This is possible if BatchNorm layers are the only ones in which the images of a batch affect each other,
    and all of them were replaced by the layers of this module, which know groups.

    Args:
        model: a model that `with_fast_kernels(..., grouped=True)` has returned.
    """
    found = model._flatten_layers()
    known = {id(layer.layer) for layer in found if isinstance(layer, _BatchNorm)}
    for layer in found:
        if isinstance(layer, keras.layers.BatchNormalization) and id(layer) not in known:
            return False
        # Random layers would draw other numbers in one pass than in several, and layers of other packages may
        # mix the images of a batch.
        own = type(layer).__module__.split(".")[0] in ("keras", "keras_leoclr")
        if not own or hasattr(layer, "seed_generator"):
            return False
    return True


def _choose_kernels() -> None:
    """Makes cuDNN measure which of its kernels are the fastest, on torch.

    This is not done if deterministic results are wanted, because the fastest kernel may differ between
    processes.
    """
    if keras.backend.backend() == "torch":
        import torch

        torch.backends.cudnn.benchmark = not torch.are_deterministic_algorithms_enabled()


def _forms_of(model: keras.Model) -> dict[int, layers.Layer]:
    """Returns id of a layer -> layer that replaces it; layers that are not replaced have no entry."""
    nodes = in_order(model.outputs)
    calls = Counter(id(operation) for operation, _, _ in nodes)
    uses = Counter(id(tensor) for _, inputs, _ in nodes for tensor in inputs)
    uses.update(id(tensor) for tensor in model.outputs)
    maker = {id(tensor): operation for operation, _, outputs in nodes for tensor in outputs}
    source = {id(operation): inputs[0] for operation, inputs, _ in nodes if inputs}
    torch, jax = (keras.backend.backend() == name for name in ("torch", "jax"))
    forms: dict[int, layers.Layer] = {}
    for operation, inputs, _ in nodes:
        if not inputs or getattr(operation, "activity_regularizer", None) is not None:
            continue
        before = maker[id(inputs[0])]
        # Two layers can be merged only if no other layer uses the tensor between them.
        alone = calls[id(operation)] == calls[id(before)] == uses[id(inputs[0])] == 1
        form: layers.Layer | None = None
        if _is_norm(operation):
            form = _BatchNorm(operation)
        elif jax:
            continue
        elif _is_conv(operation) or _is_pool(operation):
            kind = _Conv if _is_conv(operation) else _MaxPool
            if alone and _can_pad(operation, before, maker[id(source.get(id(before), inputs[0]))]):
                form = kind(operation, [side for side, _ in before.padding])
                forms[id(before)] = _Nothing(before)
            elif torch and _own_padding(operation) is not None:
                form = kind(operation, _own_padding(operation))
        elif torch and _is_relu(operation) and alone:
            # ReLU may overwrite its input if no backward pass reads it, as after BatchNorm and Add.
            if isinstance(forms.get(id(before)), _BatchNorm):
                forms[id(before)].relu = True
                form = _Nothing(operation)
            elif type(before) is layers.Add:
                form = _ReLUInPlace(operation)
        if form is not None:
            forms[id(operation)] = form
    return forms


def _is_norm(layer):
    return (
        type(layer) is layers.BatchNormalization
        and len(layer.moving_mean.shape) == 1
        and layer.input_spec.ndim == 4
        and layer.axis in (-1, 3)
        and layer.scale
        and layer.center
        and not layer.synchronized
        and not getattr(layer, "renorm", False)
    )


def _is_conv(layer):
    return (
        type(layer) is layers.Conv2D
        and layer.data_format == "channels_last"
        and not layer.lora_enabled
        and not getattr(layer, "quantization_mode", None)
    )


def _is_pool(layer):
    return type(layer) is layers.MaxPooling2D and layer.data_format == "channels_last"


def _can_pad(layer, padding, before):
    """Whether a layer can do the padding itself that a separate layer does before it."""
    if (
        type(padding) is not layers.ZeroPadding2D
        or padding.data_format != "channels_last"
        or any(one != other for one, other in padding.padding)
        or layer.padding != "valid"
    ):
        return False
    # Max-pooling pads with minus infinity and not with zero; after ReLU this gives the same maxima.
    sizes = zip(padding.padding, getattr(layer, "pool_size", ()), strict=False)
    return _is_conv(layer) or (_is_relu(before) and all(2 * side <= size for (side, _), size in sizes))


def _is_relu(layer):
    if type(layer) is layers.ReLU:
        return layer.max_value is None and layer.negative_slope == 0 and layer.threshold == 0
    return type(layer) is layers.Activation and layer.activation is keras.activations.relu


def _own_padding(layer):
    """Returns rows and columns that a layer pads on each side; None if the sides can differ."""
    if layer.padding == "valid":
        return 0, 0
    if _is_pool(layer) or max(layer.strides) > 1:
        return None
    added = [d * (size - 1) for size, d in zip(layer.kernel_size, layer.dilation_rate, strict=True)]
    return None if any(n % 2 for n in added) else tuple(n // 2 for n in added)


class _Form(layers.Layer):
    """A layer that replaces another one in training and uses its variables."""

    def __init__(self, layer: layers.Layer):
        super().__init__(name=layer.name, dtype=layer.dtype_policy)
        self.layer = layer

    def build(self, input_shape):
        pass  # the layer that is replaced has been built already

    def compute_output_shape(self, input_shape):
        return self.layer.compute_output_shape(input_shape)


class _Nothing(_Form):
    """Replaces a layer whose work the layer before or behind it does now; it returns its inputs."""

    def compute_output_shape(self, input_shape):
        return input_shape

    def call(self, inputs: Any) -> Any:
        return inputs


class _Padding(_Form):
    """A layer that pads (H, W) by `padding` on either side."""

    def __init__(self, layer: layers.Layer, padding: Any):
        super().__init__(layer)
        self.padding = tuple(padding)

    def compute_output_shape(self, input_shape):
        batch, height, width, channels = input_shape
        if self.layer.padding == "same":
            return super().compute_output_shape(input_shape)
        rows, columns = self.padding
        padded = [None if n is None else n + 2 * p for n, p in ((height, rows), (width, columns))]
        return super().compute_output_shape((batch, *padded, channels))

    def _on_tensorflow(self, function, inputs, *tensors):
        """Calls `function` on padded inputs; the padded copy is made again for the gradient and not kept."""
        import tensorflow as tf

        sides = [(0, 0), *((side, side) for side in self.padding), (0, 0)]
        padded = tf.recompute_grad(lambda images, *others: function(tf.pad(images, sides), *others))
        # Not ops.convert_to_tensor: it returns Keras' variable itself, whose gradient is lost in eager mode.
        return padded(inputs, *map(tf.convert_to_tensor, tensors))


class _Conv(_Padding):
    def call(self, inputs: Any) -> Any:
        """(B, H, W, C) -> (B, h, w, filters)."""
        layer = self.layer
        if keras.backend.backend() == "tensorflow":
            outputs = self._on_tensorflow(layer.convolution_op, inputs, layer.kernel)
            outputs = outputs + ops.convert_to_tensor(layer.bias) if layer.use_bias else outputs
            return outputs if layer.activation is None else layer.activation(outputs)
        import torch

        outputs = torch.nn.functional.conv2d(
            channels_first(inputs),
            ops.convert_to_tensor(layer.kernel).permute(3, 2, 0, 1),
            ops.convert_to_tensor(layer.bias) if layer.use_bias else None,
            stride=layer.strides,
            padding=self.padding,
            dilation=layer.dilation_rate,
            groups=layer.groups,
        ).permute(0, 2, 3, 1)
        return outputs if layer.activation is None else layer.activation(outputs)


class _MaxPool(_Padding):
    def call(self, inputs: Any) -> Any:
        """(B, H, W, C) -> (B, h, w, C)."""
        if keras.backend.backend() == "tensorflow":
            return self._on_tensorflow(self.layer.call, inputs)
        import torch

        pooled = torch.nn.functional.max_pool2d(
            channels_first(inputs), self.layer.pool_size, self.layer.strides, self.padding
        )
        return pooled.permute(0, 2, 3, 1)


class _ReLUInPlace(_Form):
    def call(self, inputs: Any) -> Any:
        return inputs.relu_()


class _BatchNorm(_Form):
    """BatchNorm, and on torch also the ReLU behind it if `relu` is True."""

    relu = False

    def call(self, inputs: Any, training: bool = False, mask: Any = None) -> Any:
        """(B, H, W, C) -> (B, H, W, C)."""
        layer = self.layer
        if not (training and layer.trainable) or mask is not None:
            outputs = layer(inputs, training=training, mask=mask)
            return ops.relu(outputs) if self.relu else outputs
        outputs, mean, variance, momentum = norm_kernels.normalised(layer, inputs, self.relu)
        if mean is None:
            return outputs
        move_statistics(momentum, ((layer.moving_mean, mean), (layer.moving_variance, variance)))
        return outputs
