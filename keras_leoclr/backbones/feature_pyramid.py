"""The feature maps of a backbone, one for each stride, for detection and segmentation."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import keras

from keras_leoclr.backbones.copying import copy_of
from keras_leoclr.backbones.graph import in_order
from keras_leoclr.backbones.pooling import check_channels_last

# These layers change the size of a feature map, but do not begin a stage of the network.
_PADDING = (keras.layers.ZeroPadding2D, keras.layers.Cropping2D)


def pyramid(backbone: keras.Model, input_shape: Sequence[int] | None = None) -> keras.Model:
    """Makes a model that returns the last feature map of every stage of a backbone.

    For each size, it takes the last feature map that every path from the images to the features goes
    through. In a ResNet this is the end of a stage; the names of layers do not matter, so it also works for
    networks of other libraries. Branches, such as a squeeze of channels, are not stages.

    Args:
        backbone: functional or Sequential CNN with channels last, (B, H, W, C) -> (B, features) or a feature
            map: a ResNet of this package with any stem, a model from a file, or one of another library.
        input_shape: (H, W, C) of the images that the pyramid takes. By default those of the backbone, whose
            layers and weights are then shared. For another size a copy with the same weights is made,
            because the layers of a functional model are bound to the size that it was made for.

    Returns:
        A functional model from images (B, H, W, C), in the range that the backbone takes, to a dictionary
        {"P2": (B, H / 4, W / 4, C2), "P3": ..., ...}, in which level n has stride 2**n. A ResNet with the
        "imagenet" stem has P2 to P5 (and P1, its stem), with "cifar" P0 to P3, `resnet_small` P1 to P3. The
        attribute `pyramid_level_inputs`, {level: name of a layer}, is needed by the models of keras-cv.

    Raises:
        ValueError: if there are no maps of two sizes or more, as in a ViT, or the size of the images is not
            known.
    """
    if not isinstance(backbone, keras.Model) or not getattr(backbone, "inputs", None):
        raise ValueError(
            "`backbone` must be a functional or Sequential Keras model. "
            f"Received: backbone of type {type(backbone).__name__}"
        )
    check_channels_last(backbone)
    if input_shape is not None and tuple(input_shape) != tuple(backbone.input_shape[1:]):
        backbone = resized(backbone, input_shape)
    height, width = backbone.input_shape[1:3]
    if not height or not width:
        raise ValueError(
            "`input_shape` must be given for a backbone of images of any size. "
            f"Received: backbone.input_shape={backbone.input_shape}"
        )
    levels: dict[int, Any] = {}
    smallest = math.inf  # not the size of the images: the maps of solo-learn's stem are larger than these
    for tensor in _maps_on_every_path(backbone.outputs[0]):
        side = tensor.shape[1]
        if side < smallest:
            # At least the level after the last one: for images of 8 x 8 pixels, maps of 5 x 5 and of 3 x 3
            # are both nearest to stride 2.
            level = max(round(math.log2(height / side)), max(levels, default=-1) + 1)
            smallest = side
        if side == smallest:
            levels[level] = tensor
    if len(levels) < 2:
        sizes = ", ".join(f"{t.shape[1]} x {t.shape[2]}" for t in levels.values()) or "no maps at all"
        raise ValueError(
            "`backbone` must be a CNN whose feature maps are of two sizes or more; a ViT has one size. "
            f"Received: backbone {backbone.name!r} with {sizes}"
        )
    outputs = {f"P{n}": keras.layers.Identity(name=f"P{n}")(tensor) for n, tensor in levels.items()}
    model = keras.Model(backbone.inputs[0], outputs, name=f"{backbone.name}_pyramid")
    model.pyramid_level_inputs = {name: name for name in outputs}
    return model


def resized(backbone: keras.Model, input_shape: Sequence[int]) -> keras.Model:
    """Copies a backbone, with its weights, for images of another size.

    Args:
        backbone: functional or Sequential model.
        input_shape: (H, W, C) of the images that the copy takes.

    Raises:
        ValueError: if its layers cannot take this size, as the position embeddings of a ViT cannot.
    """
    images = keras.Input(tuple(input_shape), name="images")
    tensors = images if isinstance(backbone, keras.Sequential) else _like(backbone.input, images)
    try:
        return copy_of(backbone, inputs=tensors)
    except ValueError as error:
        raise ValueError(
            f"`input_shape` must be one that backbone {backbone.name!r} can take, such as "
            f"{tuple(backbone.input_shape[1:])}. Received: input_shape={tuple(input_shape)}"
        ) from error


def _like(structure: Any, tensor: Any) -> Any:
    return keras.tree.map_structure(lambda _: tensor, structure)


def _maps_on_every_path(output: Any) -> Iterator[Any]:
    """Yields the feature maps (B, H, W, C) that every path to `output` goes through, in order of computation.

    The first one is the output of a layer with weights, because scaled images are not features.
    """
    nodes = in_order([output])
    last_use: dict[int, int] = {}
    for position, (_, inputs, _) in enumerate(nodes):
        for tensor in inputs:
            last_use[id(tensor)] = position
    open_until = -1  # the last position that needs a tensor made before the current one
    begun = False
    for position, (operation, _, outputs) in enumerate(nodes):
        scaling = isinstance(operation, keras.layers.Normalization)
        begun = begun or bool(getattr(operation, "weights", None) and not scaling)
        alone = len(outputs) == 1 and open_until <= position
        open_until = max([open_until, *(last_use.get(id(t), position) for t in outputs)])
        if begun and alone and len(outputs[0].shape) == 4 and not isinstance(operation, _PADDING):
            yield outputs[0]
