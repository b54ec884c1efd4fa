"""Networks of `keras.applications`, keras-cv and KerasHub by name, without their preprocessing.

The preprocessing of a network, in its first layers or in the function `preprocess_input` beside it, is
removed and returned as a mean and a deviation. The views normalise with these numbers, so that the network
gets the images that it was made for, and the preprocessing is not applied twice.
"""

from __future__ import annotations

import difflib
import importlib
import pathlib
import re
import sys
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np

from keras_leoclr.backbones.names import LAST, library_of
from keras_leoclr.backbones.normalization import normalization_of, without_normalization
from keras_leoclr.backbones.own_preprocessing import WHITE, functional, rebuilt
from keras_leoclr.views.settings import IMAGENET_STD

Numbers = tuple[tuple[float, ...], tuple[float, ...]]

KERAS_CV_RESNETS = {
    "ResNet18": ((2, 2, 2, 2), "basic_block"),
    "ResNet34": ((3, 4, 6, 3), "basic_block"),
    "ResNet50": ((3, 4, 6, 3), "block"),
    "ResNet101": ((3, 4, 23, 3), "block"),
    "ResNet152": ((3, 8, 36, 3), "block"),
}


class Named(NamedTuple):
    """A network of another library.

    Attributes:
        backbone: model from normalised images (B, S, S, 3) to features (B, F).
        normalization: mean and deviation with which its images are normalised; None if its library does not
            tell them.
    """

    backbone: keras.Model
    normalization: Numbers | None


def named_backbone(name: str, image_size: int, weights: str | pathlib.Path | None = None) -> Named:
    """Makes a network of another library by its name.

    Args:
        name: `applications:NAME`, such as `applications:EfficientNetV2B0`, for `keras.applications`;
            `keras_cv:NAME` for a class of `keras_cv.models`, with or without "Backbone" at its end, or a
            preset; or `keras_hub:PRESET` for a preset of KerasHub or the folder of one. KerasHub and
            keras-cv (except for its ResNets) may download the configuration of a network; weights are never
            downloaded.
        image_size: S, side of the square images in pixels.
        weights: path of a `.weights.h5` or `.h5` file that Keras has saved for this network; None, the
            default, for random weights.

    Raises:
        ValueError: if there is no such network (the message suggests similar names), if it cannot be made
            for images of this size, or if the file holds the weights of another network.
        ImportError: if KerasHub is not installed.
    """
    library, called = library_of(name)
    make = {"applications": _application, "keras_cv": _of_keras_cv, "keras_hub": _of_keras_hub}[library]
    network, outside = make(called, (image_size, image_size, 3), name)
    if weights is not None:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", UserWarning)  # Keras only warns if weights stay unchanged
                network.load_weights(weights)
        except Exception as error:  # Keras and h5py raise many types of errors for weights that do not fit
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise ValueError(
                f"`initial_weights` must hold the weights of {name}. Received: initial_weights="
                f"{str(weights)!r}, which do not fit: {reason}"
            ) from error
    network = _with_features(network, name)
    numbers = normalization_of(network)
    if numbers is not None:
        if weights is not None and library == "applications" and re.fullmatch(r"EfficientNetB\d", called):
            numbers = _with_deviation(numbers)
        return Named(without_normalization(network), numbers)
    if outside is None:
        return Named(network, None)
    numbers, turned = _of_function(outside)
    return Named(_turned(network) if turned else network, numbers)


def _application(called: str, shape: tuple[int, ...], name: str) -> tuple[keras.Model, Callable | None]:
    known = {n: f for n, f in vars(keras.applications).items() if n[:1].isupper() and callable(f)}
    function = _known(called, known, name)
    options = {"include_top": False, "weights": None, "input_shape": shape, "pooling": "avg"}
    try:
        network = function(**options)
    except ValueError as error:  # such as images that are too small
        raise ValueError(
            f"`image_size` must be one that {name} can take: {str(error).splitlines()[0]} "
            f"Received: image_size={shape[0]}"
        ) from error
    return network, getattr(sys.modules[function.__module__], "preprocess_input", None)


def _with_deviation(numbers: Numbers) -> Numbers:
    """The numbers of an EfficientNet whose weights are those of ImageNet, with ImageNet's deviation.

    The files of these weights hold the deviation where `Normalization` has the variance, by whose root it
    divides. `keras.applications` divides by the root once more, in a layer of `weights="imagenet"` alone.
    """
    mean, std = numbers
    variance = np.square(std)
    if not np.allclose(variance, IMAGENET_STD, rtol=1e-5, atol=0):
        return numbers
    return mean, tuple(float(f"{value:.7g}") for value in variance)


