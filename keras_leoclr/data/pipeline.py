"""Images to batches of views, repeatable from a seed."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from keras_leoclr.checks import whole_number
from keras_leoclr.data.readers.arrays import ArrayImages
from keras_leoclr.data.source import Source, as_source
from keras_leoclr.tensorflow_host import tf

# Images of one size that are larger than this are made into views one by one: an image and its views stay
# in the cache of a core. Smaller ones are worked on as a batch.
LARGE_SIDE = 128


def view_dataset(
    source: Source | tf.data.Dataset,
    views: Callable[[Any, Any], dict] | None,
    batch_size: int,
    seed: int = 0,
    shuffle_buffer: int | None = None,
    permute_keys: bool = False,
    initial_epoch: int = 0,
    initial_batch: int = 0,
    shard: tuple[int, int] = (0, 1),
    parallel_batches: int = 2,
    parallel_images: int | None = None,
    prefetch: int = 2,
) -> tf.data.Dataset:
    """Batches of views for `LeOCLR.fit`.

    Each pass over the returned dataset is the next epoch: other order, other views. Order and views
    depend on `(seed, epoch, batch)` alone, not on how much is made in parallel, so that a run can start
    at any batch of any epoch, and workers that each take a shard make the batches of one worker
    together.

    A source of `data.load` that can be read in any order is shuffled by number: nothing is held, and
    only the pictures of the batches to come are read. Others (streams, and what was made of a source
    with `take`, `map` and so on) go through a buffer of `shuffle_buffer` images; encoded pictures are
    held as they are and decoded afterwards. Pictures are read anew in each epoch: the cache is the
    operating system's, of files, and decoded images are kept only if the source is an array.

    Args:
        source: images (H, W, C), or dictionaries with such an `image`; see `data.load`. They may be of
            many sizes.
        views: layer `(images, seed) -> views`, such as `LeOCLRViews`; None for batches of the images
            themselves and seeds, from which `LeOCLR(views=...)` makes the views within the step.
        batch_size: B, images per batch, at most the number of images. A last, smaller batch is dropped.
        seed: any whole number.
        shuffle_buffer: images that are put into random order at a time; all of the source by
            default, which is needed for a uniform order. 1 keeps the order of the source.
        permute_keys: shuffle the key views of a batch against its queries and add `"permutation"`, as
            ShuffleBN (arXiv 1911.05722, section 3.3) needs; of use with `bn_groups` > 1.
        initial_epoch: epoch of the first pass.
        initial_batch: batch that the first pass starts with; later passes start with batch 0. Keras' `fit`
            takes the number of steps of its first epoch for those of all, so that such a pass needs a
            `fit` of its own, as `callbacks.Checkpoint.fit` makes.
        shard: (index, count): this worker makes images index * B / count and following of each batch,
            and permutes keys among these. Of a source that can be read in any order it reads nothing else.
        parallel_batches: batches made at the same time, of images of one small size.
        parallel_images: images made into views at the same time, where they are large or of many sizes,
            and pictures decoded at the same time; by default as many as there are cores.
        prefetch: finished batches that wait for the model.

    Returns:
        tf.data of `{"query": (B, S, S, 3), "keys": (B, V, S, S, 3)}`, B / count of them in a shard; with
        `views=None` of `{"image": (B, H, W, C), "seed": (B, 2)}`, images of one size.
    """
    whole_number("batch_size", batch_size, 1)
    whole_number("initial_epoch", initial_epoch, 0)
    whole_number("initial_batch", initial_batch, 0)
    index, shards = shard
    if not 0 <= index < shards or batch_size % shards:
        raise ValueError(
            "`shard` must be (index, count) with 0 <= index < count, and count must divide `batch_size`. "
            f"Received: shard={shard}, batch_size={batch_size}"
        )
    if shards > 1 and not hasattr(views, "views_of_batch"):
        raise ValueError(
            "`shard` needs views that have `draw` and `views_of_batch`, as LeOCLRViews has. "
            f"Received: shard={shard}, views={views!r}"
        )
    parallel = parallel_images or os.cpu_count() or 1
    ordered = _order(as_source(source), shuffle_buffer, parallel, _least_pixels(views))
    if 0 <= ordered.count < batch_size:
        raise ValueError(
            "`batch_size` must not be larger than the dataset. "
            f"Received: batch_size={batch_size}, a dataset of {ordered.count} images"
        )
    if views is None and ordered.by_image and not ordered.fixed:
        raise ValueError("`views=None` needs images of one size. Received: images of many sizes")
    by_image = ordered.by_image and hasattr(views, "views_of_one")
    if ordered.by_image and not ordered.fixed and not by_image:
        raise ValueError(
            "`views` must have `draw` and `views_of_one`, as LeOCLRViews has, for images of many sizes. "
            f"Received: views={views!r}"
        )
    size = batch_size // shards
    start = index * size
    root = tf.constant([seed, 0], tf.int64)
    passes = tf.Variable(initial_epoch - 1, dtype=tf.int64, trainable=False)

    def permuted(made, batch_seed):
        if not permute_keys:
            return made
        # key row i belongs to query permutation[i]
        permutation = tf.random.experimental.stateless_shuffle(tf.range(size), batch_seed)
        keys = tf.gather(made["keys"], permutation)
        return {**made, "keys": keys, "permutation": start + permutation}

    def one_epoch(epoch):
        epoch_seed = tf.random.fold_in(root, epoch)
        first = tf.where(epoch == initial_epoch, tf.constant(initial_batch, tf.int64), 0)

        def seed_of(batch):
            return tf.random.fold_in(epoch_seed, batch)

        def draws_of(batch):
            draws = views.draw(batch_size, seed_of(batch))
            return tf.nest.map_structure(lambda rows: rows[start : start + size], draws)

        if not by_image:
            images = ordered.batches(epoch_seed, first, batch_size, start, size)

            def make(batch, batch_images):
                if views is None:
                    seeds = tf.random.split(tf.cast(seed_of(batch), tf.int32), batch_size)
                    return {"image": batch_images, "seed": seeds}
                if shards == 1:
                    return permuted(views(batch_images, seed_of(batch)), seed_of(batch))
                return permuted(views.views_of_batch(batch_images, draws_of(batch)), seed_of(batch))

            return _numbered(images, first).map(make, num_parallel_calls=parallel_batches, deterministic=True)

        images = ordered.images(epoch_seed, first, batch_size, start, size)
        draws = tf.data.Dataset.range(first, tf.int64.max).map(draws_of)
        made = tf.data.Dataset.zip((images, draws.unbatch())).map(
            views.views_of_one, num_parallel_calls=parallel, deterministic=True
        )
        batches = made.batch(size, drop_remainder=True)
        if not permute_keys:
            return batches
        return _numbered(batches, first).map(lambda batch, made: permuted(made, seed_of(batch)))

    # One element, made anew at each pass, counts the passes.
    counter = tf.data.Dataset.from_tensors(0).map(lambda _: passes.assign_add(1))
    dataset = counter.flat_map(tf.autograph.experimental.do_not_convert(one_epoch))
    if ordered.count >= 0 and not initial_batch:
        dataset = dataset.apply(tf.data.experimental.assert_cardinality(ordered.count // batch_size))
    dataset = dataset.prefetch(prefetch)
    dataset.passes = passes  # keeps the variable alive as long as the dataset
    return dataset


def _numbered(batches: tf.data.Dataset, first: Any) -> tf.data.Dataset:
    return tf.data.Dataset.zip((tf.data.Dataset.range(first, tf.int64.max), batches))


def _least_pixels(views: Any) -> int | None:
    """Pixels that an image must keep for its smallest crop to be as large as the view."""
    key_view = getattr(views, "key_view", None)
    if key_view is None or key_view.crop_scale is None:
        return None
    ratio = max(key_view.crop_ratio[1], 1 / key_view.crop_ratio[0])
    return round(key_view.image_size**2 * ratio / key_view.crop_scale[0])


def _order(source: Source, shuffle_buffer: int | None, parallel: int, least_pixels: int | None):
    """How the images of a source are put into the order of an epoch."""
    if source.images is not None:
        return _ByNumber(source.images, shuffle_buffer, parallel, least_pixels)
    return _Buffered(source, shuffle_buffer, parallel, least_pixels)


def _shuffled(rows: Any, epoch_seed: Any, chunk: Any) -> Any:
    """A random order of the rows of a chunk; Dataset.shuffle would depend on TensorFlow's global seed."""
    return tf.random.experimental.stateless_shuffle(rows, tf.random.fold_in(epoch_seed, -1 - chunk))


