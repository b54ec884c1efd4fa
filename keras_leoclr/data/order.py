"""The order of the images within an epoch, which depends on the seed alone for every kind of source.

The order is the same whether a source is read by number or through a buffer: consecutive images of the
source form a chunk of `shuffle_buffer` images, and each chunk is put into a random order.
"""

from __future__ import annotations

from typing import Any, Protocol

from keras_leoclr.data.readers.arrays import ArrayImages
from keras_leoclr.data.source import Source
from keras_leoclr.tensorflow_host import tf

# Images of one size whose sides are larger are made into views one by one, so that an image and its views
# stay in the cache of a core. Smaller images are processed as a batch.
LARGE_SIDE = 128
NOT_FINITE = "`source` must have finite pixels"


class Order(Protocol):
    """The images of a source in the order of an epoch.

    Attributes:
        count: number of images; None if it is not known.
        shape: (H, W, C) of the images, with None where it varies.
        fixed: whether all images have the same size.
        by_image: whether views are made image by image instead of batch by batch.
    """

    count: int | None
    shape: tuple[int | None, ...]
    fixed: bool
    by_image: bool

    def images(self, epoch_seed: Any, first: Any, batch_size: int, start: int, size: int) -> tf.data.Dataset:
        """Single images: images `start` to `start + size` of each batch, from batch `first` on."""

    def batches(self, epoch_seed: Any, first: Any, batch_size: int, start: int, size: int) -> tf.data.Dataset:
        """The same images as batches of `size`; all images must have one size."""


def order_of(source: Source, shuffle_buffer: int | None, parallel: int, least_pixels: int | None) -> Order:
    """The order of a source: by shuffled numbers if it can be read by number, otherwise through a buffer.

    Args:
        source: the images.
        shuffle_buffer: number of images that are shuffled together; None for all.
        parallel: number of pictures that are decoded at the same time.
        least_pixels: see `Images.fetch`.

    Raises:
        ValueError: if `shuffle_buffer` is None and the number of images is not known.
    """
    if source.images is not None:
        return ByNumber(source, shuffle_buffer, parallel, least_pixels)
    return Buffered(source, shuffle_buffer, parallel, least_pixels)


def _shuffled(rows: Any, epoch_seed: Any, chunk: Any) -> Any:
    """Shuffles the rows of a chunk; Dataset.shuffle would depend on TensorFlow's global seed."""
    return tf.random.experimental.stateless_shuffle(rows, tf.random.fold_in(epoch_seed, -1 - chunk))


class ByNumber:
    """The order of a source that can be read by number: numbers are shuffled, and no image is held."""

    def __init__(self, source: Source, shuffle_buffer: int | None, parallel: int, least_pixels: int | None):
        self.source = source.images
        self.count = source.count
        self.chunk = self.count if shuffle_buffer is None else min(shuffle_buffer, self.count)
        self.parallel = parallel
        self.least_pixels = least_pixels
        self.shape = tuple(source.image_shape)
        self.fixed = None not in self.shape
        self.by_image = not self.fixed or max(self.shape[:2]) > LARGE_SIDE

    def images(self, epoch_seed, first, batch_size, start, size):
        numbers = self._own_numbers(epoch_seed, first, batch_size, start, size).unbatch()
        return self.source.fetch(numbers, self.least_pixels, self.parallel).map(
            lambda element: element["image"]
        )

    def batches(self, epoch_seed, first, batch_size, start, size):
        if not isinstance(self.source, ArrayImages):
            return self.images(epoch_seed, first, batch_size, start, size).batch(size, drop_remainder=True)
        numbers = self._own_numbers(epoch_seed, first, batch_size, start, size)
        return self.source.fetch(numbers).map(lambda element: element["image"])

    def _own_numbers(self, epoch_seed, first, batch_size, start, size):
        """Batches of the numbers of images `start` to `start + size` of each batch, from `first` on."""
        chunks = tf.data.Dataset.range(self.count).batch(self.chunk)
        numbers = chunks.enumerate().map(lambda chunk, rows: _shuffled(rows, epoch_seed, chunk))
        numbers = numbers.rebatch(batch_size, drop_remainder=True).skip(first)
        return numbers.map(lambda rows: rows[start : start + size])


class Buffered:
    """The order of a stream: chunks of `shuffle_buffer` images are held and shuffled."""

    def __init__(self, source: Source, shuffle_buffer: int | None, parallel: int, least_pixels: int | None):
        self.source = source
        self.count = source.count
        if shuffle_buffer is None and self.count is None:
            raise ValueError(
                "`shuffle_buffer` must be given for a source of unknown size. Received: shuffle_buffer=None"
            )
        self.chunk = max(self.count, 1) if shuffle_buffer is None else shuffle_buffer
        self.parallel = parallel
        self.least_pixels = least_pixels
        self.shape, self.dtype = tuple(source.image_shape), source.element_spec["image"].dtype
        self.fixed = None not in self.shape
        self.by_image = not self.fixed or max(self.shape[:2]) > LARGE_SIDE

    def images(self, epoch_seed, first, batch_size, start, size):
        images = self._shuffled_images(epoch_seed).skip(first * batch_size)
        if size == batch_size:
            return images
        batches = images.window(batch_size, drop_remainder=True)
        return batches.flat_map(lambda batch: batch.skip(start).take(size))

    def batches(self, epoch_seed, first, batch_size, start, size):
        batches = self._shuffled_images(epoch_seed).batch(batch_size, drop_remainder=True).skip(first)
        return batches.map(lambda images: images[start : start + size])

    def _shuffled_images(self, epoch_seed):
        if self.source.encoded is not None:
            held = self._through_the_buffer(self.source.encoded, epoch_seed)
            decoded = self.source.decode(held, self.least_pixels, self.parallel)
            return decoded.map(lambda element: element["image"])
        images = self.source.dataset.map(lambda element: element["image"])
        if self.dtype.is_floating:
            images = images.map(lambda image: tf.debugging.check_numerics(image, NOT_FINITE))
        if self.fixed:
            return self._through_the_buffer(images, epoch_seed)
        # Images of different sizes do not fit into one tensor, but their serialized bytes do.
        held = self._through_the_buffer(images.map(tf.io.serialize_tensor), epoch_seed)
        return held.map(lambda data: tf.ensure_shape(tf.io.parse_tensor(data, self.dtype), self.shape))

    def _through_the_buffer(self, source, epoch_seed):
        def shuffle(chunk, held):
            rows = tf.range(tf.shape(tf.nest.flatten(held)[0])[0])
            order = _shuffled(rows, epoch_seed, chunk)
            return tf.nest.map_structure(lambda values: tf.gather(values, order), held)

        return source.batch(self.chunk).enumerate().map(shuffle).unbatch()
