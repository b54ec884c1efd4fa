"""Describes pictures with boxes or masks, wherever they come from."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable
from typing import Any

from keras_leoclr.tensorflow_host import tf


@dataclasses.dataclass(frozen=True)
class AnnotatedImages:
    """One split of a data set of pictures with boxes or masks.

    Attributes:
        class_names: names of the classes in the order of their numbers; for masks, 0 is the background.
        count: number of pictures.
        content: checksum of classes, pictures and annotations in their order: files by name, size and
            time of change, boxes by their values, TensorFlow Datasets by name, version and split.
        elements: function `(seed, first)` that returns tf.data. With None as seed it has all pictures once,
            in their order; with a seed, it is endless, in random order, and skips `first` pictures. Each
            element is `{"image": (H, W, 3) uint8}` with `"boxes"` (N, 4) float32 as in `Boxes`, `"classes"`
            (N,) int64, and `"difficult"` (N,) bool, objects that are neither trained on nor judged, as VOC's
            difficult ones and COCO's crowds; or with `"mask"` (H, W) uint8, 255 for void.
        present: numbers of the classes that have an object that is not difficult, or a pixel. For boxes of
            TensorFlow Datasets, the first one that was found; None for their masks, which are not looked at.
    """

    class_names: tuple[str, ...]
    count: int
    content: str
    elements: Callable[..., tf.data.Dataset]
    present: tuple[int, ...] | None = None


def content_of(*parts: Any) -> str:
    """The checksum of things that JSON can hold."""
    return hashlib.blake2b(json.dumps(parts).encode(), digest_size=16).hexdigest()
