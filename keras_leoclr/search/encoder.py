"""The backbone that computes the features of an index."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_leoclr.backbones.feature_pyramid import resized
from keras_leoclr.backbones.starting import RANDOM, starting_backbone, taking_raw_images
from keras_leoclr.checks import check_value_range, whole_number
from keras_leoclr.data.channels import ChannelPixels
from keras_leoclr.data.readers.folder import FolderImages
from keras_leoclr.evaluation.features import checksum, extract_features
from keras_leoclr.evaluation.neighbour_search import unit_rows
from keras_leoclr.runs.folder import RunFolder
from keras_leoclr.tensorflow_host import tf, untuned
from keras_leoclr.views.preprocessing import Preprocessing

READING = ("antialias", "least_pixels")  # entries of `about` that say how pictures are read and resized
# An index of version 0.1.0 lacks these entries. Its large JPEGs were decoded at a fraction of their size, at
# least at this multiple of the backbone's size.
SHARPNESS = 4


@dataclasses.dataclass(frozen=True)
class Encoder:
    """A backbone and its description in an index.

    Attributes:
        backbone: (B, S, S, C) raw images -> (B, features).
        about: `{"path", "checksum", "image_size"}` of the backbone, which an index holds; `"value_range"`
            where it is not that of the pictures' type; and `"antialias"` and `"least_pixels"` of
            `Preprocessing`, which an index of version 0.1.0 lacks.
    """

    backbone: keras.Model
    about: dict[str, Any]

    @classmethod
    def load(
        cls, path: str | os.PathLike, image_size: int = 0, value_range: Sequence[float] | None = None
    ) -> Encoder:
        """From a file, a run's folder or torch weights, see `starting_backbone`.

        Args:
            path: path of the backbone.
            image_size: side of the images, pixels; 0 for the backbone's own.
            value_range: of the pictures' values, see `data.load`; None for that of the run that it lies in.
        """
        path = os.path.expanduser(path)
        backbone, size = raw_backbone(path, image_size, any_channels=True)
        if value_range is None:
            value_range = RunFolder.around(path).value_range()
        number = checksum(backbone)
        if (size, size) != tuple(backbone.input_shape[1:3]):
            backbone = resized(backbone, (size, size, backbone.input_shape[-1]))
        about = {"path": os.path.abspath(path), "checksum": number, "image_size": int(size)}
        if len(value_range):
            about["value_range"] = list(check_value_range(value_range))
        made = Preprocessing.of_recipe(RunFolder.around(path).recipe(), size)
        return cls(backbone, about | {name: getattr(made, name) for name in READING})

    def reading_as(self, about: dict[str, Any]) -> Encoder:
        """The same encoder, which reads and resizes pictures as those of an index were.

        Args:
            about: the description of the backbone that the index holds.
        """
        own = {name: value for name, value in self.about.items() if name not in READING}
        return dataclasses.replace(self, about=own | {name: about[name] for name in READING if name in about})

    @property
    def channels(self) -> int:
        """C of the pictures."""
        return self.backbone.input_shape[-1]

    @property
    def pixels(self) -> ChannelPixels | None:
        """How the pictures are read; None for RGB of 8 bits."""
        value_range = self.about.get("value_range") or ()
        return ChannelPixels(self.channels, value_range) if self.channels != 3 or value_range else None

    def features(self, images: FolderImages, batch_size: int = 64, verbose: bool = False) -> np.ndarray:
        """Computes features (N, F) float32 of pictures, rows of length 1.

        Args:
            images: source of the N pictures.
            batch_size: number of pictures per call of the backbone; 64 by default.
            verbose: whether to show a progress bar; False by default.
        """
        size = self.about["image_size"]
        how = {name: self.about[name] for name in READING if name in self.about}
        raw = Preprocessing(
            size,
            (0.0,) * self.channels,
            (1 / 255,) * self.channels,
            **{"least_pixels": (SHARPNESS * size) ** 2, **how},
        )  # values stay in [0, 255]
        pictures = images.fetch(tf.data.Dataset.range(images.count), raw.least_pixels, os.cpu_count() or 1)
        pictures = pictures.apply(tf.data.experimental.assert_cardinality(images.count))
        batches = pictures.map(lambda element: (raw.preprocess(element["image"][None])[0], 0)).batch(
            batch_size
        )
        return unit_rows(extract_features(self.backbone, untuned(batches.prefetch(2)), verbose)[0])


def raw_backbone(
    backbone: str | os.PathLike | keras.Model, image_size: int = 0, any_channels: bool = False
) -> tuple[keras.Model, int]:
    """A backbone that takes raw images, as `starting_backbone` makes it, and the side of its images.

    Args:
        backbone: a path; or a Keras model, also a `LeOCLR`, whose backbone is taken.
        image_size: side of the images, pixels; 0 for the backbone's own.
        any_channels: whether its images may have other numbers of channels than 3.

    Raises:
        ValueError: if the backbone is "random", `image_size` is no whole number >= 0, or it is 0 while the
            backbone takes images of any size, or images that are not square.
    """
    image_size = whole_number("image_size", image_size, 0)
    if isinstance(backbone, keras.Model):
        found = taking_raw_images(getattr(backbone, "backbone", backbone), None, any_channels)
    elif backbone == RANDOM:
        raise ValueError("`backbone` must be a file or the folder of a run. Received: backbone='random'")
    else:
        found = starting_backbone(backbone, any_channels=any_channels)
    height, width = found.input_shape[1:3]
    if not image_size and (height is None or height != width):
        kind = "any size" if height is None or width is None else f"{height} x {width} pixels"
        raise ValueError(
            f"`image_size` must be given for a backbone of {kind}: images are made square. Received: none"
        )
    return found, image_size or height
