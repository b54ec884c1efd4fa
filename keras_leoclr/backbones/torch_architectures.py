"""Makes the network that a torch checkpoint belongs to, from the names and shapes of its tensors."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

import keras
import numpy as np

from keras_leoclr.backbones.resnet import build_resnet
from keras_leoclr.backbones.torch_files import Checkpoint, whole_numbers
from keras_leoclr.backbones.torch_report import TorchWeightsError, some
from keras_leoclr.backbones.vit import build_vit

DEPTHS = {
    ((2, 2, 2, 2), False): "resnet18",
    ((3, 4, 6, 3), False): "resnet34",
    ((3, 4, 6, 3), True): "resnet50",
    ((3, 4, 23, 3), True): "resnet101",
}
# Number of attention heads by width: ViT-Ti, S, B, L, H and g of timm, and ViT-H of MAE.
HEADS = {192: 3, 384: 6, 768: 12, 1024: 16, 1280: 16, 1408: 16}
MOCO_V3_HEADS = {**HEADS, 384: 12}  # vits.py of MoCo v3


def resnet_of(
    weights: dict[str, np.ndarray],
    input_shape: Sequence[int] | None,
    stem: str | None,
    path: str | os.PathLike,
) -> keras.Model:
    """Makes a ResNet with the depths and widths of a state dict; its weights are random.

    Args:
        weights: torchvision's name -> array.
        input_shape: (H, W, C) of the images; None for 224 x 224 with the "imagenet" stem, else 32 x 32.
        stem: stem, see `resnet18`; None for the one that follows from the size of the first kernel.
        path: path of the file, for messages.

    Raises:
        TorchWeightsError: if these are not the weights of a ResNet.
    """
    depths, widths = [], []
    while f"layer{len(depths) + 1}.0.conv1.weight" in weights:
        stage = len(depths) + 1
        numbers = {int(m[1]) for k in weights if (m := re.match(rf"layer{stage}\.(\d+)\.", k))}
        depths.append(len(numbers))
        widths.append(weights[f"layer{stage}.0.conv1.weight"].shape[0])
    first = weights.get("conv1.weight")
    if first is None or first.ndim != 4 or not depths:
        raise TorchWeightsError(
            f"{path} must hold a ResNet with conv1 and layer1, or a ViT. Received: keys {some(weights)}"
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


def told_heads(checkpoint: Checkpoint, width: int) -> tuple[int, str] | None:
    """Number of attention heads of a ViT, if a file tells it, and how it does.

    Args:
        checkpoint: content of the file. It tells the number by `num_heads` in its metadata, or by the names
            of its tensors if they are those of MoCo v3, whose ViT-S has 12 heads.
        width: number of features of the ViT.
    """
    named = whole_numbers(checkpoint.metadata, "num_heads")
    if len(named) == 1:
        return named[0], "as the metadata of the file say"
    moco_v3 = any(re.match(r"(module\.)*base_encoder\.", name) for name in checkpoint.original.values())
    if moco_v3 and width in MOCO_V3_HEADS:
        return MOCO_V3_HEADS[width], f"those of MoCo v3's ViT of width {width}"
    return None


def heads_of_file(checkpoint: Checkpoint, width: int, given: int | None) -> tuple[int | None, str]:
    """Number of attention heads of the ViT in a file, which the shapes of its tensors do not tell.

    Args:
        checkpoint: content of the file.
        width: number of features of the ViT.
        given: the number that the caller gave; None for that of `told_heads`, or else of `HEADS`, or else
            width / 64.

    Returns:
        The number, None if it cannot be known, and words that say where it is from.
    """
    if given is not None:
        return given, "as `num_heads` says"
    if told := told_heads(checkpoint, width):
        return told
    if width in HEADS:
        return HEADS[width], f"those of timm's ViT of width {width}"
    if not width or width % 64:
        return None, ""
    return width // 64, (
        f"assumed as width / 64, because the file does not tell it and width {width} is none of timm's usual "
        "ones; `num_heads` of `from_torch` gives another number"
    )


def vit_of(weights: dict[str, np.ndarray], num_heads: int | None, path: str | os.PathLike) -> keras.Model:
    """Makes a ViT with the width and depth of a state dict; its weights are random.

    Args:
        weights: timm's name -> array.
        num_heads: number of attention heads, see `heads_of_file`; None if it is not known.
        path: path of the file, for messages.

    Raises:
        TorchWeightsError: if these are not the weights of a plain ViT.
    """
    try:
        dim, channels, patch_size, _ = weights["patch_embed.proj.weight"].shape
        tokens = weights["pos_embed"].shape[1]
        depth = len({k.split(".")[1] for k in weights if k.startswith("blocks.")})
        # Networks of timm that average the patches' tokens and have a class token too are not supported.
        pool = "token" if "cls_token" in weights else "mean"
        side = round((tokens - (pool == "token")) ** 0.5)
        if side**2 != tokens - (pool == "token"):
            raise ValueError(f"{tokens} position embeddings, no square of patches")
        if not num_heads or num_heads < 0:
            raise ValueError(f"a width of {dim}, for which `from_torch` needs `num_heads`, at least 1")
        name = _vit_name(dim, depth, num_heads)
        return build_vit(patch_size, side * patch_size, dim, depth, num_heads, pool, channels, name)
    except (KeyError, ValueError) as error:
        raise TorchWeightsError(
            f"{path} must hold a plain ViT, named as timm's vit_*_patch*. Received: {error}"
        ) from error


def _vit_name(dim, depth, heads) -> str:
    names = {192: "vit_tiny", 384: "vit_small", 768: "vit_base"}
    return names.get(dim, "vit") if depth == 12 and heads == HEADS.get(dim) else "vit"
