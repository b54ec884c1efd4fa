"""The correspondence between tensors of torch and variables of a Keras model.

It is one table of entries, which is made from the model. Both reading and writing use it.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from keras_leoclr.backbones.torch_files import PREFIXES
from keras_leoclr.backbones.torch_report import some


@dataclasses.dataclass(frozen=True)
class Entry:
    """A torch tensor and the Keras variables that hold the same numbers.

    Attributes:
        key: name of the tensor in torch.
        variables: variables of the Keras model.
        to_keras: function that converts the array of torch to arrays for the variables.
        to_torch: function that converts the arrays of the variables to the array of torch.
    """

    key: str
    variables: Sequence[Any]
    to_keras: Callable[[np.ndarray], Sequence[np.ndarray]]
    to_torch: Callable[..., np.ndarray]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the tensor in torch."""
        zero = np.zeros((), "float32")
        return self.to_torch(*(np.broadcast_to(zero, tuple(v.shape)) for v in self.variables)).shape


def _vector(key, variable) -> Entry:
    return Entry(key, [variable], lambda a: [a], lambda v: v)


def _conv(key, kernel) -> Entry:
    return Entry(key, [kernel], lambda a: [a.transpose(2, 3, 1, 0)], lambda k: k.transpose(3, 2, 0, 1))


def _dense(key, layer) -> list[Entry]:
    return [
        Entry(f"{key}.weight", [layer.kernel], lambda a: [a.T], lambda k: k.T),
        _vector(f"{key}.bias", layer.bias),
    ]


def _batch_norm(key, layer) -> list[Entry]:
    return [
        _vector(f"{key}.weight", layer.gamma),
        _vector(f"{key}.bias", layer.beta),
        _vector(f"{key}.running_mean", layer.moving_mean),
        _vector(f"{key}.running_var", layer.moving_variance),
    ]


def _layer_norm(key, layer) -> list[Entry]:
    return [_vector(f"{key}.weight", layer.gamma), _vector(f"{key}.bias", layer.beta)]


def _attention(key, layer) -> list[Entry]:
    dim, heads, width = layer.query_dense.kernel.shape
    three = (layer.query_dense, layer.key_dense, layer.value_dense)
    return [
        Entry(
            f"{key}.qkv.weight",
            [d.kernel for d in three],
            lambda a: [part.T.reshape(dim, heads, width) for part in np.split(a, 3)],
            lambda *kernels: np.concatenate([k.reshape(dim, dim).T for k in kernels]),
        ),
        Entry(
            f"{key}.qkv.bias",
            [d.bias for d in three],
            lambda a: [part.reshape(heads, width) for part in np.split(a, 3)],
            lambda *biases: np.concatenate([b.reshape(dim) for b in biases]),
        ),
        Entry(
            f"{key}.proj.weight",
            [layer.output_dense.kernel],
            lambda a: [a.T.reshape(heads, width, dim)],
            lambda k: k.reshape(dim, dim).T,
        ),
        _vector(f"{key}.proj.bias", layer.output_dense.bias),
    ]


def _embedding(key, layer) -> Entry:
    return Entry(key, [layer.embeddings], lambda a: [a[0]], lambda e: e[None])


