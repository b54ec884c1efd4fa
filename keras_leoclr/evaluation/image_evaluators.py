"""The first arguments of evaluators that read images, and their checks."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
import numpy as np

from keras_leoclr.data.source import Source
from keras_leoclr.data.source_arguments import as_source
from keras_leoclr.views.preprocessing import Preprocessing


@dataclasses.dataclass(eq=False, repr=False)
class TrainedOnImages:
    """The base of evaluators that train on images: a backbone, two sources and the preprocessing.

    Args:
        backbone: (B, S, S, 3) -> (B, F), or feature maps; copies of it are used.
        train: source of training images and labels, see `data.load`. Images with the label -1 are unlabelled;
            they are left out of both sources.
        test: source of test images and labels, which accuracies are measured on.
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
    """The base of evaluators that judge test images by classifiers fitted to clean training features.

    Args:
        backbone: (B, S, S, 3) -> (B, F), or feature maps.
        train_features: (N, F) features of unchanged training images.
        train_labels: (N,), or (N, C) for several labels per image.
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