def _of_keras_cv(called: str, shape: tuple[int, ...], name: str) -> tuple[keras.Model, None]:
    import keras_cv

    known = {n: c for n, c in vars(keras_cv.models).items() if n.endswith("Backbone") and n != "Backbone"}
    presets = {*getattr(keras_cv.models.Backbone, "presets", {})}
    options = {"input_shape": shape, "include_rescaling": True}
    if found := KERAS_CV_RESNETS.get(called.removesuffix("Backbone").removesuffix("V2")):
        blocks, block_type = found  # these can be made without asking the hub for a configuration
        made = keras_cv.models.ResNetV2Backbone if "V2" in called else keras_cv.models.ResNetBackbone
        stages = {"stackwise_filters": [64, 128, 256, 512], "stackwise_strides": [1, 2, 2, 2]}
        return made(stackwise_blocks=[*blocks], block_type=block_type, **stages, **options), None
    if called in presets:
        return _asking(
            lambda: keras_cv.models.Backbone.from_preset(called, load_weights=False, **options), name
        )
    kind = _known(called if called in known else f"{called}Backbone", known, name, presets)
    return _asking(lambda: kind(**options), name)


def _of_keras_hub(called: str, shape: tuple[int, ...], name: str) -> tuple[keras.Model, Callable | None]:
    try:
        hub = importlib.import_module("keras_hub")
    except ImportError as error:
        raise ImportError(f"`{name}` needs the package keras-hub: pip install keras-hub") from error

    def make():
        return hub.models.Backbone.from_preset(called, load_weights=False, image_shape=shape)

    network, _ = _asking(make, name)
    try:
        converter = hub.layers.ImageConverter.from_preset(called)
    except Exception:  # the preset has no converter; KerasHub raises several types of errors then
        return network, None
    scale, offset = (getattr(converter, part, None) for part in ("scale", "offset"))
    if scale is None and offset is None:
        return network, None
    scale, offset = 1.0 if scale is None else scale, 0.0 if offset is None else offset
    return network, lambda images: images * np.asarray(scale, "float32") + np.asarray(offset, "float32")


def _asking(make: Callable[[], keras.Model], name: str) -> tuple[keras.Model, None]:
    """Makes a network whose library may have to download its configuration."""
    try:
        return make(), None
    except Exception as error:  # without a connection, without an account, or for a wrong argument
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ValueError(
            f"`backbone` must be a network that its library can make here; it may have to download the form "
            f"of {name}. Received: {type(error).__name__}: {reason}"
        ) from error


def _known(called: str, known: dict[str, Any], name: str, more: Any = ()) -> Any:
    if called in known:
        return known[called]
    near = difflib.get_close_matches(called, [*known, *more], n=3)
    hint = f" Did you mean {' or '.join(near)}?" if near else ""
    library = {"applications": "keras.applications", "keras_cv": "keras_cv.models"}[library_of(name)[0]]
    raise ValueError(f"`backbone` must name a network of {library}.{hint} Received: backbone={name!r}")


def _with_features(network: keras.Model, name: str) -> keras.Model:
    """Returns a functional model of the same layers, from a tensor of images to one vector per image."""
    outputs = network.outputs
    if len(network.inputs) != 1 or len(outputs) != 1 or len(outputs[0].shape) not in (2, 4):
        shapes = [tuple(tensor.shape) for tensor in outputs]
        raise ValueError(
            "`backbone` must make one feature map (B, h, w, F) or vector (B, F) of each image. "
            f"Received: backbone={name!r}, which makes {shapes}"
        )
    features = outputs[0]
    if len(features.shape) == 4:
        features = keras.layers.GlobalAveragePooling2D(LAST, name="pool")(features)
    return keras.Model(network.inputs[0], features, name=network.name)


def _of_function(preprocess: Callable[[np.ndarray], Any]) -> tuple[Numbers | None, bool]:
    """Returns mean and deviation of a pixel function (None without effect); whether it makes BGR of RGB."""
    images = np.zeros((4, 1, 1, 3), "float32")
    for channel in range(3):
        images[channel + 1, 0, 0, channel] = WHITE
    black, *whites = np.asarray(preprocess(images), "float64")[:, 0, 0]
    places = [int(np.abs(white - black).argmax()) for white in whites]  # where each channel ends up
    factor = np.array([(whites[c] - black)[places[c]] / WHITE for c in range(3)])
    summand = black[places]
    if np.allclose(factor, 1) and np.allclose(summand, 0) and places == [0, 1, 2]:
        return None, False
    mean, std = -summand / (factor * WHITE), 1 / (factor * WHITE)
    return tuple(tuple(float(f"{value:.7g}") for value in part) for part in (mean, std)), places == [2, 1, 0]


def _turned(network: keras.Model) -> keras.Model:
    """Returns a network of the same layers that first reverses the order of the channels."""
    network = functional(network)
    images = keras.Input(network.input_shape[1:], name="images")
    turned = keras.ops.flip(images, axis=-1)

    def call(operation: Any, *args: Any, **kwargs: Any) -> Any:
        args, kwargs = keras.tree.map_structure(lambda t: turned if t is images else t, (args, kwargs))
        return operation(*args, **kwargs)

    return rebuilt(network, images, call)
