"""Weights to and from torch: torchvision, timm, MoCo, lightly and solo-learn checkpoints.

Every file is brought to one naming first, MoCo's: `encoder_q.` and `encoder_k.` before torchvision's or
timm's names, `fc.0` and `fc.2` for the projection head, `queue` and `queue_ptr`. One table of entries,
made from the model, then says which variables a key fills; reading and writing both go by it.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import keras
import numpy as np

from keras_leoclr.backbones.normalization import normalization_of
from keras_leoclr.backbones.resnet import build_resnet
from keras_leoclr.backbones.vit import build_vit
from keras_leoclr.runs.files import whole_path

PRE = {"query": "encoder_q.", "key": "encoder_k."}
TORCH_SUFFIXES = (".pth", ".pt", ".ckpt", ".tar", ".bin")
DEPTHS = {
    ((2, 2, 2, 2), False): "resnet18",
    ((3, 4, 6, 3), False): "resnet34",
    ((3, 4, 6, 3), True): "resnet50",
    ((3, 4, 23, 3), True): "resnet101",
}


class TorchWeightsError(ValueError):
    """A file that is no checkpoint, or does not fit the model. The model is unchanged."""


@dataclasses.dataclass(frozen=True)
class TorchReport:
    """What became of every key of a file.

    Attributes:
        path: the file.
        loaded: keys of the file that filled variables of the model.
        missing: keys that the model needs and the file lacks, named as in the file's layout.
        unexpected: keys of the encoder that the model has no place for.
        unused: keys that do not belong to the encoder, with the reason.
    """

    path: str
    loaded: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    unused: dict[str, str]

    def __str__(self) -> str:
        lines = [f"{self.path}: {len(self.loaded)} keys loaded"]
        for name in ("missing", "unexpected"):
            keys = getattr(self, name)
            if keys:
                lines.append(f"{name}: {_some(keys)}")
        reasons: dict[str, list[str]] = {}
        for key, reason in self.unused.items():
            reasons.setdefault(reason, []).append(key)
        lines += [f"not used, {reason}: {_some(keys)}" for reason, keys in reasons.items()]
        return "\n".join(lines)


def from_torch(
    path: str | os.PathLike,
    input_shape: Sequence[int] | None = None,
    stem: str | None = None,
    encoder: str = "query",
    num_heads: int | None = None,
    allow_missing: Iterable[str] = (),
    allow_unexpected: Iterable[str] = (),
    verbose: bool = True,
) -> keras.Model:
    """Makes the backbone that a torch checkpoint holds, with its weights.

    Reads state dicts of torchvision's ResNets, of timm's ViTs, and the encoders in checkpoints of MoCo
    v1 and v2, lightly and solo-learn, whatever prefix they have. The architecture follows from the
    shapes. Only tensors are read: a file that would have to run code is refused.

    Args:
        path: `.safetensors`, or a file of `torch.save` (`.pth`, `.pt`, `.tar`, `.ckpt`, `.bin`).
        input_shape: (H, W, C) of the images; by default 224 x 224 for the "imagenet" stem and 32 x 32
            for the others. A ViT's follows from its position embeddings.
        stem: of a ResNet, see `resnet18`. By default what the file or the size of its first kernel
            says: 7 x 7 "imagenet", 3 x 3 "cifar", or "lightly" where the names are those of its own
            ResNets. solo-learn's networks for CIFAR need `stem="solo_learn"`: they pad by 2 there.
        encoder: "query", or "key" for the momentum encoder of a checkpoint that has one.
        num_heads: of a ViT; by default its width / 64, as in all of timm's.
        allow_missing: keys, or beginnings of keys, that the file may lack.
        allow_unexpected: keys, or beginnings of keys, of the encoder that may be ignored.
        verbose: whether to print the report of keys.

    Returns:
        A backbone of this package, (B, H, W, C) -> (B, features).

    Raises:
        TorchWeightsError: if the file is damaged, holds code, or is of another architecture.
    """
    checkpoint = _read(path)
    if encoder not in PRE:
        raise ValueError(f'`encoder` must be "query" or "key". Received: encoder={encoder!r}')
    weights = checkpoint.encoder(encoder)
    if "patch_embed.proj.weight" in weights:
        backbone = _vit_of(weights, num_heads, path)
    else:
        backbone = _resnet_of(weights, input_shape, stem or checkpoint.metadata.get("stem"), path)
    report = _fill(_backbone_entries(backbone, PRE[encoder]), checkpoint, allow_missing, allow_unexpected)
    if verbose:
        print(report)
    return backbone


def load_torch(
    model: keras.Model,
    path: str | os.PathLike,
    encoder: str = "query",
    allow_missing: Iterable[str] = (),
    allow_unexpected: Iterable[str] = (),
) -> TorchReport:
    """Fills a model with the weights of a torch checkpoint.

    Args:
        model: a backbone of this package, or a `LeOCLR` on one. The latter takes query encoder, key
            encoder, projection heads and, from a MoCo v2 checkpoint, the queue: training goes on where
            the checkpoint was written, but for the optimizer's momentum.
        path: see `from_torch`.
        encoder: which encoder of the file fills a backbone, "query" or "key".
        allow_missing: keys, or beginnings of keys, that the file may lack, such as `["queue"]`.
        allow_unexpected: keys, or beginnings of keys, of the encoder that may be ignored.

    Returns:
        What became of every key.

    Raises:
        TorchWeightsError: if the file is damaged, holds code, or does not fit; nothing is loaded then.
    """
    checkpoint = _read(path)
    if encoder not in PRE:
        raise ValueError(f'`encoder` must be "query" or "key". Received: encoder={encoder!r}')
    entries = _model_entries(model) if _is_leoclr(model) else _backbone_entries(model, PRE[encoder])
    stem = stem_of(_backbone_of(model, "query") if _is_leoclr(model) else model)
    if checkpoint.metadata.get("stem", stem) != stem:
        raise TorchWeightsError(
            f"{path} must fit the model. Nothing was loaded. Received: a file of a network with "
            f"stem={checkpoint.metadata['stem']!r}, a model with stem={stem!r}"
        )
    return _fill(entries, checkpoint, allow_missing, allow_unexpected)


def to_torch(model: keras.Model, path: str | os.PathLike, encoder: str = "query") -> dict[str, tuple]:
    """Writes a backbone in torchvision's layout (ResNets) or timm's (ViTs).

    The file loads into `torchvision.models.resnet50()` or timm's model of the same architecture with
    `load_state_dict(..., strict=False)`, which then lacks the classifier alone, and into what
    converts from torchvision, such as detectron2's `convert-torchvision-to-d2.py`. It is written whole
    or not at all. The layout has no place for a first layer that normalises: its numbers go into the
    metadata of a `.safetensors` file, `mean` and `std`, and images must be normalised before.

    Args:
        model: a backbone of this package, or a `LeOCLR` on one, of which the backbone of one encoder
            is written, without its projection head.
        path: `.safetensors`, which also says architecture and encoder, or `.pth` / `.pt`.
        encoder: "query" or "key", of a `LeOCLR`.

    Returns:
        The shape of every key written.
    """
    if encoder not in PRE:
        raise ValueError(f'`encoder` must be "query" or "key". Received: encoder={encoder!r}')
    path = pathlib.Path(path)
    backbone = _backbone_of(model, encoder) if _is_leoclr(model) else model
    weights = {}
    for entry in _backbone_entries(backbone, ""):
        arrays = [np.asarray(keras.ops.convert_to_numpy(v), "float32") for v in entry.variables]
        weights[entry.key] = np.ascontiguousarray(entry.to_torch(*arrays))
        if entry.key.endswith("running_var"):
            counter = entry.key.replace("running_var", "num_batches_tracked")
            weights[counter] = np.zeros((), "int64")
    metadata = {"format": "pt", "architecture": backbone.name, "encoder": encoder}
    if stem := stem_of(backbone):
        metadata["stem"] = stem
    if normalization := normalization_of(backbone):
        metadata |= {
            name: ",".join(map(str, values))
            for name, values in zip(("mean", "std"), normalization, strict=True)
        }
    if path.suffix not in (".safetensors", ".pth", ".pt"):
        raise ValueError(f"`path` must end in .safetensors, .pth or .pt. Received: path={path}")
    with whole_path(path) as partial:
        if path.suffix == ".safetensors":
            _safetensors("numpy").save_file(weights, partial, metadata)
        else:
            torch = _torch()
            torch.save({key: torch.from_numpy(value.copy()) for key, value in weights.items()}, partial)
    return {key: value.shape for key, value in weights.items()}


# === Reading a file ===


@dataclasses.dataclass(frozen=True)
class _Checkpoint:
    """A file in MoCo's naming.

    Attributes:
        path: the file.
        arrays: its tensors by key, MoCo's naming for what was recognised.
        original: the file's own name of every key.
        metadata: strings that a safetensors file carries.
    """

    path: str
    arrays: dict[str, np.ndarray]
    original: dict[str, str]
    metadata: dict[str, str]

    def encoder(self, encoder: str) -> dict[str, np.ndarray]:
        """Tensors of an encoder, named as torchvision and timm do."""
        prefix = PRE[encoder]
        found = {k.removeprefix(prefix): v for k, v in self.arrays.items() if k.startswith(prefix)}
        if not found:
            others = "only a query encoder" if encoder == "key" and self._has_query() else "no encoder"
            raise TorchWeightsError(
                f"{self.path} must hold a {encoder} encoder: a ResNet named as torchvision's or a ViT named "
                f"as timm's, with any prefix. Received: {others}, keys {_some(self.original.values())}"
            )
        return found

    def _has_query(self) -> bool:
        return any(key.startswith(PRE["query"]) for key in self.arrays)


def _read(path: str | os.PathLike) -> _Checkpoint:
    path = pathlib.Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"`path`: no such file. Received: {path}")
    metadata = {}
    if path.suffix == ".safetensors":
        arrays, metadata = _read_safetensors(path)
    elif path.suffix in TORCH_SUFFIXES:
        arrays = _read_torch(path)
    else:
        raise TorchWeightsError(
            f"`path` must end in .safetensors or {', '.join(TORCH_SUFFIXES)}. Received: path={path}"
        )
    original = _moco_names(arrays, path)
    if any(re.search(r"(^|\.)2\.0\.conv1\.weight$", key) for key in arrays):
        metadata = {"stem": "lightly", **metadata}  # an nn.Sequential of the parts of lightly's own ResNet
    return _Checkpoint(str(path), {new: arrays[old] for new, old in original.items()}, original, metadata)


def _read_safetensors(path):
    safetensors = _safetensors()
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            arrays = {key: np.asarray(file.get_tensor(key)) for key in file.keys()}
    except (safetensors.SafetensorError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise TorchWeightsError(f"{path} must be a whole safetensors file. Received: {error}") from error
    return {key: _float32(value) for key, value in arrays.items()}, metadata


def _read_torch(path):
    torch = _torch()
    try:
        # weights_only: tensors and plain containers; anything that would run code is an error
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises errors of a dozen kinds for damaged files
        if "weights_only" in str(error) or "Unsupported" in str(error):
            raise TorchWeightsError(
                f"{path} must hold tensors only. Received: a pickle with other Python objects in it, which "
                "could run code when loaded. If you trust the file, save its state dict alone and load "
                f"that.\n{_first_line(error)}"
            ) from error
        raise TorchWeightsError(
            f"{path} must be a whole file of torch.save. "
            f"Received: {type(error).__name__}: {_first_line(error)}"
        ) from error
    for name in ("state_dict", "model", "model_state_dict"):
        if isinstance(content, dict) and isinstance(content.get(name), dict):
            content = content[name]
            break
    if not isinstance(content, dict) or not any(isinstance(v, torch.Tensor) for v in content.values()):
        raise TorchWeightsError(
            f"{path} must hold a state dict, or one called state_dict or model. "
            f"Received: {type(content).__name__}"
        )
    tensors = {str(k): v.detach() for k, v in content.items() if isinstance(v, torch.Tensor)}
    return {
        key: (value.float() if value.is_floating_point() else value).numpy() for key, value in tensors.items()
    }


def _float32(array):
    return array if array.dtype.kind in "iub" else array.astype("float32")


def _moco_names(arrays: dict, path: pathlib.Path) -> dict[str, str]:
    """{name in MoCo's layout: name in the file}; names of unknown parts stay as they are."""
    anchor = re.compile(r"((?:.*\.)?)(?:layer1\.0\.conv1|[24]\.0\.conv1|patch_embed\.proj)\.weight")
    prefixes = sorted({match[1] for key in arrays if (match := anchor.fullmatch(key))})
    encoders = {}
    for kind in PRE:
        found = [p for p in prefixes if _is_momentum(p) == (kind == "key")]
        if len(found) > 1:
            raise TorchWeightsError(
                f"{path} must hold one {kind} encoder. Received: encoders at {', '.join(map(repr, found))}"
            )
        encoders |= {found[0]: kind} if found else {}
    names = {}
    for key in arrays:
        new = key.removeprefix("module.")
        # the longest prefix: torchvision's is empty
        for prefix in sorted(encoders, key=len, reverse=True):
            if key.startswith(prefix):
                inner = _torchvision_name(key.removeprefix(prefix), f"{prefix}2.0.conv1.weight" in arrays)
                new = PRE[encoders[prefix]] + inner
                break
        else:
            # heads beside the encoder: lightly's and solo-learn's MoCo
            head = re.fullmatch(r"(?:module\.|model\.)*(.*?)(?:layers\.)?([02])\.(weight|bias)", key)
            if head and head.group(1).strip(".") in HEADS:
                kind = "key" if _is_momentum(key) else "query"
                new = f"{PRE[kind]}fc.{head.group(2)}.{head.group(3)}"
        names[new] = key
    return names


HEADS = ("projection_head", "projector", "projection_head_momentum", "momentum_projector")


def _is_momentum(prefix: str) -> bool:
    return bool(re.search(r"encoder_k\b|momentum|teacher|target|ema\b", prefix))


def _torchvision_name(key: str, without_pooling: bool) -> str:
    """Names of torchvision's modules for the numbers of an `nn.Sequential` of them, as lightly has."""
    number, _, rest = key.partition(".")
    if number.isdigit():
        # torchvision: conv1, bn1, relu, maxpool, layer1...; lightly's own: conv1, bn1, layer1...
        shift = 1 if without_pooling else 3
        number = {0: "conv1", 1: "bn1"}.get(int(number), f"layer{int(number) - shift}")
        key = f"{number}.{rest}"
    return key.replace(".shortcut.", ".downsample.")


# === Filling a model ===


@dataclasses.dataclass(frozen=True)
class _Entry:
    """A torch tensor and the variables that hold the same numbers.

    Attributes:
        key: name of the tensor.
        variables: of the Keras model.
        to_keras: array of torch -> arrays for the variables.
        to_torch: arrays of the variables -> array of torch.
    """

    key: str
    variables: Sequence[Any]
    to_keras: Callable[[np.ndarray], Sequence[np.ndarray]]
    to_torch: Callable[..., np.ndarray]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the tensor in torch."""
        zero = np.zeros((), "float32")
        return self.to_torch(*(np.broadcast_to(zero, tuple(v.shape)) for v in self.variables)).shape


def _fill(entries, checkpoint, allow_missing, allow_unexpected) -> TorchReport:
    """Assigns all entries, or none."""
    arrays, original = checkpoint.arrays, checkpoint.original
    keys = {entry.key for entry in entries}
    used_prefixes = {prefix for prefix in PRE.values() if any(key.startswith(prefix) for key in keys)}
    missing = [entry.key for entry in entries if entry.key not in arrays]
    unexpected, unused = [], {}
    for key in arrays:
        if key in keys:
            continue
        reason = _why_unused(key, used_prefixes, any(".fc." in k for k in keys))
        if reason:
            unused[original[key]] = reason
        else:
            unexpected.append(key)
    wrong = [e for e in entries if e.key in arrays and tuple(arrays[e.key].shape) != e.shape]
    missing_names = [key for key in missing if not _allowed(key, allow_missing)]
    unexpected_names = [key for key in unexpected if not _allowed(key, allow_unexpected)]
    if wrong or missing_names or unexpected_names:
        lines = [f"{checkpoint.path} must fit the model. Nothing was loaded. Received:"]
        if wrong:
            shown = [f"{e.key} {tuple(arrays[e.key].shape)}, model {e.shape}" for e in wrong]
            lines.append(f"- other shapes (another architecture or width): {_some(shown)}")
        if missing_names:
            lines.append(f"- missing in the file: {_some(missing_names)}; `allow_missing` can name them")
        if unexpected_names:
            lines.append(
                f"- without a place in the model: {_some(unexpected_names)}; `allow_unexpected` can name them"
            )
        raise TorchWeightsError("\n".join(lines))
    values = []
    for entry in entries:
        if entry.key in arrays:
            made = entry.to_keras(arrays[entry.key])
            values += zip(entry.variables, made, strict=True)
    for variable, value in values:
        variable.assign(np.asarray(value).astype("int32" if "int" in str(variable.dtype) else "float32"))
    return TorchReport(
        checkpoint.path,
        loaded=tuple(original[e.key] for e in entries if e.key in arrays),
        missing=tuple(missing),
        unexpected=tuple(original[key] for key in unexpected),
        unused=unused,
    )


def _why_unused(key: str, used_prefixes: set, with_head: bool) -> str | None:
    """Why a key that fills nothing is none the less in order; None if it is not."""
    if key.endswith("num_batches_tracked"):
        return "BatchNorm's step counter"
    prefix = next((p for p in PRE.values() if key.startswith(p)), None)
    if prefix is None:
        return "not part of an encoder"
    if prefix not in used_prefixes:
        return "the other encoder"
    inner = key.removeprefix(prefix)
    if not with_head and re.match(r"(fc|head|classifier)\.", inner):
        return "classifier or projection head"
    return None


def _allowed(key: str, names: Iterable[str]) -> bool:
    bare = re.sub(r"^encoder_[qk]\.", "", key)
    return any(key.startswith(name) or bare.startswith(name) for name in names)


# === Entries ===


def _vector(key, variable) -> _Entry:
    return _Entry(key, [variable], lambda a: [a], lambda v: v)


def _conv(key, kernel) -> _Entry:
    return _Entry(key, [kernel], lambda a: [a.transpose(2, 3, 1, 0)], lambda k: k.transpose(3, 2, 0, 1))


def _dense(key, layer) -> list[_Entry]:
    return [
        _Entry(f"{key}.weight", [layer.kernel], lambda a: [a.T], lambda k: k.T),
        _vector(f"{key}.bias", layer.bias),
    ]


def _batch_norm(key, layer) -> list[_Entry]:
    return [
        _vector(f"{key}.weight", layer.gamma),
        _vector(f"{key}.bias", layer.beta),
        _vector(f"{key}.running_mean", layer.moving_mean),
        _vector(f"{key}.running_var", layer.moving_variance),
    ]


def _layer_norm(key, layer) -> list[_Entry]:
    return [_vector(f"{key}.weight", layer.gamma), _vector(f"{key}.bias", layer.beta)]


def _attention(key, layer) -> list[_Entry]:
    dim, heads, width = layer.query_dense.kernel.shape
    three = (layer.query_dense, layer.key_dense, layer.value_dense)
    return [
        _Entry(
            f"{key}.qkv.weight",
            [d.kernel for d in three],
            lambda a: [part.T.reshape(dim, heads, width) for part in np.split(a, 3)],
            lambda *kernels: np.concatenate([k.reshape(dim, dim).T for k in kernels]),
        ),
        _Entry(
            f"{key}.qkv.bias",
            [d.bias for d in three],
            lambda a: [part.reshape(heads, width) for part in np.split(a, 3)],
            lambda *biases: np.concatenate([b.reshape(dim) for b in biases]),
        ),
        _Entry(
            f"{key}.proj.weight",
            [layer.output_dense.kernel],
            lambda a: [a.T.reshape(heads, width, dim)],
            lambda k: k.reshape(dim, dim).T,
        ),
        _vector(f"{key}.proj.bias", layer.output_dense.bias),
    ]


def _embedding(key, layer) -> _Entry:
    return _Entry(key, [layer.embeddings], lambda a: [a[0]], lambda e: e[None])


def _backbone_entries(backbone: keras.Model, prefix: str) -> list[_Entry]:
    """The entries of a ResNet or ViT of this package, in the order of its layers.

    Raises:
        ValueError: if a variable of the model has no counterpart.
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
            f"Received: {backbone.name} with {_some(left) or 'no weights'}"
        )
    return entries


