"""Features of a frozen backbone."""

from __future__ import annotations

from collections.abc import Iterable

import keras
import numpy as np

from keras_leoclr.distribution import on_one_device
from keras_leoclr.model import with_pooled_features


def extract_features(
    backbone: keras.Model, dataset: Iterable, verbose: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Features of every image, with BatchNorm in inference mode.

    Args:
        backbone: (B, H, W, C) -> (B, F), or feature maps, which are averaged.
        dataset: batches `(images, labels)`, see `data.image_batches`.
        verbose: whether to show a progress bar.

    Returns:
        features (N, F) float32 and labels (N,) int64.

    Raises:
        ValueError: if the dataset is empty or the images do not fit the backbone.
    """
    with on_one_device(with_pooled_features(backbone)) as backbone:
        return _extract(backbone, dataset, verbose)


def _extract(backbone, dataset, verbose):
    expected = backbone.input_shape[1:]
    features, labels = [], []
    bar = keras.utils.Progbar(None, verbose=int(verbose), unit_name="batch")
    for images, batch_labels in dataset:
        if len(images.shape) != 4 or any(
            e is not None and s != e for s, e in zip(images.shape[1:], expected, strict=True)
        ):
            raise ValueError(
                f"`dataset` must yield images that fit the backbone, (B, *{expected}). "
                f"Received: images.shape={tuple(images.shape)}"
            )
        # tf.data yields TensorFlow tensors under every backend
        features.append(np.asarray(backbone.predict_on_batch(np.asarray(images)), "float32"))
        labels.append(np.asarray(batch_labels, "int64"))
        bar.add(1)
    if not features:
        raise ValueError("`dataset` must hold at least one batch. Received: an empty dataset")
    return np.concatenate(features), np.concatenate(labels)