class _ByNumber:
    """Order of a source that can be read in any order: of numbers, nothing else is held."""

    def __init__(self, images, shuffle_buffer, parallel, least_pixels):
        self.source = images
        self.count = images.count
        self.chunk = min(shuffle_buffer or self.count, self.count)
        self.parallel = parallel
        self.least_pixels = least_pixels
        shape = images.image_shape
        self.fixed = None not in shape
        self.by_image = not self.fixed or max(shape[:2]) > LARGE_SIDE

    def _numbers(self, epoch_seed):
        chunks = tf.data.Dataset.range(self.count).batch(self.chunk)
        return chunks.enumerate().map(lambda chunk, rows: _shuffled(rows, epoch_seed, chunk))

    def _own_numbers(self, epoch_seed, first, batch_size, start, size):
        """Batches of the numbers `start` to `start + size` of each batch from `first` on."""
        numbers = self._numbers(epoch_seed).rebatch(batch_size, drop_remainder=True).skip(first)
        return numbers.map(lambda rows: rows[start : start + size])

    def batches(self, epoch_seed, first, batch_size, start, size):
        if not isinstance(self.source, ArrayImages):
            return self.images(epoch_seed, first, batch_size, start, size).batch(size, drop_remainder=True)
        numbers = self._own_numbers(epoch_seed, first, batch_size, start, size)
        return self.source.fetch(numbers).map(lambda element: element["image"])

    def images(self, epoch_seed, first, batch_size, start, size):
        numbers = self._own_numbers(epoch_seed, first, batch_size, start, size).unbatch()
        return self.source.fetch(numbers, self.least_pixels, self.parallel).map(
            lambda element: element["image"]
        )


