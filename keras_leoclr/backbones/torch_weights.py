"""Converts weights from and to torch: checkpoints of torchvision, timm, MoCo, lightly and solo-learn."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Iterable, Sequence

import keras
import numpy as np
import safetensors.numpy

from keras_leoclr.backbones.normalization import normalization_of
from keras_leoclr.backbones.torch_architectures import heads_of_file, resnet_of, told_heads, vit_of
from keras_leoclr.backbones.torch_files import PREFIXES, read_checkpoint, torch_package, whole_numbers
from keras_leoclr.backbones.torch_filling import fill
from keras_leoclr.backbones.torch_layout import (
    attention_of,
    backbone_entries,
    backbone_of,
    is_leoclr,
    model_entries,
    stem_of,
)
from keras_leoclr.backbones.torch_report import TorchReport, TorchWeightsError
from keras_leoclr.runs.files import whole_path


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

    It reads state dicts of torchvision's ResNets and of timm's ViTs, and the encoders in checkpoints of MoCo
    v1 and v2, lightly and solo-learn, with any prefix. The architecture follows from the shapes of the
    tensors. Only tensors are read: a file that would have to run code is refused.

    Args:
        path: path of a `.safetensors` file, or of a file of `torch.save` (`.pth`, `.pt`, `.tar`, `.ckpt`,
            `.bin`).
        input_shape: (H, W, C) of the images; by default of the size that the metadata of a `.safetensors`
            file name, else 224 x 224 for the "imagenet" stem and 32 x 32 for other stems. The size of a
            ViT's images follows from its position embeddings.
        stem: stem of a ResNet, see `resnet18`. By default the one that the file names, or that follows from
            its first kernel: "imagenet" for 7 x 7, "cifar" for 3 x 3, "lightly" for the names of lightly's
            own ResNets. solo-learn's networks for CIFAR need `stem="solo_learn"`, because they pad by 2
            pixels, which the file does not tell.
        encoder: "query", the default, or "key" for the momentum encoder of a checkpoint that has one.
        num_heads: number of attention heads of a ViT, which the shapes of the tensors do not tell. By
            default that which the file names, as files of `to_torch` do, or 12 for ViT-S in a checkpoint of
            MoCo v3, or that of timm's ViT of the same width, or else width / 64. The report says which.
        allow_missing: keys, or beginnings of keys, that may be missing in the file; () by default.
        allow_unexpected: keys, or beginnings of keys, of the encoder that may be ignored; () by default.
        verbose: whether to print the report of keys; True by default.

    Returns:
        A backbone of this package, (B, H, W, C) -> (B, features).

    Raises:
        TorchWeightsError: if the file is damaged, holds code, or is of another architecture.
    """
    checkpoint = read_checkpoint(path)
    if encoder not in PREFIXES:
        raise ValueError(f'`encoder` must be "query" or "key". Received: encoder={encoder!r}')
    weights = checkpoint.encoder(encoder)
    if "patch_embed.proj.weight" in weights:
        width = weights["patch_embed.proj.weight"].shape[:1]
        heads, why = heads_of_file(checkpoint, *(width or (0,)), num_heads)
        backbone, notes = vit_of(weights, heads, path), (f"attention heads: {heads}, {why}",)
    else:
        size = whole_numbers(checkpoint.metadata, "image_size")
        if input_shape is None and size and "conv1.weight" in weights:
            input_shape = (size[0], size[-1], weights["conv1.weight"].shape[1])
        backbone = resnet_of(weights, input_shape, stem or checkpoint.metadata.get("stem"), path)
        notes = ()
    report = fill(backbone_entries(backbone, PREFIXES[encoder]), checkpoint, allow_missing, allow_unexpected)
    if verbose:
        print(dataclasses.replace(report, notes=notes))
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
        model: a backbone of this package, or a `LeOCLR` with one. A `LeOCLR` gets query encoder, key encoder,
            projection heads and, from a checkpoint of MoCo v2, the queue. Its training then continues where
            the checkpoint was written, except that the optimizer's momentum starts from zero.
        path: path of the file, see `from_torch`.
        encoder: encoder of the file that a backbone gets, "query" (the default) or "key".
        allow_missing: keys, or beginnings of keys, that may be missing in the file, such as `["queue"]`.
        allow_unexpected: keys, or beginnings of keys, of the encoder that may be ignored.

    Returns:
        A report of which keys were used.

    Raises:
        TorchWeightsError: if the file is damaged, holds code, or does not fit; nothing is loaded then.
    """
    checkpoint = read_checkpoint(path)
    if encoder not in PREFIXES:
        raise ValueError(f'`encoder` must be "query" or "key". Received: encoder={encoder!r}')
    entries = model_entries(model) if is_leoclr(model) else backbone_entries(model, PREFIXES[encoder])
    backbone = backbone_of(model, "query") if is_leoclr(model) else model
    stem = stem_of(backbone)
    if checkpoint.metadata.get("stem", stem) != stem:
        raise TorchWeightsError(
            f"{path} must fit the model. Nothing was loaded. Received: a file of a network with "
            f"stem={checkpoint.metadata['stem']!r}, a model with stem={stem!r}"
        )
    notes = ()
    attention = attention_of(backbone)
    if attention and f"{PREFIXES[encoder]}patch_embed.proj.weight" in checkpoint.arrays:
        width, heads = attention
        told = told_heads(checkpoint, width)
        if told and told[0] != heads:
            raise TorchWeightsError(
                f"{path} must fit the model. Nothing was loaded. Received: a file of a ViT with {told[0]} "
                f"attention heads, {told[1]}, a model with {heads}"
            )
        notes = (f"attention heads: {heads}, {told[1] if told else 'those of the model'}",)
    report = fill(entries, checkpoint, allow_missing, allow_unexpected)
    return dataclasses.replace(report, notes=notes)


def to_torch(model: keras.Model, path: str | os.PathLike, encoder: str = "query") -> dict[str, tuple]:
    """Writes a backbone with the tensor names of torchvision (ResNets) or timm (ViTs).

    `torchvision.models.resnet50()`, or timm's model of the same architecture, loads the file with
    `load_state_dict(..., strict=False)`; only the classifier is then missing. Programs that convert from
    torchvision can read it too, such as detectron2's `convert-torchvision-to-d2.py`. The file is written
    whole or not at all. It has no place for a first layer that normalises: mean and deviation of such a layer
    are written as `mean` and `std` into the metadata of a `.safetensors` file, beside the `image_size`, and
    images must be normalised before they enter the network.

    Args:
        model: a backbone of this package; or a `LeOCLR` with one, of which the backbone of one encoder is
            written, without the projection head.
        path: path of the file, `.safetensors` (which also names the architecture, the encoder and the stem of
            a ResNet or the number of attention heads of a ViT), `.pth` or `.pt`.
        encoder: encoder of a `LeOCLR`, "query" (the default) or "key".

    Returns:
        Key -> shape of every tensor that was written.
    """
    if encoder not in PREFIXES:
        raise ValueError(f'`encoder` must be "query" or "key". Received: encoder={encoder!r}')
    path = pathlib.Path(path).expanduser()
    backbone = backbone_of(model, encoder) if is_leoclr(model) else model
    weights = {}
    for entry in backbone_entries(backbone, ""):
        arrays = [np.asarray(keras.ops.convert_to_numpy(v), "float32") for v in entry.variables]
        weights[entry.key] = np.ascontiguousarray(entry.to_torch(*arrays))
        if entry.key.endswith("running_var"):
            counter = entry.key.replace("running_var", "num_batches_tracked")
            weights[counter] = np.zeros((), "int64")
    metadata = {"format": "pt", "architecture": backbone.name, "encoder": encoder}
    if stem := stem_of(backbone):
        metadata["stem"] = stem
    if attention := attention_of(backbone):
        metadata["num_heads"] = str(attention[1])
    if all(sides := backbone.input_shape[1:3]):
        metadata["image_size"] = ",".join(map(str, dict.fromkeys(sides)))
    if normalization := normalization_of(backbone):
        metadata |= {
            name: ",".join(map(str, values))
            for name, values in zip(("mean", "std"), normalization, strict=True)
        }
    if path.suffix not in (".safetensors", ".pth", ".pt"):
        raise ValueError(f"`path` must end in .safetensors, .pth or .pt. Received: path={path}")
    with whole_path(path) as partial:
        if path.suffix == ".safetensors":
            safetensors.numpy.save_file(weights, partial, metadata)
        else:
            torch = torch_package()
            torch.save({key: torch.from_numpy(value.copy()) for key, value in weights.items()}, partial)
    return {key: value.shape for key, value in weights.items()}
