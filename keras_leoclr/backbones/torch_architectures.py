"""Makes the network that a torch checkpoint belongs to, from the names and shapes of its tensors."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

import keras
import numpy as np

from keras_leoclr.backbones.resnet import build_resnet
from keras_leoclr.backbones.torch_report import TorchWeightsError, some
from keras_leoclr.backbones.vit import build_vit

DEPTHS = {
    ((2, 2, 2, 2), False): "resnet18",
    ((3, 4, 6, 3), False): "resnet34",
    ((3, 4, 6, 3), True): "resnet50",
    ((3, 4, 23, 3), True): "resnet101",
}


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


def vit_of(weights: dict[str, np.ndarray], num_heads: int | None, path: str | os.PathLike) -> keras.Model:
    """Makes a ViT with the width and depth of a state dict; its weights are random.

    Args:
        weights: timm's name -> array.
        num_heads: number of attention heads; None for width / 64.
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
