"""Loads the backbone that a downstream task starts from: a file, a run, torch weights or random weights."""

from __future__ import annotations

import os
import pathlib

import keras

from keras_leoclr.backbones.builders import CNNS
from keras_leoclr.backbones.copying import copy_of
from keras_leoclr.backbones.loading import load
from keras_leoclr.backbones.normalization import first_layer, takes_raw, with_normalization
from keras_leoclr.runs.folder import RunFolder
from keras_leoclr.views.settings import IMAGENET_MEAN, IMAGENET_STD

RANDOM = "random"


def starting_backbone(source: str | os.PathLike, architecture: str = "resnet18") -> keras.Model:
    """Loads or makes a backbone that takes raw images.

    Args:
        source: path of a `.keras` file of a backbone, of the folder of a run, or of torch weights (see
            `load`); or "random" for new weights, drawn with Keras' global seed.
        architecture: network for "random": the name of a ResNet of this package ("resnet18" by default), or
            the path of a file or run that has this network.

    Returns:
        A functional model of images (B, H, W, 3), values in [0, 255]. If the backbone does not normalise
        images by itself, it gets a `Rescaling` layer, with mean and deviation of the `recipe.json` beside
        the file, or else of ImageNet.

    Raises:
        ValueError, FileNotFoundError: if there is no such file, or it holds no backbone for colour images;
            see `load`.
    """
    if source != RANDOM:
        return _load(source)
    if architecture in CNNS:
        return taking_raw_images(CNNS[architecture]())
    if not os.path.exists(architecture):
        raise ValueError(
            f"`architecture` must be one of {', '.join(CNNS)}, or a file or run to take it from. "
            f"Received: architecture={architecture!r}"
        )
    return copy_of(_load(architecture), weights=False)


def _load(path: str | os.PathLike) -> keras.Model:
    path = pathlib.Path(path).expanduser()
    if path.is_dir():
        path = RunFolder(path).backbone_file
    if not path.is_file():
        raise FileNotFoundError(
            "`backbone` must be a .keras file, the folder of a finished run, a file of torch weights or "
            f'"{RANDOM}". Received: {path}, which does not exist'
        )
    return taking_raw_images(load(path, verbose=False), path.parent)


def taking_raw_images(backbone: keras.Model, folder: pathlib.Path | None = None) -> keras.Model:
    """Returns the backbone itself if it normalises images, else the backbone with a layer that does.

    Args:
        backbone: model from images (B, H, W, 3) to features or feature maps.
        folder: folder with the `recipe.json` that holds mean and deviation; those of ImageNet by default.

    Raises:
        ValueError: if the backbone does not take images with 3 channels.
    """
    if backbone.input_shape[-1] != 3:
        raise ValueError(
            f"`backbone` must take images of 3 channels. Received: input_shape={backbone.input_shape}"
        )
    stock = isinstance(first_layer(backbone), (keras.layers.Rescaling, keras.layers.Normalization))
    if stock or takes_raw(backbone):
        return backbone
    mean, std = IMAGENET_MEAN, IMAGENET_STD
    if folder is not None:
        recipe = RunFolder(folder).recipe()
        mean, std = recipe.get("mean", mean), recipe.get("std", std)
    return with_normalization(backbone, mean, std)
