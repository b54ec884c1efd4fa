"""Labelled images for evaluation: the identity of a source, batches of its images, and duplicate images."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from keras_leoclr.data.readers.archives import state_of
from keras_leoclr.data.readers.arrays import ArrayImages
from keras_leoclr.data.readers.folder import FolderImages, labels_digest
from keras_leoclr.data.readers.tfrecord import tfrecord_files
from keras_leoclr.data.source import Source
from keras_leoclr.data.source_arguments import as_source
from keras_leoclr.runs.folder import IN_PYTHON
from keras_leoclr.tensorflow_host import tf, untuned
from keras_leoclr.views.host import RandomView
from keras_leoclr.views.preprocessing import Preprocessing
from keras_leoclr.views.settings import CLEAN, least_pixels

STREAM_BUFFER = 10_000  # images that are shuffled at a time if the source cannot be read by number


def data_identity(source: Source, name: str, split: str) -> dict[str, Any]:
    """The identity of the data that a cache of features belongs to, besides the backbone.

    Arrays are identified by their content. Pictures of a folder are identified by path, size and time of
    change, and by their labels if they have several, since the path does not contain these. Other sources
    are identified by name, split and number of images alone, which do not distinguish streams that are given
    as objects, see `features_identity`.

    Args:
        source: a source, as `data.load` returns it.
        name: name of the data set, as `data.load` takes it.
        split: name of the split, as `data.load` takes it.
    """
    source = as_source(source)
    about = {"dataset": str(name), "split": split, "count": -1 if source.count is None else source.count}
    images = source.images
    digest = hashlib.blake2b(digest_size=16)
    if isinstance(images, ArrayImages):
        for element in source.batch(1024).as_numpy_iterator():
            for array in element.values():
                digest.update(array.tobytes())
    elif isinstance(images, FolderImages):
        for path in images.paths:
            size, changed = state_of(path)
            digest.update(f"{path}\0{size}\0{changed}\0".encode("utf-8", "surrogateescape"))
        if images.several_labels or (images.mixture and images.labelled):
            digest.update(labels_digest(images).encode())
    else:
        return about
    return about | {"content": digest.hexdigest()}


def features_identity(source: Source, name: str, split: str, views: Any) -> dict[str, Any] | None:
    """The identity of the features of a source, which a cache depends on: images, labels and preprocessing.

    Pictures of a folder are also identified by their labels, which a cache holds too, and by how their values
    are read; TFRecord files, if they are named, by size and time of change as well. `least_pixels` counts
    where a picture may be so large that it is decoded at a fraction of its size.

    Args:
        source: a source, as `data.load` returns it.
        name: name of the data set, as `data.load` takes it.
        split: name of the split, as `data.load` takes it.
        views: a `Preprocessing`, or views such as `LeOCLRViews`.

    Returns:
        The identity; None if nothing distinguishes the images from others, so that nothing may be kept: a
        stream that is given as an object has neither a name nor a content that could be compared.
    """
    made = Preprocessing.of(views)
    about = {"size": made.image_size, "mean": list(made.mean), "std": list(made.std)}
    if made.antialias:
        about["antialias"] = True
    source = as_source(source).reduced(made.least_pixels)
    found = data_identity(source, name, split)
    if "content" not in found:
        if str(name) in ("", IN_PYTHON):
            return None
        if source.part:  # Two parts with equally many images must not be confused.
            about["part"] = source.part
        if source.least_pixels is not None:
            about["least_pixels"] = source.least_pixels
        if states := _states_of_records(source, str(name)):
            about["files"] = states
    elif isinstance(source.images, FolderImages):
        about |= _reading_of(source)
        if source.images.labelled:
            about["labels"] = labels_digest(source.images)
    return found | about


def _reading_of(source: Source) -> dict[str, Any]:
    """What the pixels of pictures in a folder depend on besides their files."""
    images = source.images
    kept = {"background": list(images.background), "least_pixels": source.least_pixels}
    if images.pixels is not None:
        kept |= {"channels": images.pixels.channels, "value_range": list(images.pixels.value_range)}
    return kept


def _states_of_records(source: Source, name: str) -> list[Any]:
    """Name, size and time of change of TFRecord files; [] if the source has others."""
    if source.encoded is None or name.startswith("tfds:"):
        return []
    return [[os.path.abspath(path), *state_of(path)] for path in tfrecord_files(os.path.expanduser(name))]


def labelled_batches(
    source: Source | tf.data.Dataset,
    view: Callable[[Any, Any], Any],
    batch_size: int = 256,
    seed: int = 0,
    epochs: int = 0,
) -> tf.data.Dataset:
    """Batches of augmented or changed images with their labels; a pure function of the arguments.

    Args:
        source: dictionaries `{"image": (H, W, C), "label": ()}`, see `data.load`; the sizes may differ.
        view: function (images (B, H, W, C), seed (2,)) -> (B, S, S, 3). If the sizes of the images differ, it
            is called with one image at a time. If it has an attribute `least_pixels`, large JPEGs are decoded
            at a fraction of their size, see `Source.reduced`.
        batch_size: B; 256 by default.
        seed: seed of the views and of the order; 0 by default.
        epochs: 0 (the default) yields the images once, in their order, and the last batch may be smaller.
            A larger number yields so many passes, each shuffled anew; a smaller last batch of a pass is
            dropped unless it is the only one. Sources that cannot be read by number are shuffled in a buffer
            of 10,000 images; if their number of images is not known, a batch may hold images of two passes.

    Returns:
        tf.data data set of `(images (B, S, S, 3), labels (B,))`.
    """
    source = as_source(source)
    source.check_labelled()
    source = source.reduced(getattr(view, "least_pixels", None))
    root = tf.constant([seed, 1], tf.int64)
    fixed = source.element_spec["image"].shape.is_fully_defined()
    count = source.count
    whole = epochs > 0 and count is not None and count >= batch_size
    size = batch_size if count is None else min(batch_size, max(count, 1))

    def one_pass(epoch):
        """The batches of a pass, or of all passes over a stream, whose orders follow from one another."""
        epoch_seed = tf.random.fold_in(root, epoch)
        if epochs and source.images is not None:
            order = tf.random.experimental.stateless_shuffle(tf.range(count, dtype=tf.int64), epoch_seed)
            elements = source.images.fetch(tf.data.Dataset.from_tensor_slices(order), source.least_pixels)
        elif epochs:
            elements = source.shuffle(STREAM_BUFFER, seed=seed, reshuffle_each_iteration=True)
            elements = elements.take(count // size * size if whole else -1).repeat(epochs)
        else:
            elements = source

        def make(number, element):
            own = tf.cast(tf.random.fold_in(epoch_seed, number), tf.int32)
            if fixed:
                return view(element["image"], own), element["label"]
            return view(element["image"][None], own)[0], element["label"]

        if fixed:
            elements = elements.batch(size, drop_remainder=whole)
        made = elements.enumerate().map(make, num_parallel_calls=os.cpu_count() or 1, deterministic=True)
        return made if fixed else made.batch(size, drop_remainder=whole)

    passes = tf.data.Dataset.range(max(1, epochs) if source.images is not None else 1)
    batches = passes.flat_map(tf.autograph.experimental.do_not_convert(one_pass))
    if count is not None:
        each = count // size if whole else -(-count // size)
        batches = batches.apply(tf.data.experimental.assert_cardinality(each * max(1, epochs)))
    return untuned(batches.prefetch(2))


def image_hashes(batches: Iterable) -> np.ndarray:
    """Computes 64-bit hashes (N,) of the images in batches `(images, labels)`."""
    hashes = []
    for images, _ in batches:
        for image in np.asarray(images):
            digest = hashlib.blake2b(np.ascontiguousarray(image).tobytes(), digest_size=8)
            hashes.append(int.from_bytes(digest.digest(), "big"))
    return np.array(hashes, np.uint64)


def shared_images(train: Iterable, test: Iterable) -> int:
    """Counts the images of the test set that are also, bit by bit, in the training set.

    Args:
        train: batches `(images, labels)`, preprocessed as those of `test`.
        test: batches `(images, labels)`.
    """
    return int(np.isin(image_hashes(test), image_hashes(train)).sum())


def clean_view(
    views: Any,
    crop_scale: tuple[float, float] | None = None,
    flip_probability: float = 0.0,
    normalised: bool = True,
) -> Callable[[Any, Any], Any]:
    """A view that only crops and flips, with the size and normalisation of `views`, for `labelled_batches`.

    Whole images have the pixels of `data.image_batches`. Crops are reduced with the same filter. They are
    taken, as those of pretraining are, from images that are decoded large enough for the smallest crop to be
    as large as the view, and never smaller than a whole image: a crop of all the area is the whole image.

    Args:
        views: a Preprocessing, or views such as `LeOCLRViews`.
        crop_scale: two numbers, the range of the crop's area, see `RandomView`; None (the default) takes the
            whole image.
        flip_probability: probability of a horizontal flip, in [0, 1]; 0 by default.
        normalised: whether values are normalised; false leaves them in [0, 255].
    """
    preprocessing = Preprocessing.of(views)
    view = RandomView(
        preprocessing.image_size,
        crop_scale=crop_scale,
        flip_probability=flip_probability,
        antialias=preprocessing.antialias,
        mean=preprocessing.mean if normalised else (0.0,) * preprocessing.channels,
        std=preprocessing.std if normalised else (1 / 255,) * preprocessing.channels,
        jit_compile=False,
        **CLEAN,
        **({} if preprocessing.channels == 3 else {"color_jitter": (0.0, 0.0, 0.0, 0.0)}),
    )

    def clean(images, seed):
        return view(images, seed)[:, 0]

    least = preprocessing.least_pixels
    clean.least_pixels = None if least is None else max(least, least_pixels(view) or 0)
    return clean
