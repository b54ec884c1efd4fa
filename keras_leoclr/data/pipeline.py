"""Images to batches of views, repeatable from a seed."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from keras_leoclr.checks import whole_number
from keras_leoclr.data import canvas as canvases
from keras_leoclr.data.epochs import CanvasEpochs, Epochs
from keras_leoclr.data.order import Order, order_of
from keras_leoclr.data.source import Source, as_source
from keras_leoclr.data.value_range import check_source
from keras_leoclr.tensorflow_host import tf


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

    Each pass over the returned dataset is the next epoch: other order, other views. Order and views
    depend on `(seed, epoch, batch)` alone, not on how much is made in parallel, so that a run can start
    at any batch of any epoch, and workers that each take a shard make the batches of one worker
    together.

    A source that can be read by number is shuffled by number: nothing is held, and only the pictures of
    the batches to come are read. Streams, and the datasets that `map`, `filter` and so on make of a source,
    go through a buffer of `shuffle_buffer` images, in the same order; encoded pictures are held as they
    are and decoded afterwards. Pictures are read anew in each epoch: the cache is the operating system's,
    of files, and decoded images are kept only if the source is an array.

    With `views_on="device"` no view is made here. The pictures come as 8 bits on a canvas of one size, with
    the parameters of their views, which `LeOCLR(views=...)` makes of them within its step. The draws are the
    same bits as on the host. A picture that does not fit on the canvas is reduced until it does, and the
    boxes of its crops are in pixels of the reduced picture.

    Args:
        source: what `data.load` returns, or a tf.data.Dataset of images (H, W, C) or of dictionaries with
            such an `image`, pixels in [0, 255]. They may be of many sizes. Of images that are not uint8, the
            first 32 are looked at, unless `views` is a function of your own, which may take any values.
        views: layer `(images, seed) -> views`, such as `LeOCLRViews`.
        batch_size: B, images per batch, at most the number of images. A last, smaller batch is dropped.
        seed: any whole number.
        shuffle_buffer: images that are put into random order at a time; all of the source by
            default, which is needed for a uniform order. 1 keeps the order of the source. It must be given
            for a stream whose number of images is not known.
        permute_keys: shuffle the key views of a batch against its queries and add `"permutation"`, as
            ShuffleBN (arXiv 1911.05722, section 3.3) needs; of use with `bn_groups` > 1. With
            `views_on="device"` the model makes the key views in this order.
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
        views_on: "host", or "device" for views such as `LeOCLRViews` that the model makes.
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
        ValueError: if an argument is wrong, the source is none, or its images are no pixels in [0, 255].
    """
    whole_number("batch_size", batch_size, 1)
    whole_number("initial_epoch", initial_epoch, 0)
    whole_number("initial_batch", initial_batch, 0)
    canvases.check_place(views_on, views, canvas)
    size = canvases.shard_size(shard, batch_size)
    if size < batch_size and not hasattr(views, "views_of_batch"):
        raise ValueError(
            "`shard` needs views that have `draw` and `views_of_batch`, as LeOCLRViews has. "
            f"Received: shard={shard}, views={views!r}"
        )
    parallel = parallel_images or os.cpu_count() or 1
    source = as_source(source, labels=False)
    if hasattr(views, "views_of_batch"):  # a function of the user's may take any values
        source = check_source(source)
    if views_on == "device":
        if source.image_shape[-1] not in (1, 3):
            raise ValueError(
                '`source` must have images of 1 or 3 channels, last, for `views_on="device"`. '
                f"Received: images of shape {source.image_shape}"
            )
        sizes = getattr(source.images, "sizes", None)
        least = views.settings.least_pixels
        canvas = canvases.canvas_of(canvas, source.image_shape, sizes, least)
        canvases.check_memory(canvas, source.image_shape[-1], size, prefetch + parallel_batches + 2)
        least = min(least or canvases.MAX_PIXELS, canvas.height * canvas.width)
        kind, options = CanvasEpochs, {"canvas": canvas}
    else:
        least, kind, options = _least_pixels(views), Epochs, {}
    order = order_of(source, shuffle_buffer, parallel, least)
    if order.count is not None and order.count < batch_size:
        raise ValueError(
            "`batch_size` must not be larger than the dataset. "
            f"Received: batch_size={batch_size}, a dataset of {order.count} images"
        )
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
    with tf.device("CPU:0"):  # functions of tf.data run there and do not reach a variable on a GPU
        passes = tf.Variable(initial_epoch - 1, dtype=tf.int64, trainable=False)
    # One element, made anew at each pass, counts the passes.
    counter = tf.data.Dataset.from_tensors(0).map(lambda _: passes.assign_add(1))
    dataset = counter.flat_map(tf.autograph.experimental.do_not_convert(epochs.batches_of))
    if order.count is not None and not initial_batch:
        dataset = dataset.apply(tf.data.experimental.assert_cardinality(order.count // batch_size))
    dataset = dataset.prefetch(prefetch)
    dataset.passes = passes  # keeps the variable alive as long as the dataset
    return dataset


def _check_views(views: Any, order: Order) -> None:
    if order.by_image and not order.fixed and not hasattr(views, "views_of_one"):
        raise ValueError(
            "`views` must have `draw` and `views_of_one`, as LeOCLRViews has, for images of many sizes. "
            f"Received: views={views!r}"
        )


def _least_pixels(views: Any) -> int | None:
    """Pixels that an image must keep for its smallest crop to be as large as the view."""
    key_view = getattr(views, "key_view", None)
    if key_view is None or key_view.crop_scale is None:
        return None
    ratio = max(key_view.crop_ratio[1], 1 / key_view.crop_ratio[0])
    return round(key_view.image_size**2 * ratio / key_view.crop_scale[0])


def image_batches(source: Source | tf.data.Dataset, views: Any, batch_size: int = 256) -> tf.data.Dataset:
    """Batches for evaluation: images resized and normalised as `views` do, nothing random.

    Args:
        source: what `data.load` returns, or a tf.data.Dataset of dictionaries
            `{"image": (H, W, C), "label": ()}`, pixels in [0, 255]; of any sizes.
        views: the layer that made the views for training, or a `Preprocessing`, for size, mean and deviation.
        batch_size: images per batch; the last batch may be smaller.

    Returns:
        tf.data of `(images (B, S, S, 3) float32, labels (B,))`; with several labels per image, labels are
        (B, C) uint8 zeros and ones.
    """
    source = as_source(source)
    if views is None or any(hasattr(views, name) for name in ("views_of_batch", "takes_pixels")):
        source = check_source(source)  # a layer of the user's may take any values
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
