"""Images to batches of views, repeatable from a seed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from keras_leoclr.checks import whole_number


def view_dataset(
    source: tf.data.Dataset,
    views: Callable[[Any, Any], dict],
    batch_size: int,
    seed: int = 0,
    shuffle_buffer: int | None = None,
    permute_keys: bool = False,
    initial_epoch: int = 0,
    parallel_batches: int = 2,
    prefetch: int = 2,
) -> tf.data.Dataset:
    """Batches of views for `LeOCLR.fit`.

    Each pass over the returned dataset is the next epoch: other order, other views. Order and views
    depend on `(seed, epoch, batch)` alone, not on how many batches are made in parallel. At most
    `parallel_batches + prefetch` batches are held at a time.

    Args:
        source: images (H, W, C) of one size, or dictionaries with such an `image`; see `data.load`.
        views: layer `(images, seed) -> views`, such as `LeOCLRViews`.
        batch_size: images per batch, at most the number of images. A last, smaller batch is dropped.
        seed: any whole number.
        shuffle_buffer: images that are held and put into random order at a time; all of the source by
            default, which is needed for a uniform order. 1 keeps the order of the source.
        permute_keys: shuffle the key views of a batch against its queries and add `"permutation"`, as
            ShuffleBN (arXiv 1911.05722, section 3.3) needs; of use with `bn_groups` > 1.
        initial_epoch: epoch of the first pass.
        parallel_batches: batches made at the same time.
        prefetch: finished batches that wait for the model.

    Returns:
        tf.data of `{"query": (B, S, S, 3), "keys": (B, V, S, S, 3)}`.
    """
    whole_number("batch_size", batch_size, 1)
    images = source
    if isinstance(source.element_spec, dict):
        images = source.map(lambda element: element["image"])
    count = int(images.cardinality())
    if 0 <= count < batch_size:
        raise ValueError(
            "`batch_size` must not be larger than the dataset. "
            f"Received: batch_size={batch_size}, a dataset of {count} images"
        )
    if shuffle_buffer is None:
        if count < 0:
            raise ValueError(
                "`shuffle_buffer` must be given for a source of unknown size. Received: shuffle_buffer=None"
            )
        shuffle_buffer = count
    root = tf.constant([seed, 0], tf.int64)
    passes = tf.Variable(initial_epoch - 1, dtype=tf.int64, trainable=False)

    def one_epoch(epoch):
        epoch_seed = tf.random.fold_in(root, epoch)

        # Dataset.shuffle would depend on TensorFlow's global seed as well
        def shuffle(index, chunk):
            return tf.random.experimental.stateless_shuffle(chunk, tf.random.fold_in(epoch_seed, -1 - index))

        ordered = images.batch(shuffle_buffer).enumerate().map(shuffle)

        def make_views(batch, batch_images):
            batch_seed = tf.random.fold_in(epoch_seed, batch)
            made = views(batch_images, batch_seed)
            if permute_keys:
                # key row i belongs to query permutation[i]
                permutation = tf.random.experimental.stateless_shuffle(tf.range(batch_size), batch_seed)
                made = {
                    **made,
                    "keys": tf.gather(made["keys"], permutation),
                    "permutation": permutation,
                }
            return made

        batches = ordered.rebatch(batch_size, drop_remainder=True).enumerate()
        return batches.map(make_views, num_parallel_calls=parallel_batches, deterministic=True)

    # One element, made anew at each pass, counts the passes.
    counter = tf.data.Dataset.from_tensors(0).map(lambda _: passes.assign_add(1))
    dataset = counter.flat_map(one_epoch)
    if count >= 0:
        dataset = dataset.apply(tf.data.experimental.assert_cardinality(count // batch_size))
    dataset = dataset.prefetch(prefetch)
    dataset.passes = passes  # keeps the variable alive as long as the dataset
    return dataset


def image_batches(source: tf.data.Dataset, views: Any, batch_size: int = 256) -> tf.data.Dataset:
    """Batches for evaluation: images resized and normalised as `views` do, nothing random.

    Args:
        source: dictionaries `{"image": (H, W, C), "label": ()}`, see `data.load`.
        views: the layer that made the views for training, for its size, mean and deviation.
        batch_size: images per batch; the last batch may be smaller.

    Returns:
        tf.data of `(images (B, S, S, 3) float32, labels (B,))`.
    """
    batches = source.batch(batch_size)
    return batches.map(lambda batch: (views.preprocess(batch["image"]), batch["label"])).prefetch(2)