def _layer_entries(key, layer) -> list[_Entry]:
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


def _model_entries(model) -> list[_Entry]:
    entries = []
    for kind, prefix in PRE.items():
        entries += _backbone_entries(_backbone_of(model, kind), prefix)
        hidden, projection = (
            _encoder_of(model, kind).layers[-1].get_layer(name) for name in ("hidden", "projection")
        )
        entries += _dense(f"{prefix}fc.0", hidden) + _dense(f"{prefix}fc.2", projection)
    if model.key_queue is not None:
        queue = model.key_queue
        entries.append(_Entry("queue", [queue.keys], lambda a: [a.T], lambda k: k.T))
        entries.append(_Entry("queue_ptr", [queue.pointer], lambda a: [a[0]], lambda p: p[None]))
    return entries


def _is_leoclr(model) -> bool:
    return hasattr(model, "query_encoder") and hasattr(model, "key_encoder")


def _encoder_of(model, kind):
    return model.query_encoder if kind == "query" else model.key_encoder


def _backbone_of(model, kind):
    return _encoder_of(model, kind).layers[1]


def _has_token(backbone) -> bool:
    return any(layer.name == "class_token" for layer in backbone.layers)


def stem_of(backbone) -> str | None:
    """The stem of a ResNet, from the geometry of its first layers."""
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