def backbone_entries(backbone: keras.Model, prefix: str) -> list[Entry]:
    """Makes the entries of a ResNet or ViT of this package, in the order of its layers.

    Args:
        backbone: the network.
        prefix: text before the name of each tensor, such as "encoder_q.".

    Raises:
        ValueError: if a variable of the model has no counterpart in torch.
    """
    entries = []
    for layer in getattr(backbone, "layers", ()):
        name = layer.name
        if stage := re.fullmatch(r"stage(\d+)_block(\d+)_(\d|shortcut)_(conv|norm)", name):
            number, block, part, kind = stage.groups()
            key = f"{prefix}layer{number}.{int(block) - 1}."
            if part == "shortcut":
                key += "downsample.0" if kind == "conv" else "downsample.1"
            else:
                key += f"{'conv' if kind == 'conv' else 'bn'}{part}"
        elif name in ("stem_conv", "stem_norm"):
            key = prefix + ("conv1" if name == "stem_conv" else "bn1")
        elif block := re.fullmatch(r"block(\d+)_(norm1|norm2|attention|mlp1|mlp2)", name):
            part = {"attention": "attn", "mlp1": "mlp.fc1", "mlp2": "mlp.fc2"}.get(block[2], block[2])
            key = f"{prefix}blocks.{int(block[1]) - 1}.{part}"
        else:
            key = prefix + {
                "patch_embed": "patch_embed.proj",
                "class_token": "cls_token",
                "norm": "norm" if _has_token(backbone) else "fc_norm",
            }.get(name, name)
        entries += _layer_entries(key, layer)
    covered = {id(v) for entry in entries for v in entry.variables}
    left = [v.path for v in backbone.variables if id(v) not in covered]
    if left or not entries:
        raise ValueError(
            "`backbone` must be a ResNet or ViT of keras_leoclr.backbones. "
            f"Received: {backbone.name} with {some(left) or 'no weights'}"
        )
    return entries


def _layer_entries(key, layer) -> list[Entry]:
    keras_layers = keras.layers
    if isinstance(layer, keras_layers.Conv2D):
        bias = [_vector(f"{key}.bias", layer.bias)] if layer.use_bias else []
        return [_conv(f"{key}.weight", layer.kernel), *bias]
    for kind, make in (
        (keras_layers.BatchNormalization, _batch_norm),
        (keras_layers.LayerNormalization, _layer_norm),
        (keras_layers.MultiHeadAttention, _attention),
        (keras_layers.Dense, _dense),
        (keras_layers.Embedding, lambda key, layer: [_embedding(key, layer)]),
    ):
        if isinstance(layer, kind):
            return make(key, layer)
    return []


def model_entries(model: keras.Model) -> list[Entry]:
    """Makes the entries of a `LeOCLR`: both encoders with their projection heads, and the queue."""
    entries = []
    for kind, prefix in PREFIXES.items():
        entries += backbone_entries(backbone_of(model, kind), prefix)
        hidden, projection = (
            _encoder_of(model, kind).layers[-1].get_layer(name) for name in ("hidden", "projection")
        )
        entries += _dense(f"{prefix}fc.0", hidden) + _dense(f"{prefix}fc.2", projection)
    if model.key_queue is not None:
        queue = model.key_queue
        entries.append(Entry("queue", [queue.keys], lambda a: [a.T], lambda k: k.T))
        entries.append(Entry("queue_ptr", [queue.pointer], lambda a: [a[0]], lambda p: p[None]))
    return entries


def is_leoclr(model: keras.Model) -> bool:
    """Whether a model is a `LeOCLR` and not a backbone."""
    return hasattr(model, "query_encoder") and hasattr(model, "key_encoder")


def _encoder_of(model, kind):
    return model.query_encoder if kind == "query" else model.key_encoder


def backbone_of(model: keras.Model, kind: str) -> keras.Model:
    """Returns the backbone of the "query" or "key" encoder of a `LeOCLR`."""
    return _encoder_of(model, kind).layers[1]


def _has_token(backbone) -> bool:
    return any(layer.name == "class_token" for layer in backbone.layers)


def attention_of(backbone: keras.Model) -> tuple[int, int] | None:
    """Returns the width and the number of attention heads of a ViT; None for other networks."""
    for layer in backbone.layers:
        if layer.name == "block1_attention":
            width, heads, _ = layer.query_dense.kernel.shape
            return int(width), int(heads)
    return None


def stem_of(backbone) -> str | None:
    """Returns the name of a ResNet's stem, recognised by its first layers; None for other networks."""
    layers = {layer.name: layer for layer in backbone.layers}
    if "stem_conv" not in layers:
        return None
    if "stem_pool" in layers:
        return "imagenet"
    if "stem_relu" not in layers:
        return "lightly"
    if layers["stem_conv"].strides[0] == 2:
        return "patch"
    return "solo_learn" if "stem_pad" in layers else "cifar"
