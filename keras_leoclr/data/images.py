"""Images that can be read in any order: what the readers of folders, arrays and data sets have in common."""

from __future__ import annotations

import abc

import numpy as np

from keras_leoclr.tensorflow_host import tf


class Images(abc.ABC):
    """Images that can be read in any order, which fast shuffling and exact restarts need.

    Attributes:
        count: number of images.
        labels: (`count`,) int64, or (`count`, C) uint8 with several labels per image; None if there are
            none, or if they are not held in memory.
        labelled: whether there are labels.
        several_labels: whether a label is a row (C,) of zeros and ones.
        class_names: names of the classes in the order of their numbers; () if there are none.
        image_shape: (H, W, C), with None where it varies.
        values_checked: whether all images are known to be pixels in [0, 255].
    """

    count: int
    labelled: bool
    image_shape: tuple[int | None, int | None, int]
    class_names: tuple[str, ...] = ()
    labels: np.ndarray | None = None
    several_labels = False
    values_checked = False

    def things(self, number: int) -> list[tuple[str, tuple[float, ...]]]:
        """Name and box (top, left, height, width in pixels) of each thing in an image, if they are known."""
        return []

    @abc.abstractmethod
    def fetch(
        self, indices: tf.data.Dataset, least_pixels: int | None = None, parallel: int = 2
    ) -> tf.data.Dataset:
        """Reads the images with the given numbers, in exactly that order, and no others.

        Args:
            indices: tf.data of () int64 in [0, `count`).
            least_pixels: large JPEGs are decoded at 1/2, 1/4 or 1/8 of their size as long as at least
                so many pixels remain; None (the default) decodes at full size.
            parallel: number of images that are decoded at the same time; 2 by default.

        Returns:
            tf.data of `{"image": (H, W, C), "label": () int64}`; with several labels, `label` is (C,) uint8.
            It is missing if there are no labels.
        """

    @abc.abstractmethod
    def subset(self, rows: np.ndarray) -> Images:
        """Selects the images with the given numbers (N,) and numbers them from 0."""