# === Architectures from shapes ===


def _resnet_of(weights, input_shape, stem, path) -> keras.Model:
    depths, widths = [], []
    while f"layer{len(depths) + 1}.0.conv1.weight" in weights:
        stage = len(depths) + 1
        numbers = {int(m[1]) for k in weights if (m := re.match(rf"layer{stage}\.(\d+)\.", k))}
        depths.append(len(numbers))
        widths.append(weights[f"layer{stage}.0.conv1.weight"].shape[0])
    first = weights.get("conv1.weight")
    if first is None or first.ndim != 4 or not depths:
        raise TorchWeightsError(
            f"{path} must hold a ResNet with conv1 and layer1, or a ViT. Received: keys {_some(weights)}"
        )
    bottleneck = "layer1.0.conv3.weight" in weights
    second = weights.get("layer1.0.conv2.weight")
    if second is not None and second.ndim == 4 and second.shape[0] != second.shape[1]:
        raise TorchWeightsError(
            f"{path} must not have grouped convolutions. Received: layer1.0.conv2.weight {second.shape}"
        )
    stem = stem or ("imagenet" if first.shape[-1] == 7 else "cifar")
    if input_shape is None:
        side = 224 if stem == "imagenet" else 32
        input_shape = (side, side, first.shape[1])
    name = DEPTHS.get((tuple(depths), bottleneck), "resnet")
    return build_resnet(input_shape, depths, widths, bottleneck, stem, name)


