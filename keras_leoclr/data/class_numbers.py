"""Gives the classes of test images the numbers that they have in the training images."""

from __future__ import annotations

from typing import Any

import numpy as np

from keras_leoclr.data.multi_hot import DTYPE, counts, is_multi_hot
from keras_leoclr.data.parts import has_label
from keras_leoclr.data.readers.arrays import ArrayImages
from keras_leoclr.data.readers.folder import FolderImages
from keras_leoclr.data.source import Source
from keras_leoclr.tensorflow_host import tf

SHOWN = 10  # number of names in a message


def numbered_as(train: Source, test: Source, name: str = "test") -> Source:
    """The test images with the class numbers, or the columns of several labels, of the training images.

    Each split numbers its classes by itself, such as the sub-folders of a folder in their order. The same
    class has the same name in both, but another number where one of the splits lacks a class. The label -1,
    for none, stays.

    Args:
        train: images whose numbers of the classes are kept.
        test: images whose labels are changed to these numbers.
        name: name of the argument that holds the test images, for messages; "test" by default.

    Returns:
        `test` itself if the names of the classes are the same, or are not known on one of the sides.

    Raises:
        ValueError: if test images are of a class that is not among those of the training images.
    """
    ours, theirs = tuple(map(str, train.class_names)), tuple(map(str, test.class_names))
    if not ours or not theirs or ours == theirs or not (train.labelled and test.labelled):
        return test
    if train.several_labels != test.several_labels:  # The evaluators explain that the kinds differ.
        return test
    lacking = _used(test) - set(ours)
    if lacking:
        raise ValueError(
            f"`{name}` must have no images of classes that the training images lack: classes are matched by "
            f"their names. Received: images of {_listed(sorted(lacking))}, and training images of "
            f"{_listed(ours)}"
        )
    place = {one: number for number, one in enumerate(ours)}
    if test.several_labels:
        column = {one: number for number, one in enumerate(theirs)}
        change = _Columns(np.array([column.get(one, len(theirs)) for one in ours], "int64"))
    else:
        change = _Numbers(np.array([place.get(one, -1) for one in theirs], "int64"))
    images = test.images
    if type(images) is ArrayImages:
        return test.of_images(ArrayImages(images.pixels, change(images.labels), train.class_names))
    if type(images) is FolderImages:
        images = images.subset(np.arange(images.count))  # a copy
        images.labels, images.class_names = change(images.labels), train.class_names
        return test.of_images(images)
    stream = test.dataset.map(lambda element: element | {"label": change.in_graph(element["label"])})
    made = Source(dataset=stream, failures=test.failures, mixed=test.mixed, class_names=train.class_names)
    made.part = f"{test.part} {','.join(ours)}"
    return made


class _Numbers:
    """Replaces class numbers by others.

    Args:
        numbers: (C,) int64, the new number of each class.
    """

    def __init__(self, numbers: np.ndarray):
        self.numbers = numbers

    def __call__(self, labels: np.ndarray) -> np.ndarray:
        return np.where(labels < 0, labels, self.numbers[np.maximum(labels, 0)])

    def in_graph(self, label: tf.Tensor) -> tf.Tensor:
        label = tf.cast(label, tf.int64)
        return tf.where(label < 0, label, tf.gather(self.numbers, tf.maximum(label, 0)))


class _Columns:
    """Selects columns of zeros and ones.

    Args:
        columns: (C,) int64, the old column of each new one; the number of old columns for a column of zeros.
    """

    def __init__(self, columns: np.ndarray):
        self.columns = columns

    def __call__(self, labels: np.ndarray) -> np.ndarray:
        return np.concatenate([labels, np.zeros((len(labels), 1), DTYPE)], axis=1)[:, self.columns]

    def in_graph(self, label: tf.Tensor) -> tf.Tensor:
        label = tf.cast(label, DTYPE)
        return tf.gather(tf.concat([label, tf.zeros([1], DTYPE)], axis=0), self.columns)


def _used(source: Source) -> set[str]:
    """The names of the classes that images are of; all names where the labels are not in memory."""
    names = tuple(map(str, source.class_names))
    labels = source.labels
    if labels is None:
        return set(names)
    known = labels if is_multi_hot(labels) else labels[has_label(labels)]
    return {names[number] for number in np.flatnonzero(counts(known))}


def _listed(names: Any) -> str:
    more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
