"""The batches of every epoch as tf.data; they depend on the seed, the epoch and the batch number only."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from keras_leoclr.data.canvas import Canvas
from keras_leoclr.data.order import Order
from keras_leoclr.tensorflow_host import tf


@dataclasses.dataclass(frozen=True)
class Epochs:
    """The batches of views of every epoch; the fields are described in `view_dataset`.

    Attributes:
        start: first image of a batch that this worker makes.
        size: number of images of a batch that this worker makes.
    """

    order: Order
    views: Callable[[Any, Any], dict]
    seed: tf.Tensor
    batch_size: int
    start: int
    size: int
    permute_keys: bool
    initial: tuple[int, int]
    parallel_batches: int
    parallel_images: int

    def batches_of(self, epoch: tf.Tensor) -> tf.data.Dataset:
        """The batches of an epoch, () int64; the first epoch starts at the initial batch."""
        epoch_seed = tf.random.fold_in(self.seed, epoch)
        initial_epoch, initial_batch = self.initial
        first = tf.where(epoch == initial_epoch, tf.constant(initial_batch, tf.int64), 0)
        return self._made(epoch_seed, first)

    def _made(self, epoch_seed, first):
        if self.order.by_image and hasattr(self.views, "views_of_one"):
            return self._one_by_one(epoch_seed, first)
        return self._at_once(epoch_seed, first)

    def _at_once(self, epoch_seed, first):
        def make(number, images):
            batch_seed = tf.random.fold_in(epoch_seed, number)
            return self._permuted(self._views_of_batch(images, batch_seed), batch_seed)

        batches = self.order.batches(epoch_seed, first, self.batch_size, self.start, self.size)
        return self._each(batches, first, make)

    def _views_of_batch(self, images, batch_seed):
        if self.size == self.batch_size:
            return self.views(images, batch_seed)
        return self.views.views_of_batch(images, self._own_draws(batch_seed))

    def _one_by_one(self, epoch_seed, first):
        images = self._images(epoch_seed, first)
        draws = tf.data.Dataset.range(first, tf.int64.max).map(
            lambda number: self._own_draws(tf.random.fold_in(epoch_seed, number))
        )
        made = tf.data.Dataset.zip((images, draws.unbatch())).map(
            self.views.views_of_one, num_parallel_calls=self.parallel_images, deterministic=True
        )
        # Batching copies the views, which keeps a core busy, so it runs in parallel, too.
        together = {"num_parallel_calls": self.parallel_batches, "deterministic": True}
        batches = made.batch(self.size, drop_remainder=True, **together)
        if not self.permute_keys:
            return batches

        def permuted(number, made):
            return self._permuted(made, tf.random.fold_in(epoch_seed, number))

        return self._each(batches, first, permuted)

    def _images(self, epoch_seed, first):
        return self.order.images(epoch_seed, first, self.batch_size, self.start, self.size)

    def _each(self, batches, first, make):
        return _numbered(batches, first).map(
            make, num_parallel_calls=self.parallel_batches, deterministic=True
        )

    def _own_draws(self, batch_seed):
        draws = self.views.draw(self.batch_size, batch_seed)
        return tf.nest.map_structure(lambda rows: rows[self.start : self.start + self.size], draws)

    def _permutation(self, batch_seed):
        """A permutation of the rows of this worker; key row i belongs to query `permutation[i]`."""
        return tf.random.experimental.stateless_shuffle(tf.range(self.size), batch_seed)

    def _permuted(self, made, batch_seed):
        if not self.permute_keys:
            return made
        permutation = self._permutation(batch_seed)
        keys = tf.gather(made["keys"], permutation)
        return {**made, "keys": keys, "permutation": self.start + permutation}


@dataclasses.dataclass(frozen=True)
class CanvasEpochs(Epochs):
    """The pictures of every epoch on a canvas, with the parameters from which a device makes their views.

    Attributes:
        canvas: height and width of all pictures, see `data.canvas`.
    """

    canvas: Canvas

    def _made(self, epoch_seed, first):
        def make(number, pictures):
            batch_seed = tf.random.fold_in(epoch_seed, number)
            height, width = tf.unstack(pictures["size"], axis=1)
            made = {**pictures, **self.views.packed(self._own_draws(batch_seed), height, width)}
            if self.permute_keys:  # The device makes the key views and puts them into this order.
                made["permutation"] = self.start + self._permutation(batch_seed)
            return {name: tf.ensure_shape(rows, [self.size, *rows.shape[1:]]) for name, rows in made.items()}

        return self._each(self._pictures(epoch_seed, first), first, make)

    def _pictures(self, epoch_seed, first):
        if self.order.fixed and self.order.shape[:2] == tuple(self.canvas):
            batches = self.order.batches(epoch_seed, first, self.batch_size, self.start, self.size)
            size = tf.constant([self.canvas] * self.size, tf.int32)
            return batches.map(lambda images: {"image": _pixels(images), "size": size})
        placed = self._images(epoch_seed, first).map(
            self._fitted, num_parallel_calls=self.parallel_images, deterministic=True
        )
        shapes = {"image": (*self.canvas, self.order.shape[-1]), "size": (2,)}
        return placed.padded_batch(self.size, shapes, drop_remainder=True)

    def _fitted(self, image):
        height, width = self.canvas
        image, shape = _pixels(image), tf.shape(image)
        image = tf.cond(
            tf.logical_and(shape[0] <= height, shape[1] <= width),
            lambda: image,
            lambda: tf.numpy_function(self.canvas.reduced, [image], tf.uint8, stateful=False),
        )
        image = tf.ensure_shape(image, [None, None, self.order.shape[-1]])
        return {"image": image, "size": tf.shape(image)[:2]}


def _pixels(images):
    """Returns uint8 images unchanged and rounds floats in [0, 255] to uint8, see `canvas.pixels`."""
    if images.dtype == tf.uint8:
        return images
    return tf.cast(tf.round(tf.clip_by_value(images, 0, 255)), tf.uint8)


def _numbered(batches: tf.data.Dataset, first: Any) -> tf.data.Dataset:
    return tf.data.Dataset.zip((tf.data.Dataset.range(first, tf.int64.max), batches))