def _vit_of(weights, num_heads, path) -> keras.Model:
    try:
        dim, channels, patch_size, _ = weights["patch_embed.proj.weight"].shape
        tokens = weights["pos_embed"].shape[1]
        depth = len({k.split(".")[1] for k in weights if k.startswith("blocks.")})
        # timm keeps the class token of networks that average the patches' tokens: not supported
        pool = "token" if "cls_token" in weights else "mean"
        side = round((tokens - (pool == "token")) ** 0.5)
        heads = num_heads or dim // 64
        if side**2 != tokens - (pool == "token"):
            raise ValueError(f"{tokens} position embeddings, no square of patches")
        return build_vit(
            patch_size, side * patch_size, dim, depth, heads, pool, channels, _vit_name(dim, depth)
        )
    except (KeyError, ValueError, ZeroDivisionError) as error:
        raise TorchWeightsError(
            f"{path} must hold a plain ViT, named as timm's vit_*_patch*. Received: {error}"
        ) from error


def _vit_name(dim, depth) -> str:
    return {192: "vit_tiny", 384: "vit_small", 768: "vit_base"}.get(dim, "vit") if depth == 12 else "vit"


# === Libraries that are only needed here ===


def _torch():
    try:
        import torch
    except ImportError as error:
        raise ImportError(
            "Files of torch.save need torch: pip install 'keras-leoclr[torch]'. .safetensors files do not"
        ) from error
    return torch


def _safetensors(part: str | None = None):
    try:
        import safetensors
        import safetensors.numpy
    except ImportError as error:
        raise ImportError(
            "`.safetensors` files need the library: pip install 'keras-leoclr[safetensors]'"
        ) from error
    return getattr(safetensors, part) if part else safetensors


def _some(names: Iterable[str], count: int = 5) -> str:
    names = list(names)
    more = f" and {len(names) - count} more" if len(names) > count else ""
    return ", ".join(map(str, names[:count])) + more


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
