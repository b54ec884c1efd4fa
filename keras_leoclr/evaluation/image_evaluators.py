"""What evaluators that read images are given first, in this order, and how it is read."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
import numpy as np

from keras_leoclr.data.source import Source, as_source
from keras_leoclr.views.preprocessing import Preprocessing


@dataclasses.dataclass(eq=False, repr=False)
class TrainedOnImages:
    """Evaluators that train on images: a backbone, two sources, and the preprocessing.

    Args:
        backbone: (B, S, S, 3) -> (B, F), or feature maps; copies of it are used.
        train: source of images and labels, see `data.load`. Images with the label -1 have none and are left
            out, of both sources.
        test: source of images and labels that accuracies are of.
        views: a `Preprocessing`, or views such as `LeOCLRViews`: size, mean and deviation of the images.
    """

    backbone: keras.Model
    train: Source
    test: Source
    views: Any

    def __post_init__(self):
        self.train, self.test = as_source(self.train, "train"), as_source(self.test, "test")
        self.views = Preprocessing.of(self.views)


@dataclasses.dataclass(eq=False, repr=False)
class FittedToFeatures:
    """Evaluators of test images by classifiers that are fitted to clean training features.

    Args:
        backbone: (B, S, S, 3) -> (B, F), or feature maps.
        train_features: (N, F), clean.
        train_labels: (N,).
        test: source of images and labels, see `data.load`.
        views: a `Preprocessing`, or views such as `LeOCLRViews`: size, mean and deviation of the images.
    """

    backbone: keras.Model
    train_features: np.ndarray
    train_labels: np.ndarray
    test: Source
    views: Any

    def __post_init__(self):
        self.test, self.views = as_source(self.test, "test"), Preprocessing.of(self.views)
