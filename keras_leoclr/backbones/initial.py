"""The initial weights of a training, from a run, a `.keras` file or a file of torch weights."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from typing import Any

import keras
import numpy as np

from keras_leoclr.backbones.channels import with_channels
from keras_leoclr.backbones.feature_pyramid import resized
from keras_leoclr.backbones.known_numbers import Numbers, image_numbers
from keras_leoclr.backbones.loading import read_keras
from keras_leoclr.backbones.named import named_backbone
from keras_leoclr.backbones.normalization import normalization_of, takes_raw, without_normalization
from keras_leoclr.backbones.pooling import with_pooled_features
from keras_leoclr.backbones.recognising import form_of, settings_of
from keras_leoclr.backbones.torch_files import TORCH_SUFFIXES, read_checkpoint, whole_numbers
from keras_leoclr.backbones.torch_weights import from_torch
from keras_leoclr.runs.files import sha256_of
from keras_leoclr.runs.folder import RunFolder


class InitialWeightsError(ValueError):
    """The initial weights cannot be read, or belong to another network than the one that was asked for."""


@dataclasses.dataclass(frozen=True)
class InitialWeights:
    """The initial weights of a training, with the network that they belong to.

    Attributes:
        backbone: model from normalised images (B, S, S, C) to features (B, F).
        settings: the settings of a recipe that make this network, see `settings_of`.
        normalization: mean and deviation with which the images were normalised; None if it is not known.
        sized: whether the file tells the size of the images; files of torch's ResNets do not,
            except those of `to_torch`.
        about: source of the weights: `path`, `sha256`, `kind`.
        head: weights of the projection head if the file holds a `LeOCLR`; otherwise None.
        queue: keys (K, D) and pointer of the queue if the file holds a `LeOCLR` with one; otherwise None.
    """

    backbone: keras.Model
    settings: dict[str, Any]
    normalization: Numbers | None
    sized: bool
    about: dict[str, Any]
    head: list[np.ndarray] | None = None
    queue: tuple[np.ndarray, np.ndarray] | None = None

    @property
    def any_size(self) -> bool:
        """Whether the network can take images of other sizes, which ResNets can and ViTs cannot."""
        try:
            return self.at_size(2 * self.backbone.input_shape[1]) is not None
        except InitialWeightsError:
            return False

    def at_size(self, image_size: int) -> InitialWeights:
        """Returns the same weights in a network for images of another size.

        Args:
            image_size: side of the square images in pixels.

        Raises:
            InitialWeightsError: if the network can take images of one size only.
        """
        shape = (image_size, image_size, self.backbone.input_shape[-1])
        if tuple(self.backbone.input_shape[1:]) == shape:
            return self
        try:
            return dataclasses.replace(self, backbone=resized(self.backbone, shape))
        except ValueError as error:
            raise InitialWeightsError(
                f"`image_size` must be that of the images which {self.about['path']} was made for, "
                f"{self.backbone.input_shape[1]}: its network {self.backbone.name!r} takes no other. "
                f"Received: image_size={image_size}"
            ) from error

    def fill(self, model: keras.Model) -> list[str]:
        """Copies the projection head into both encoders of a `LeOCLR`, and the queue, if they fit.

        Returns:
            Sentences that name the parts that do not fit and start from new values.
        """
        lines = []
        heads = [encoder.layers[-1] for encoder in (model.query_encoder, model.key_encoder)]
        if self.head is not None:
            if [w.shape for w in self.head] == [tuple(w.shape) for w in heads[0].weights]:
                for head in heads:
                    head.set_weights(self.head)
            else:
                lines.append("The projection head has another size than that of the file: it begins anew.")
        if self.queue is not None and model.key_queue is not None:
            keys, pointer = self.queue
            if lines or keys.shape != tuple(model.key_queue.keys.shape):
                lines.append("The queue has another size than that of the file: it begins anew.")
            else:
                model.key_queue.keys.assign(keys)
                model.key_queue.pointer.assign(pointer)
        return lines


def read_initial_weights(
    path: str | os.PathLike,
    stem: str | None = None,
    image_size: int | None = None,
    network: str | None = None,
) -> InitialWeights:
    """Reads initial weights; nothing that is read can run code.

    Args:
        path: path of the folder of a run, whose backbone is read; of a `.keras` file of a backbone, or of a
            `LeOCLR`, from which head and queue are read too; or of torch weights, see `from_torch`.
        stem: stem of a ResNet in a file of torch weights, if the file does not tell it.
        image_size: side of the square images in pixels, for a file of torch weights that does not tell it.
        network: name of the network of another library that the weights must belong to, see
            `named_backbone`. The path may then also be a `.weights.h5` or `.h5` file that Keras has saved.

    Raises:
        InitialWeightsError, BackboneFileError, TorchWeightsError, FileNotFoundError: if the weights cannot be
            read, or do not belong to a network for images.
    """
    place = pathlib.Path(os.path.expanduser(path))
    if place.is_dir():
        place = _file_of_run(place)
    if not place.is_file():
        raise FileNotFoundError(
            "`initial_weights` must be the folder of a run, a .keras file or a file of torch weights. "
            f"Received: initial_weights={str(path)!r}, which does not exist"
        )
    about = {"path": str(path), "file": place.name, "sha256": sha256_of(place)}
    if place.suffix == ".safetensors" or place.suffix in TORCH_SUFFIXES:
        return _of_torch(place, about, stem, image_size)
    if place.suffix in (".h5", ".hdf5"):
        return _of_named(place, about, image_size, network)
    model, _ = read_keras(place)
    head = queue = None
    if hasattr(model, "key_encoder"):
        head = model.query_encoder.layers[-1].get_weights()
        if model.key_queue is not None:
            parts = (model.key_queue.keys, model.key_queue.pointer)
            queue = tuple(np.asarray(keras.ops.convert_to_numpy(part)) for part in parts)
        about["kind"], model = "LeOCLR", model.backbone
    else:
        about["kind"] = "backbone"
    numbers = normalization_of(model) or image_numbers(place)
    backbone = _checked(without_normalization(model), path)
    settings = settings_of(backbone)
    if network is not None:
        made = named_backbone(network, image_size or backbone.input_shape[1] or 224).backbone
        if form_of(made) != form_of(backbone):
            raise InitialWeightsError(
                f"`initial_weights` must hold the weights of {network}. Received: "
                f"initial_weights={str(path)!r}, with the network {backbone.name!r} of "
                f"{backbone.count_params():,} weights instead of {made.count_params():,}"
            )
        settings = {"backbone": network}
    return InitialWeights(backbone, settings, numbers, bool(backbone.input_shape[1]), about, head, queue)


def _file_of_run(folder: pathlib.Path) -> pathlib.Path:
    run = RunFolder(folder)
    if not run.backbone_file.is_file():
        what = "a run that is not finished" if run.holds_run else "no run"
        raise InitialWeightsError(
            f"`initial_weights` must be the folder of a finished run, with {run.backbone_file.name}. "
            f"Received: initial_weights={str(folder)!r}, {what}"
        )
    return run.backbone_file


def _of_torch(
    path: pathlib.Path, about: dict[str, Any], stem: str | None, image_size: int | None
) -> InitialWeights:
    checkpoint = read_checkpoint(path)
    weights = checkpoint.encoder("query")
    vit = "patch_embed.proj.weight" in weights
    sized = vit or bool(whole_numbers(checkpoint.metadata, "image_size"))
    channels = weights["patch_embed.proj.weight" if vit else "conv1.weight"].shape[1] if weights else 3
    shape = None if sized or image_size is None else (image_size, image_size, channels)
    backbone = _checked(from_torch(path, shape, stem, verbose=False), path)
    numbers = image_numbers(path)
    return InitialWeights(backbone, settings_of(backbone), numbers, sized, about | {"kind": "torch weights"})


def _of_named(
    path: pathlib.Path, about: dict[str, Any], image_size: int | None, network: str | None
) -> InitialWeights:
    if network is None:
        raise InitialWeightsError(
            "`initial_weights` in a file of weights alone need `backbone` to name their network, such as "
            f"applications:EfficientNetV2B0. Received: initial_weights={about['path']!r}"
        )
    backbone, numbers = named_backbone(network, image_size or 224, path)
    return InitialWeights(backbone, {"backbone": network}, numbers, False, about | {"kind": "weights"})


def _checked(backbone: keras.Model, path: str | os.PathLike) -> keras.Model:
    if takes_raw(backbone):
        raise InitialWeightsError(
            "`initial_weights` must hold a network whose preprocessing can be taken off, so that it is not "
            "applied twice: one that begins with Rescaling or Normalization. "
            f"Received: initial_weights={str(path)!r}, network {backbone.name!r}, which does it otherwise"
        )
    if not backbone.trainable_variables:
        raise InitialWeightsError(
            "`initial_weights` must hold a network whose weights are trained. "
            f"Received: initial_weights={str(path)!r}, network {backbone.name!r}, which is frozen"
        )
    return with_pooled_features(backbone)


def of_channels(weights: InitialWeights, channels: int = 3) -> InitialWeights:
    """The weights for images of some number of channels.

    Those of a network of RGB are adapted: for every channel, the kernel of its first layer is the mean of
    those of red, green and blue, times 3 / `channels`. An image with the same values in all channels then
    has the features of a grey image in the network of RGB. Its mean and deviation are left out, and so is its
    queue, whose keys are of other images.

    Raises:
        InitialWeightsError: if the network takes images of neither 3 nor so many channels.
    """
    found = weights.backbone.input_shape[-1]
    if found == 3 and channels != 3:
        about = weights.about | {"adapted": f"from 3 to {channels} channels"}
        backbone = with_channels(weights.backbone, channels)
        return dataclasses.replace(weights, backbone=backbone, normalization=None, queue=None, about=about)
    if found != channels:
        raise InitialWeightsError(
            f"`initial_weights` must be those of a network of images with {channels} channels. "
            f"Received: initial_weights={weights.about['path']!r}, of a network with {found}"
        )
    return weights
