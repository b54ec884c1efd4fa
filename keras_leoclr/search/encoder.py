"""The backbone that computes the features of an index."""

from __future__ import annotations

import dataclasses
import os
from typing import Any

import keras
import numpy as np

from keras_leoclr.backbones.feature_pyramid import resized
from keras_leoclr.backbones.starting import RANDOM, starting_backbone, taking_raw_images
from keras_leoclr.data.readers.folder import FolderImages
from keras_leoclr.evaluation.features import checksum, extract_features
from keras_leoclr.evaluation.neighbour_search import unit_rows
from keras_leoclr.tensorflow_host import tf
from keras_leoclr.views.preprocessing import Preprocessing

# Large JPEGs are decoded at a fraction of their size, which is at least this multiple of the backbone's size.
SHARPNESS = 4


@dataclasses.dataclass(frozen=True)
class Encoder:
    """A backbone and its description in an index.

    Attributes:
        backbone: model from raw images (B, S, S, 3), values in [0, 255], to (B, features).
        about: `{"path", "checksum", "image_size"}` of the backbone, by which an index recognises it.
    """

    backbone: keras.Model
    about: dict[str, Any]

    @classmethod
    def load(cls, path: str | os.PathLike, image_size: int = 0) -> Encoder:
        """Loads a backbone from a file, the folder of a run or torch weights, see `starting_backbone`.

        Args:
            path: path of the backbone.
            image_size: side of the square images in pixels; 0, the default, for that of the backbone.
        """
        backbone, size = raw_backbone(path, image_size)
        number = checksum(backbone)
        if (size, size) != tuple(backbone.input_shape[1:3]):
            backbone = resized(backbone, (size, size, 3))
        return cls(backbone, {"path": os.path.abspath(path), "checksum": number, "image_size": int(size)})

    def features(self, images: FolderImages, batch_size: int = 64, verbose: bool = False) -> np.ndarray:
        """Computes features (N, F) float32 of pictures, rows of length 1.

        Args:
            images: source of the N pictures.
            batch_size: number of pictures per call of the backbone; 64 by default.
            verbose: whether to show a progress bar; False by default.
        """
        size = self.about["image_size"]
        raw = Preprocessing(size, mean=(0.0,) * 3, std=(1 / 255,) * 3)  # values stay in [0, 255]
        pictures = images.fetch(
            tf.data.Dataset.range(images.count), (SHARPNESS * size) ** 2, os.cpu_count() or 1
        )
        pictures = pictures.apply(tf.data.experimental.assert_cardinality(images.count))
        batches = pictures.map(lambda element: (raw.preprocess(element["image"][None])[0], 0)).batch(
            batch_size
        )
        return unit_rows(extract_features(self.backbone, batches.prefetch(2), verbose)[0])


def raw_backbone(backbone: str | os.PathLike | keras.Model, image_size: int = 0) -> tuple[keras.Model, int]:
    """Returns a backbone that takes raw images, and the side of its images in pixels.

    Args:
        backbone: a path, as `starting_backbone` takes it; or a Keras model, also a `LeOCLR`.
        image_size: side of the square images in pixels; 0, the default, for that of the backbone.

    Raises:
        ValueError: if the backbone is "random", or takes images of any size while `image_size` is 0.
    """
    if isinstance(backbone, keras.Model):
        found = taking_raw_images(getattr(backbone, "backbone", backbone))
    elif backbone == RANDOM:
        raise ValueError("`backbone` must be a file or the folder of a run. Received: backbone='random'")
    else:
        found = starting_backbone(backbone)
    size = image_size or found.input_shape[1]
    if not size:
        raise ValueError("`image_size` must be given for a backbone of any size. Received: none")
    return found, int(size)
