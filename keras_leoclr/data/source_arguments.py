"""Converts the images that a function is given to a source, or explains what is wrong with them."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from keras_leoclr.data.multi_hot_in_graph import WHOLE, checked_in_graph, whole_in_graph
from keras_leoclr.data.readers.folder import FolderImages
from keras_leoclr.data.source import Source
from keras_leoclr.tensorflow_host import tf


def as_source(source: Any, name: str = "source", labels: bool = True) -> Source:
    """Converts the argument of a function that reads images to a Source.

    Args:
        source: a Source, which is returned unchanged; or a `tf.data.Dataset` of dictionaries with `image`
            (H, W, C), or of such images, which becomes a stream.
        name: name of the argument, for messages; "source" by default.
        labels: whether a `label` is checked to be a number, or zeros and ones with several labels per image;
            false if only the images are needed. True by default.

    Raises:
        ValueError: if it is anything else.
    """
    if isinstance(source, Source):
        return source
    if not isinstance(source, tf.data.Dataset):
        raise ValueError(
            f"`{name}` must be what `data.load` returns, or a tf.data.Dataset of dictionaries with `image` "
            f"(H, W, C){_advice(source)}. Received: {_kind(source)}"
        )
    spec = source.element_spec
    image = spec.get("image") if isinstance(spec, dict) else spec
    if not isinstance(image, tf.TensorSpec):
        pairs = isinstance(spec, tuple) and len(spec) == 2
        advice = "; `.map(lambda image, label: dict(image=image, label=label))` makes them of pairs"
        raise ValueError(
            f"`{name}` must have dictionaries with `image` (H, W, C) as elements, and with `label` where "
            f"there are labels{advice if pairs else ''}. Received: {_elements(spec)}"
        )
    if image.dtype == tf.string:
        raise ValueError(
            f"`{name}` must have decoded pictures; `data.decode_dataset` decodes a stream of bytes. "
            "Received: `image` of type string"
        )
    if image.shape.rank not in (None, 3):
        batch = "; `unbatch()` makes single images of batches" if image.shape.rank == 4 else ""
        raise ValueError(
            f"`{name}` must have single images (H, W, C) as elements{batch}. "
            f"Received: images of shape {tuple(image.shape)}"
        )
    if not isinstance(spec, dict):
        source = source.map(lambda image: {"image": image})
    label = spec.get("label") if isinstance(spec, dict) else None
    if labels and isinstance(label, tf.TensorSpec) and label.shape.rank:
        if label.shape.rank > 1 or (label.shape[0] or 0) < 2:
            raise ValueError(
                f"`{name}` must have a `label` () or, with several labels per image, (C,) zeros and ones for "
                f"C >= 2 classes, the same number in all. Received: `label` of shape {label.shape}"
            )
        source = source.map(lambda element: checked_in_graph(element, name))
    elif labels and isinstance(label, tf.TensorSpec) and not (label.dtype.is_integer or label.dtype.is_bool):
        if not label.dtype.is_floating:
            raise ValueError(f"`{name}` {WHOLE}. Received: `label` of type {label.dtype.name}")
        source = source.map(lambda element: whole_in_graph(element, name))
    return Source(dataset=source)


def with_unknown_labels(source: Source) -> Source:
    """Returns the source itself or, if it has no labels, its images with the label -1.

    Files remain readable by number, and at a fraction of their size; other images become a stream.
    """
    if source.labelled:
        return source
    if type(source.images) is FolderImages:
        images = source.images.subset(np.arange(source.count))  # a copy
        images.labelled, images.labels = True, np.full(images.count, -1, np.int64)
        return source.of_images(images)
    return as_source(source.map(lambda element: {"image": element["image"], "label": np.int64(-1)}))


def _advice(source: Any) -> str:
    if isinstance(source, (str, os.PathLike)):
        return "; `data.load(...)` opens a name or a path"
    if isinstance(source, dict):
        return "; `data.load(...)` makes a source of a dictionary of arrays"
    if hasattr(source, "shape"):
        return '; `data.load({"image": images, "label": labels})` makes a source of arrays'
    return ""


def _kind(source: Any) -> str:
    if isinstance(source, (str, os.PathLike)):
        return repr(source)
    shape = f" of shape {tuple(source.shape)}" if hasattr(source, "shape") else ""
    return f"{type(source).__module__}.{type(source).__name__}{shape}".removeprefix("builtins.")


def _elements(spec: Any) -> str:
    if isinstance(spec, dict):
        return f"dictionaries with {', '.join(map(str, sorted(spec, key=str))) or 'nothing'}"
    if isinstance(spec, tuple):
        return f"tuples of {len(spec)}"
    return f"elements of type {type(spec).__name__}"
