"""Views that are made on the device within the training step, from images and parameters of their views."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from keras_leoclr.checks import batch_of_views
from keras_leoclr.distribution import step
from keras_leoclr.views import device
from keras_leoclr.views.sampling import PACKED
from keras_leoclr.views.settings import PairSettings, allowed_channels

ENTRIES = ("image", "size", "query_parameters", "key_parameters")


def check_views(views: Any) -> None:
    """Raises ValueError unless views are None or a layer whose settings `views.device` can apply."""
    if views is not None and not isinstance(getattr(views, "settings", None), PairSettings):
        raise ValueError(
            "`views` within the step must be a layer with `settings` of query and keys, such as LeOCLRViews; "
            f"a function of your own belongs into `data.view_dataset`. Received: views={views!r}"
        )


def views_of(views: Any, batch: Any, dtype: str) -> dict[str, Any]:
    """Returns the views of a batch: the views that it holds, or views that are made of its images here.

    A batch with `"permutation"` has its key views shuffled over all replicas. The replicas then exchange the
    uint8 images and each makes the key views that it has to encode, so that it encodes the same views as if
    they had been made on the host.

    Args:
        views: a layer such as `LeOCLRViews`, or None where batches hold views.
        batch: dictionary of views, or of images and parameters of views, see `LeOCLR`.
        dtype: type of the views that are made, such as "float32".

    Returns:
        `{"query": (B, S, S, 3), "keys": (B, V, S, S, 3)}`, and `"permutation"` (B,) where the batch has it.

    Raises:
        ValueError: if the batch holds neither, or its parameters were drawn for other views.
    """
    if not _has_images(views, batch):
        batch_of_views(batch)
        return batch
    _check_batch(views.settings, batch)
    of_keys = batch
    if "permutation" in batch:
        names = ("image", "size", "key_parameters")
        of_keys = {name: _permuted(batch[name], batch["permutation"]) for name in names}
    with step.no_gradient():
        made = {
            "query": device.query_of_batch(views.settings, batch, dtype),
            "keys": device.keys_of_batch(views.settings, of_keys, dtype),
        }
    return {**made, "permutation": batch["permutation"]} if "permutation" in batch else made


def query_of(views: Any, inputs: Any, dtype: str) -> Any:
    """Returns the query views (B, S, S, 3) of a batch, see `views_of`; an array is returned as it is."""
    if not isinstance(inputs, dict):
        return inputs
    if not _has_images(views, inputs):
        return inputs["query"]
    _check_batch(views.settings, inputs)
    with step.no_gradient():
        return device.query_of_batch(views.settings, inputs, dtype)


def _has_images(views, batch):
    """Whether the views of a batch have to be made of its images; raises ValueError if they cannot be."""
    names = set(batch) if isinstance(batch, dict) else set()
    if {"query", "keys"} <= names:
        return False
    if views is None:
        if set(ENTRIES) <= names:
            raise ValueError(
                "A batch of images and parameters needs a model that makes the views, LeOCLR(views=...). "
                f"Received: {sorted(names)}, a model without `views`"
            )
        return False
    missing = [name for name in ENTRIES if name not in names]
    if missing:
        expected = ", ".join(f'"{name}"' for name in ENTRIES)
        received = sorted(names) if isinstance(batch, dict) else type(batch).__name__
        raise ValueError(
            f"A batch for a model with `views` must be a dictionary with {expected}, as `data.view_dataset` "
            f'makes it with views_on="device", or with "query" and "keys". Received: {received}'
        )
    return True


def _check_batch(settings, batch):
    """Raises ValueError if the shapes of a batch do not fit the settings of the views."""
    image, size, query, keys = (tuple(batch[name].shape) for name in ENTRIES)
    columns, count = len(PACKED), settings.keys.num_views
    channels = allowed_channels(len(settings.keys.mean))
    if len(image) != 4 or image[3] not in channels or size[1:] != (2,):
        raise ValueError(
            f'"image" must be (B, H, W, C) with C {" or ".join(map(str, channels))}, as the `mean` of the '
            f'views has, and "size" (B, 2). Received: image {image}, size {size}'
        )
    if query[1:] != (columns,) or keys[1:] != (count, columns):
        raise ValueError(
            f'"query_parameters" must be (B, {columns}) and "key_parameters" (B, {count}, {columns}) for '
            f"the model's `views`, which make {count} key views of an image. "
            f"Received: query_parameters {query}, key_parameters {keys}"
        )
    if "made_for" in batch and batch["made_for"].shape[2] != settings.number:
        raise ValueError(
            "The parameters of a batch must be drawn for the model's `views`: make the data set with "
            f"model.views. Received: parameters of other settings than {settings}"
        )


def _permuted(values, permutation):
    """Gathers the values of all replicas and returns the rows that belong to this replica's key views."""
    are_bytes = keras.backend.standardize_dtype(values.dtype) == "uint8"
    if not are_bytes or keras.backend.backend() != "tensorflow":
        return ops.take(step.gather(values), permutation, axis=0)
    words = ops.take(step.gather(_in_words(values)), permutation, axis=0)
    return _from_words(words, ops.shape(values)[1:])


def _in_words(values):
    """Packs (B, ...) uint8 into (B, N) float32 with the same bits, four bytes in each number.

    On GPUs, TensorFlow can neither gather uint8 values nor exchange them between replicas; and for int32 it
    pads on the host. With float32 all of this stays on the GPU.
    """
    import tensorflow as tf

    length = math.prod(ops.shape(values)[1:])  # a tensor if a side of the canvas is open, see `views.device`
    flat = tf.reshape(values, [-1, length])
    if not isinstance(length, int) or length % 4:
        flat = tf.pad(flat, [[0, 0], [0, -length % 4]])
    return tf.bitcast(tf.reshape(flat, [-1, -(-length // 4), 4]), tf.float32)


def _from_words(words, shape):
    """Unpacks what `_in_words` made of an array (B, *shape)."""
    import tensorflow as tf

    length = math.prod(shape)
    flat = tf.reshape(tf.bitcast(words, tf.uint8), [-1, length + -length % 4])
    return tf.reshape(flat[:, :length], [-1, *shape])
