"""Recognises which network of this package a model is, from its layers and the shapes of its weights."""

from __future__ import annotations

import re
from typing import Any

import keras

from keras_leoclr.backbones.builders import BUILDERS
from keras_leoclr.backbones.torch_architectures import DEPTHS
from keras_leoclr.backbones.torch_layout import stem_of

OTHER = "initial_weights"  # value of a recipe's `backbone` that takes the network from the file of weights


def settings_of(backbone: keras.Model) -> dict[str, Any]:
    """Returns the settings of a recipe that make a network: `backbone`, `stem`, `widths` and `patch_size`.

    Args:
        backbone: a model that takes normalised images.

    Returns:
        The settings by name, only those that this kind of network needs. For a network that no recipe can
        make, `backbone` is "initial_weights"; if it is a ResNet, its `stem` is returned too.
    """
    stem = stem_of(backbone)
    other = {"backbone": OTHER} | ({"stem": stem} if stem else {})
    found = _of_resnet(backbone) if stem else _of_vit(backbone)
    if not found:
        return other
    settings, options = found
    try:
        made = BUILDERS[settings["backbone"]](**options)
    except ValueError:  # for example, if the patch size does not divide the image size
        return other
    return settings if form_of(made) == form_of(backbone) else other


def form_of(backbone: keras.Model) -> list[tuple]:
    """Lists the classes of the layers that have weights, in order, with the shapes of the weights."""
    return [
        (type(layer).__name__, tuple(tuple(weight.shape) for weight in layer.weights))
        for layer in backbone.layers
        if layer.weights
    ]


def _of_resnet(backbone: keras.Model) -> tuple[dict[str, Any], dict[str, Any]] | None:
    names, depths, widths = {layer.name: layer for layer in backbone.layers}, [], []
    while (first := f"stage{len(depths) + 1}_block1_1_conv") in names:
        pattern = rf"stage{len(depths) + 1}_block\d+_1_conv"
        depths.append(sum(bool(re.fullmatch(pattern, name)) for name in names))
        widths.append(names[first].filters)
    stem, shape = stem_of(backbone), backbone.input_shape[1:]
    name = DEPTHS.get((tuple(depths), "stage1_block1_3_conv" in names))
    if name is not None and widths[0] == 64:
        return {"backbone": name, "stem": stem}, {"input_shape": shape, "stem": stem}
    if set(depths) != {1}:
        return None
    made = {"widths": tuple(widths), "stem": stem}
    return {"backbone": "resnet_small", **made}, {"input_shape": shape, **made}


def _of_vit(backbone: keras.Model) -> tuple[dict[str, Any], dict[str, Any]] | None:
    patches = next((layer for layer in backbone.layers if layer.name == "patch_embed"), None)
    name = {192: "vit_tiny", 384: "vit_small", 768: "vit_base"}.get(getattr(patches, "filters", None))
    if name is None:
        return None
    size = patches.kernel_size[0]
    options = {"patch_size": size, "image_size": backbone.input_shape[1], "channels": backbone.input_shape[3]}
    return {"backbone": name, "patch_size": size}, options
