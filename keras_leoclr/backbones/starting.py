"""Loads the backbone that a downstream task starts from: a file, a run, torch weights or random weights."""

from __future__ import annotations

import os
import pathlib

import keras

from keras_leoclr.backbones.builders import CNNS
from keras_leoclr.backbones.copying import copy_of
from keras_leoclr.backbones.known_numbers import image_numbers
from keras_leoclr.backbones.loading import load
from keras_leoclr.backbones.normalization import first_layer, takes_raw, with_normalization
from keras_leoclr.runs.folder import RunFolder
from keras_leoclr.views.settings import IMAGENET_MEAN, IMAGENET_STD

RANDOM = "random"


def starting_backbone(
    source: str | os.PathLike, architecture: str = "resnet18", any_channels: bool = False
) -> keras.Model:
    """A backbone that takes raw images.

    Args:
        source: a `.keras` file of a backbone, the folder of a run, a file of torch weights (each as `load`
            takes it), or "random" for new weights, drawn from Keras' global seed.
        architecture: with "random", the network that gets them: the name of a ResNet of this package or, to
            compare with it, a file or the folder of a run.
        any_channels: whether its images may have other numbers of channels than 3.

    Returns:
        A functional model of images (B, H, W, 3), values in [0, 255]. If the backbone does not normalise
        images by itself, it gets a `Rescaling` layer, with mean and deviation of the metadata of a
        `.safetensors` file or of the recipe of the run that the file lies in, see `image_numbers`, or else
        of ImageNet.

    Raises:
        ValueError, FileNotFoundError: if there is no such file, or it holds no backbone for colour images;
            see `load`.
    """
    if source != RANDOM:
        return _load(source, any_channels)
    if architecture in CNNS:
        return taking_raw_images(CNNS[architecture]())
    if not os.path.exists(os.path.expanduser(architecture)):
        raise ValueError(
            f"`architecture` must be one of {', '.join(CNNS)}, or a file or run to take it from. "
            f"Received: architecture={architecture!r}"
        )
    return copy_of(_load(architecture), weights=False)


def _load(path: str | os.PathLike, any_channels: bool = False) -> keras.Model:
    path = pathlib.Path(path).expanduser()
    if path.is_dir():
        path = RunFolder(path).backbone_file
    if not path.is_file():
        raise FileNotFoundError(
            "`backbone` must be a .keras file, the folder of a finished run, a file of torch weights or "
            f'"{RANDOM}". Received: {path}, which does not exist'
        )
    return taking_raw_images(load(path, verbose=False), path, any_channels)


def taking_raw_images(
    backbone: keras.Model, path: pathlib.Path | None = None, any_channels: bool = False
) -> keras.Model:
    """The backbone itself if it normalises images, else with a layer that does.

    Args:
        backbone: (B, H, W, 3) -> features or feature maps.
        path: path of the file that it was read from, for mean and deviation, see `image_numbers`; they are
            ImageNet's if that does not tell them, or if it is None.
        any_channels: whether its images may have other numbers of channels than 3.

    Raises:
        ValueError: if it does not take images of 3 channels, unless others are allowed; or if nothing tells
            mean and deviation of other channels.
    """
    if backbone.input_shape[-1] != 3 and not any_channels:
        raise ValueError(
            f"`backbone` must take images of 3 channels. Received: input_shape={backbone.input_shape}"
        )
    stock = isinstance(first_layer(backbone), (keras.layers.Rescaling, keras.layers.Normalization))
    if stock or takes_raw(backbone):
        return backbone
    known = None if path is None else image_numbers(path)
    if known is None and backbone.input_shape[-1] != len(IMAGENET_MEAN):
        raise ValueError(
            "`backbone` must normalise images by itself, as `kl.backbones.with_normalization(backbone, mean, "
            "std)` makes it, or lie in the folder of its run: ImageNet's mean and deviation, which are taken "
            f"otherwise, are those of 3 channels. Received: input_shape={backbone.input_shape}"
        )
    return with_normalization(backbone, *(known or (IMAGENET_MEAN, IMAGENET_STD)))
