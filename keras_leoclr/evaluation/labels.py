"""Distinguishes one label per image from several; this is the only place that does.

Evaluators call `kind_of(labels)` to get the measures, votes, losses and draws for their labels: accuracy and
softmax for labels (N,), mean average precision and one sigmoid for each class for labels (N, C).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_leoclr.data.multi_hot import whole_labels
from keras_leoclr.evaluation.label_kinds import LabelKind
from keras_leoclr.evaluation.one_label import OneLabel
from keras_leoclr.evaluation.several_labels import SeveralLabels

ONE, SEVERAL = OneLabel(), SeveralLabels()


def kind_of(*labels: Any) -> LabelKind:
    """The kind of some labels: one label per image for (N,), several for (N, C).

    Args:
        *labels: arrays that belong together, such as those of the training and of the test images.

    Raises:
        ValueError: if they are of different kinds, or have several labels and a different number of classes.
    """
    shapes = [np.shape(each) for each in labels]
    several = {len(shape) == 2 for shape in shapes}
    widths = {shape[1] for shape in shapes if len(shape) == 2}
    if len(several) > 1 or len(widths) > 1:
        raise ValueError(
            "Labels must all be (N,), one for each image, or all be (N, C), zeros and ones, of the same C "
            f"classes. Received: {' and '.join(map(str, shapes))}"
        )
    return SEVERAL if several == {True} else ONE


def kind_of_one(label: Any) -> LabelKind:
    """The kind of the label of a single image.

    Args:
        label: a number, or a row (C,) of zeros and ones.
    """
    return SEVERAL if np.ndim(label) == 1 else ONE


def kind_of_source(source: Any) -> LabelKind:
    """The kind of the labels of a source.

    Args:
        source: a source, as `data.load` returns it.
    """
    return SEVERAL if source.several_labels else ONE


def as_labels(labels: Sequence | np.ndarray) -> np.ndarray:
    """Converts labels to the types that evaluators use: (N,) int64, or (N, C) uint8.

    Args:
        labels: labels of a batch or of all images.

    Raises:
        ValueError: if a label of an image with one label is no whole number.
    """
    labels = np.asarray(labels)
    return labels.astype("uint8") if labels.ndim == 2 else whole_labels(labels)