class _Buffered:
    """Order of a stream: chunks of `shuffle_buffer` images are held and shuffled."""

    def __init__(self, source, shuffle_buffer, parallel, least_pixels):
        self.decode = None
        if source.encoded is not None:
            self.source = source.encoded
            self.decode = lambda held: source.decode(held, least_pixels, parallel)
        else:
            self.source = source.map(lambda element: element["image"])
        image = source.element_spec["image"]
        self.shape, self.dtype = image.shape, image.dtype
        self.count = -1 if source.count is None else source.count
        if shuffle_buffer is None and self.count < 0:
            raise ValueError(
                "`shuffle_buffer` must be given for a source of unknown size. Received: shuffle_buffer=None"
            )
        self.chunk = shuffle_buffer or max(self.count, 1)
        self.fixed = self.shape.is_fully_defined()
        self.by_image = not self.fixed or max(self.shape[:2]) > LARGE_SIDE

    def _shuffled_images(self, epoch_seed):
        if self.decode is not None:
            held = self._through_the_buffer(self.source, epoch_seed)
            return self.decode(held).map(lambda element: element["image"])
        if self.fixed:
            return self._through_the_buffer(self.source, epoch_seed)
        # images of many sizes do not fit into one tensor, but their bytes do
        held = self._through_the_buffer(self.source.map(tf.io.serialize_tensor), epoch_seed)
        return held.map(lambda data: tf.ensure_shape(tf.io.parse_tensor(data, self.dtype), self.shape))

    def _through_the_buffer(self, source, epoch_seed):
        def shuffle(chunk, held):
            rows = tf.range(tf.shape(tf.nest.flatten(held)[0])[0])
            order = _shuffled(rows, epoch_seed, chunk)
            return tf.nest.map_structure(lambda values: tf.gather(values, order), held)

        return source.batch(self.chunk).enumerate().map(shuffle).unbatch()

    def batches(self, epoch_seed, first, batch_size, start, size):
        batches = self._shuffled_images(epoch_seed).batch(batch_size, drop_remainder=True).skip(first)
        return batches.map(lambda images: images[start : start + size])

    def images(self, epoch_seed, first, batch_size, start, size):
        images = self._shuffled_images(epoch_seed).skip(first * batch_size)
        if size == batch_size:
            return images
        batches = images.window(batch_size, drop_remainder=True)
        return batches.flat_map(lambda batch: batch.skip(start).take(size))


def image_batches(source: Source | tf.data.Dataset, views: Any, batch_size: int = 256) -> tf.data.Dataset:
    """Batches for evaluation: images resized and normalised as `views` do, nothing random.

    Args:
        source: dictionaries `{"image": (H, W, C), "label": ()}`, see `data.load`; of any sizes.
        views: the layer that made the views for training, for its size, mean and deviation.
        batch_size: images per batch; the last batch may be smaller.

    Returns:
        tf.data of `(images (B, S, S, 3) float32, labels (B,))`.
    """
    source = as_source(source)
    source.check_labelled()
    shape = source.element_spec["image"].shape
    if not shape.is_fully_defined():
        # one by one to the same size, where a batch does it otherwise
        single = source.map(
            lambda element: (views.preprocess(element["image"][None])[0], element["label"]),
            num_parallel_calls=tf.data.AUTOTUNE,
        )
        return single.batch(batch_size).prefetch(2)
    batches = source.batch(batch_size)
    return batches.map(lambda batch: (views.preprocess(batch["image"]), batch["label"])).prefetch(2)
