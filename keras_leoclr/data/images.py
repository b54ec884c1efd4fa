"""Images by number: what fast shuffling and exact restarts rest on."""

from __future__ import annotations

import abc

import numpy as np

from keras_leoclr.tensorflow_host import tf


class Images(abc.ABC):
    """Images that can be read in any order.

    Attributes:
        count: number of images.
        labels: (`count`,) int64; None where there are none, or where they are not held in memory.
        labelled: whether there are labels.
        class_names: names of the classes in the order of their numbers; () where they have none.
        image_shape: (H, W, C), None where it varies.
    """

    count: int
    labelled: bool
    image_shape: tuple[int | None, int | None, int]
    class_names: tuple[str, ...] = ()
    labels: np.ndarray | None = None

    @abc.abstractmethod
    def fetch(
        self, indices: tf.data.Dataset, least_pixels: int | None = None, parallel: int = 2
    ) -> tf.data.Dataset:
        """The images with the given numbers, in exactly that order; no others are read.

        Args:
            indices: tf.data of () int64 in [0, `count`).
            least_pixels: large JPEGs are decoded at 1/2, 1/4 or 1/8 of their size as long as at least
                so many pixels remain; None: at full size.
            parallel: images decoded at the same time.

        Returns:
            tf.data of `{"image": (H, W, C), "label": () int64}`, without `label` where there is none.
        """

    @abc.abstractmethod
    def subset(self, rows: np.ndarray) -> Images:
        """The images with the given numbers (N,), numbered from 0."""


class ArrayImages(Images):
    """Images of one size, held in memory.

    Args:
        image: (N, H, W, C) uint8 or float.
        label: (N,) int64 or None.
    """

    def __init__(self, image: np.ndarray, label: np.ndarray | None = None):
        self.count = len(image)
        self.labelled = label is not None
        self.image_shape = image.shape[1:]
        self.labels = label
        self._arrays = {"image": image} | ({} if label is None else {"label": label})
        self._table = None

    def fetch(self, indices, least_pixels=None, parallel=2):
        del least_pixels, parallel  # nothing to decode
        if self._table is None:
            with tf.init_scope():  # `fetch` may be called inside of a tf.data function
                # An element of a dataset of its own: a constant in the graph must not exceed 2 GiB.
                self._table = tf.data.Dataset.from_tensors(self._arrays).repeat()

        def gather(index, arrays):
            return {name: tf.gather(array, index) for name, array in arrays.items()}

        return tf.data.Dataset.zip((indices, self._table)).map(gather)

    def subset(self, rows):
        whole = len(rows) == self.count and np.array_equal(rows, np.arange(self.count))
        if whole:
            return self
        part = ArrayImages(*(array[rows] for array in self._arrays.values()))
        part.class_names = self.class_names
        return part
