"""Makes batches of views from images, repeatable from a seed."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from keras_leoclr.checks import whole_number, whole_seed
from keras_leoclr.data import canvas as canvases
from keras_leoclr.data.epochs import CanvasEpochs, Epochs
from keras_leoclr.data.order import Order, order_of
from keras_leoclr.data.source import Source
from keras_leoclr.data.source_arguments import as_source
from keras_leoclr.data.value_range import check_source
from keras_leoclr.tensorflow_host import tf, untuned


def view_dataset(
    source: Source | tf.data.Dataset,
    views: Callable[[Any, Any], dict],
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
    views_on: str = "host",
    canvas: tuple[int, int] | None = None,
) -> tf.data.Dataset:
    """Batches of views for `LeOCLR.fit`.

    Each pass over the returned data set is the next epoch, with another order and other views. Order and
    views depend on `(seed, epoch, batch)` alone, not on how much is computed in parallel. A run can
    therefore start at any batch of any epoch, and workers that each take a shard make together the batches
    that one worker would make.

    A source that can be read by number is shuffled by number: no image is held, and only the pictures of
    the next batches are read. Streams, and data sets made by `map`, `filter` and so on from a source, are
    shuffled in a buffer of `shuffle_buffer` images, into the same order; encoded pictures are held encoded
    and decoded afterwards. Pictures are read again in each epoch. Files are cached by the operating system,
    and decoded images are kept only if the source is an array.

    With `views_on="device"` no view is made here. The batch has uint8 pictures on a canvas of one size and
    the parameters of their views, from which `LeOCLR(views=...)` makes the views within its step. The random
    numbers are the same bits as on the host. A picture that does not fit on the canvas is reduced until it
    does, and the boxes of its crops are in pixels of the reduced picture.

    Args:
        source: the result of `data.load`, or a tf.data.Dataset of images (H, W, C) or of dictionaries with
            such an `image`, pixels in [0, 255]. The sizes may differ. If the images are not uint8, the first
            32 are checked, unless `views` is a function of your own, which may take any values.
        views: layer `(images, seed) -> views`, such as `LeOCLRViews`.
        batch_size: B, images per batch, at most the number of images. A last, smaller batch is dropped.
        seed: seed of the order and the views, any whole number of 64 bits; 0 by default.
        shuffle_buffer: number of images that are shuffled together; by default all of the source, which a
            uniform order needs. 1 keeps the order of the source. It must be given for a stream whose number
            of images is not known.
        permute_keys: whether to permute the key views of a batch relative to its queries and to add
            `"permutation"`, as ShuffleBN (arXiv 1911.05722, section 3.3) needs; useful with `bn_groups` > 1.
            With `views_on="device"` the model makes the key views in this order. False by default.
        initial_epoch: epoch of the first pass; 0 by default.
        initial_batch: batch that the first pass starts with, 0 by default; later passes start with batch 0.
            Keras' `fit` assumes that all epochs have as many steps as its first one, so a pass that starts
            later needs its own call of `fit`, as `callbacks.Checkpoint.fit` makes.
        shard: (index, count); this worker makes images index * B / count and following of each batch,
            and permutes keys among these. If the source can be read in any order, it reads only these.
        parallel_batches: number of batches made at the same time, if the images have one small size; 2 by
            default.
        parallel_images: number of images made into views at the same time, if they are large or of different
            sizes, and of pictures decoded at the same time; by default the number of cores.
        prefetch: number of finished batches that wait for the model; 2 by default.
        views_on: "host" (the default), or "device" for views such as `LeOCLRViews` that the model makes.
        canvas: (height, width) of the canvas in pixels, with `views_on="device"`. By default each side is the
            largest that a picture of the source has, but no more than pictures of 4:3 need for their smallest
            crop to be as large as the view; see `data.canvas`.

    Returns:
        tf.data of `{"query": (B, S, S, 3), "keys": (B, V, S, S, 3)}`, B / count of them in a shard; with
        `views_on="device"` of `{"image": (B, H, W, C) uint8, "size": (B, 2) int32, "query_parameters":
        (B, P), "key_parameters": (B, V, P)}`, the size as height and width, and `made_for`, see
        `views.sampling.packed_pair`. With `permute_keys` also `"permutation"` (B,): key row i belongs to
        query `permutation[i]`.

    Raises:
        ValueError: if an argument or the source is not valid, or its images are not pixels in [0, 255].
    """
    whole_number("batch_size", batch_size, 1)
    whole_number("initial_epoch", initial_epoch, 0)
    whole_number("initial_batch", initial_batch, 0)
    seed = whole_seed(seed)
    whole_number("shuffle_buffer", 1 if shuffle_buffer is None else shuffle_buffer, 1)
    whole_number("parallel_batches", parallel_batches, 1)
    whole_number("parallel_images", 1 if parallel_images is None else parallel_images, 1)
    whole_number("prefetch", prefetch, 0)
    canvases.check_place(views_on, views, canvas)
    size = canvases.shard_size(shard, batch_size)
    if size < batch_size and not hasattr(views, "views_of_batch"):
        raise ValueError(
            "`shard` needs views that have `draw` and `views_of_batch`, as LeOCLRViews has. "
            f"Received: shard={shard}, views={views!r}"
        )
    parallel = parallel_images or os.cpu_count() or 1
    source = as_source(source, labels=False)
    if hasattr(views, "views_of_batch"):  # A function of the user may take images with any values.
        source = check_source(source)
    if views_on == "device":
        needed = len(views.settings.keys.mean)
        if source.image_shape[-1] not in (needed, 1 if needed == 3 else needed):
            which = "1 or 3" if needed == 3 else needed
            raise ValueError(
                f'`source` must have images of {which} channels, last, for `views_on="device"`. '
                f"Received: images of shape {source.image_shape}"
            )
        sizes = getattr(source.images, "sizes", None)
        least = views.settings.least_pixels
        canvas = canvases.canvas_of(canvas, source.image_shape, sizes, least)
        canvases.check_memory(canvas, source.image_shape[-1], size, prefetch + parallel_batches + 2)
        least = min(least or canvases.MAX_PIXELS, canvas.height * canvas.width)
        kind, options = CanvasEpochs, {"canvas": canvas}
    else:
        # Views by a function of the user are made of whole pictures.
        least, kind, options = getattr(getattr(views, "settings", None), "least_pixels", None), Epochs, {}
    order = order_of(source, shuffle_buffer, parallel, least)
    if order.count is not None and order.count < batch_size:
        raise ValueError(
            "`batch_size` must not be larger than the dataset. "
            f"Received: batch_size={batch_size}, a dataset of {order.count} images"
        )
    if order.count is not None:
        canvases.check_initial_batch(initial_batch, order.count // batch_size)
    _check_views(views, order)
    epochs = kind(
        order=order,
        views=views,
        seed=tf.constant([seed, 0], tf.int64),
        batch_size=batch_size,
        start=shard[0] * size,
        size=size,
        permute_keys=permute_keys,
        initial=(initial_epoch, initial_batch),
        parallel_batches=parallel_batches,
        parallel_images=parallel,
        **options,
    )
    with tf.device("CPU:0"):  # tf.data functions run on the CPU and cannot access a variable on a GPU.
        passes = tf.Variable(initial_epoch - 1, dtype=tf.int64, trainable=False)
    # A data set with one element, which is computed again at each pass, counts the passes.
    counter = tf.data.Dataset.from_tensors(0).map(lambda _: passes.assign_add(1))
    dataset = counter.flat_map(tf.autograph.experimental.do_not_convert(epochs.batches_of))
    if order.count is not None and not initial_batch:
        dataset = dataset.apply(tf.data.experimental.assert_cardinality(order.count // batch_size))
    dataset = untuned(dataset.prefetch(prefetch))
    dataset.passes = passes  # This keeps the variable alive as long as the data set.
    return dataset


def _check_views(views: Any, order: Order) -> None:
    if order.by_image and not order.fixed and not hasattr(views, "views_of_one"):
        raise ValueError(
            "`views` must have `draw` and `views_of_one`, as LeOCLRViews has, for images of many sizes. "
            f"Received: views={views!r}"
        )


def image_batches(source: Source | tf.data.Dataset, views: Any, batch_size: int = 256) -> tf.data.Dataset:
    """Batches for evaluation: images are read, resized and normalised as the originals of `views`.

    They are the query views of `LeOCLRViews` without anything random: large JPEGs are decoded at the same
    fraction of their size, and images are reduced with a filter if the views reduce the original with one. A
    source with a `least_pixels` of its own is decoded by that.

    Args:
        source: the result of `data.load`, or a tf.data.Dataset of dictionaries
            `{"image": (H, W, C), "label": ()}`, pixels in [0, 255]; the sizes may differ.
        views: the layer that made the training views, or a `Preprocessing`; it gives size, mean, deviation,
            filter and fraction.
        batch_size: images per batch, 256 by default; the last batch may be smaller.

    Returns:
        tf.data of `(images (B, S, S, 3) float32, labels (B,))`; with several labels per image, labels are
        (B, C) uint8 zeros and ones.
    """
    whole_number("batch_size", batch_size, 1)
    source = as_source(source)
    if views is None or any(hasattr(views, name) for name in ("views_of_batch", "takes_pixels")):
        source = check_source(source)  # A layer of the user may take images with any values.
    source.check_labelled()
    source = source.reduced(getattr(getattr(views, "settings", views), "least_pixels", None))
    shape = source.element_spec["image"].shape
    if not shape.is_fully_defined():
        # Images of different sizes are resized one by one; images of one size are resized as a batch.
        single = source.map(
            lambda element: (views.preprocess(element["image"][None])[0], element["label"]),
            num_parallel_calls=os.cpu_count() or 1,
        )
        return single.batch(batch_size).prefetch(2)
    batches = source.batch(batch_size)
    return batches.map(lambda batch: (views.preprocess(batch["image"]), batch["label"])).prefetch(2)
