"""The backbone that a task starts from, by one name: a file, a run, torch weights or random ones."""

from __future__ import annotations

import json
import os
import pathlib
from collections.abc import Sequence

import keras

from keras_leoclr.backbones.resnet import resnet18, resnet34, resnet50, resnet101, resnet_small
from keras_leoclr.backbones.torch_weights import TORCH_SUFFIXES, from_torch

# What `architecture` may name: CNNs, which have a pyramid.
NETWORKS = {f.__name__: f for f in (resnet18, resnet34, resnet50, resnet101, resnet_small)}
RANDOM = "random"


def starting_backbone(source: str | os.PathLike, architecture: str = "resnet18") -> keras.Model:
    """A backbone that takes raw images.

    Args:
        source: a `.keras` file of a backbone, the folder of a run, a file of torch weights (see
            `from_torch`), or "random" for new weights, drawn from Keras' global seed.
        architecture: with "random", what gets them: one of `NETWORKS` or, to compare with it, a file or the
            folder of a run.

    Returns:
        A functional model of images (B, H, W, 3), values in [0, 255]. One that does not begin with a
        `Normalization` layer gets it: mean and deviation are those of the `recipe.json` beside the file, else
        ImageNet's.

    Raises:
        ValueError, FileNotFoundError: if there is no such file, or it holds no backbone of colour images.
    """
    if source != RANDOM:
        return _load(source)
    if architecture in NETWORKS:
        return _normalising(NETWORKS[architecture](), None)
    if not os.path.exists(architecture):
        raise ValueError(
            f"`architecture` must be one of {', '.join(NETWORKS)}, or a file or run to take it from. "
            f"Received: architecture={architecture!r}"
        )
    return keras.models.clone_model(_load(architecture))


def _load(path: str | os.PathLike) -> keras.Model:
    path = pathlib.Path(path).expanduser()
    if path.is_dir():
        path = path / "backbone.keras"
    if not path.is_file():
        raise FileNotFoundError(
            "`backbone` must be a .keras file, the folder of a finished run, a file of torch weights or "
            f'"{RANDOM}". Received: {path}, which does not exist'
        )
    if path.suffix in (*TORCH_SUFFIXES, ".safetensors"):
        return _normalising(from_torch(path, verbose=False), path.parent)
    try:
        backbone = keras.saving.load_model(path, compile=False)
    except (ValueError, TypeError, OSError, KeyError) as error:
        words = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ValueError(
            f"`backbone` must be a .keras file of stock layers. Received: {path}: {words}"
        ) from error
    return _normalising(backbone, path.parent)


def _normalising(backbone: keras.Model, folder: pathlib.Path | None) -> keras.Model:
    if backbone.input_shape[-1] != 3:
        raise ValueError(
            f"`backbone` must take images of 3 channels. Received: input_shape={backbone.input_shape}"
        )
    if isinstance(backbone.layers[min(1, len(backbone.layers) - 1)], keras.layers.Normalization):
        return backbone
    from keras_leoclr.views import IMAGENET_MEAN, IMAGENET_STD

    mean, std = IMAGENET_MEAN, IMAGENET_STD
    settings = None if folder is None else folder / "recipe.json"
    if settings is not None and settings.is_file():
        recipe = json.loads(settings.read_text(encoding="utf-8"))
        mean, std = recipe.get("mean", mean), recipe.get("std", std)
    return _with_normalization(backbone, mean, std)


def _with_normalization(backbone: keras.Model, mean: Sequence[float], std: Sequence[float]) -> keras.Model:
    """The same layers behind a Normalization."""
    if isinstance(backbone, keras.Sequential):
        backbone = keras.Model(backbone.inputs, backbone.outputs, name=backbone.name)
    images = keras.Input(backbone.input_shape[1:], name="images")
    layer = keras.layers.Normalization(
        mean=[255.0 * v for v in mean], variance=[(255.0 * v) ** 2 for v in std], dtype="float32"
    )
    normalised = layer(images)

    def call(operation, *args, **kwargs):
        args, kwargs = keras.tree.map_structure(lambda t: normalised if t is images else t, (args, kwargs))
        return operation(*args, **kwargs)

    inputs = keras.tree.map_structure(lambda _: images, backbone.input)
    return keras.models.clone_model(
        backbone, input_tensors=inputs, clone_function=lambda layer: layer, call_function=call
    )
