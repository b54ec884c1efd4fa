"""Reads files of torch and safetensors, and renames their tensors in one way.

The names are those of MoCo: `encoder_q.` and `encoder_k.` before the names of torchvision or timm, `fc.0` and
`fc.2` for the projection head, `queue` and `queue_ptr`. Checkpoints of torchvision, timm, MoCo, lightly and
solo-learn can be read.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
import re
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from keras_leoclr.backbones.torch_report import TorchWeightsError, first_line, some

PREFIXES = {"query": "encoder_q.", "key": "encoder_k."}
TORCH_SUFFIXES = (".pth", ".pt", ".ckpt", ".tar", ".bin")


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """The content of a file, with names as in MoCo.

    Attributes:
        path: path of the file.
        arrays: name -> array. Tensors that were recognised have MoCo's names, the others their own.
        original: name in `arrays` -> name in the file.
        metadata: metadata of a safetensors file; empty for other files.
    """

    path: str
    arrays: dict[str, np.ndarray]
    original: dict[str, str]
    metadata: dict[str, str]

    def encoder(self, encoder: str) -> dict[str, np.ndarray]:
        """Returns the tensors of the "query" or "key" encoder, with the names of torchvision or timm."""
        prefix = PREFIXES[encoder]
        found = {k.removeprefix(prefix): v for k, v in self.arrays.items() if k.startswith(prefix)}
        if not found:
            others = "only a query encoder" if encoder == "key" and self._has_query() else "no encoder"
            raise TorchWeightsError(
                f"{self.path} must hold a {encoder} encoder: a ResNet named as torchvision's or a ViT named "
                f"as timm's, with any prefix. Received: {others}, keys {some(self.original.values())}"
            )
        return found

    def _has_query(self) -> bool:
        return any(key.startswith(PREFIXES["query"]) for key in self.arrays)


def read_checkpoint(path: str | os.PathLike) -> Checkpoint:
    """Reads the tensors of a file; none of its content can run code.

    Raises:
        FileNotFoundError: if there is no such file.
        TorchWeightsError: if the file is damaged, holds other objects than tensors, or has an unknown ending.
    """
    path = pathlib.Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"`path`: no such file. Received: {path}")
    metadata = {}
    if path.suffix == ".safetensors":
        metadata, arrays = read_metadata(path), _read_safetensors(path)
    elif path.suffix in TORCH_SUFFIXES:
        arrays = _read_torch(path)
    else:
        raise TorchWeightsError(
            f"`path` must end in .safetensors or {', '.join(TORCH_SUFFIXES)}. Received: path={path}"
        )
    original = _moco_names(arrays, path)
    if any(re.search(r"(^|\.)2\.0\.conv1\.weight$", key) for key in arrays):
        metadata = {"stem": "lightly", **metadata}  # a Sequential of lightly's ResNet
    return Checkpoint(str(path), {new: arrays[old] for new, old in original.items()}, original, metadata)


def read_metadata(path: str | os.PathLike) -> dict[str, str]:
    """Reads the metadata of a safetensors file, without its tensors; {} if it has none.

    Raises:
        TorchWeightsError: if the file is damaged.
    """
    with _opened(path) as file:
        return file.metadata() or {}


def whole_numbers(metadata: dict[str, str], name: str) -> tuple[int, ...]:
    """Returns the whole numbers > 0 of an entry, as "28" or "28,32"; () if it is missing or holds others."""
    parts = metadata.get(name, "").split(",")
    numbers = tuple(int(part) for part in parts if part.isdecimal())
    return numbers if len(numbers) == len(parts) and all(numbers) else ()


def _read_safetensors(path):
    with _opened(path) as file:
        return {key: _float32(np.asarray(file.get_tensor(key))) for key in file.keys()}


@contextlib.contextmanager
def _opened(path):
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            yield file
    except (safetensors.SafetensorError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise TorchWeightsError(f"{path} must be a whole safetensors file. Received: {error}") from error


def _begins_like_torch(path):
    """Whether a file begins like a file of `torch.save`: a ZIP archive or, from old versions, a pickle."""
    with path.open("rb") as file:
        return file.read(4)[:2] in (b"PK", b"\x80\x02")


def _read_torch(path):
    torch = torch_package()
    try:
        # `weights_only` reads only tensors and plain containers; content that would run code is an error.
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many types of errors for damaged files
        named = "weights_only" in str(error) or "Unsupported" in str(error)
        if named and _begins_like_torch(path):
            raise TorchWeightsError(
                f"{path} must hold tensors only. Received: a pickle with other Python objects in it, which "
                "could run code when loaded. If you trust the file, save its state dict alone and load "
                f"that.\n{first_line(error)}"
            ) from error
        raise TorchWeightsError(
            f"{path} must be a whole file of torch.save. "
            f"Received: {type(error).__name__}: {first_line(error)}"
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
    """Returns {name as in MoCo: name in the file}; tensors that are not recognised keep their names."""
    anchor = re.compile(r"((?:.*\.)?)(?:layer1\.0\.conv1|[24]\.0\.conv1|patch_embed\.proj)\.weight")
    prefixes = sorted({match[1] for key in arrays if (match := anchor.fullmatch(key))})
    encoders = {}
    for kind in PREFIXES:
        found = [p for p in prefixes if _is_momentum(p) == (kind == "key")]
        if len(found) > 1:
            raise TorchWeightsError(
                f"{path} must hold one {kind} encoder. Received: encoders at {', '.join(map(repr, found))}"
            )
        encoders |= {found[0]: kind} if found else {}
    names = {}
    for key in arrays:
        new = key.removeprefix("module.")
        # The longest prefix is tried first, because the prefix of torchvision's names is empty and fits all.
        for prefix in sorted(encoders, key=len, reverse=True):
            if key.startswith(prefix):
                inner = _torchvision_name(key.removeprefix(prefix), f"{prefix}2.0.conv1.weight" in arrays)
                new = PREFIXES[encoders[prefix]] + inner
                break
        else:
            # MoCo of lightly and of solo-learn has the projection head beside the encoder, not within it.
            head = re.fullmatch(r"(?:module\.|model\.)*(.*?)(?:layers\.)?([02])\.(weight|bias)", key)
            if head and head.group(1).strip(".") in HEADS:
                kind = "key" if _is_momentum(key) else "query"
                new = f"{PREFIXES[kind]}fc.{head.group(2)}.{head.group(3)}"
        names[new] = key
    return names


HEADS = ("projection_head", "projector", "projection_head_momentum", "momentum_projector")


def _is_momentum(prefix: str) -> bool:
    return bool(re.search(r"encoder_k\b|momentum|teacher|target|ema\b", prefix))


def _torchvision_name(key: str, without_pooling: bool) -> str:
    """Replaces the numbers of modules in an `nn.Sequential`, as lightly makes it, by torchvision's names."""
    number, _, rest = key.partition(".")
    if number.isdigit():
        # torchvision's modules are conv1, bn1, relu, maxpool, layer1...; lightly's are conv1, bn1, layer1...
        shift = 1 if without_pooling else 3
        number = {0: "conv1", 1: "bn1"}.get(int(number), f"layer{int(number) - shift}")
        key = f"{number}.{rest}"
    return key.replace(".shortcut.", ".downsample.")


def torch_package() -> Any:
    """Imports and returns `torch`, which only files of `torch.save` need.

    Raises:
        ImportError: if torch is not installed; the message says what to install.
    """
    try:
        import torch
    except ImportError as error:
        raise ImportError(
            "Files of torch.save need torch: pip install 'keras-leoclr[torch]'. .safetensors files do not"
        ) from error
    return torch
