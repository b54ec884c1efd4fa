"""Pictures with boxes or masks, in a folder in the format of Pascal VOC."""

from __future__ import annotations

import collections
import os
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from keras_leoclr import terminal
from keras_leoclr.data import decode
from keras_leoclr.data.failures import Failures, shown
from keras_leoclr.data.readers.annotated import AnnotatedImages, content_of
from keras_leoclr.data.readers.archives import state_of
from keras_leoclr.data.readers.files import Index, read_index
from keras_leoclr.data.readers.folder import FolderImages
from keras_leoclr.data.readers.voc_annotations import VOID, AnnotationError, read_boxes, read_mask
from keras_leoclr.data.readers.voc_folders import (
    BACKGROUND,
    KINDS,
    listed_classes,
    named_twice,
    pictures_by_stem,
    stems_of_split,
)
from keras_leoclr.data.readers.voc_tfds import annotated_of_tfds
from keras_leoclr.data.splits import split_rows
from keras_leoclr.tensorflow_host import tf, untuned

VOC_CLASSES = tuple(
    "aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse motorbike person "
    "pottedplant sheep sofa train tvmonitor".split()
)


def load_annotated(
    name_or_path: str,
    split: str,
    kind: str,
    class_names: Sequence[str] = (),
    data_dir: str | None = None,
) -> AnnotatedImages:
    """Loads pictures with boxes or masks.

    Args:
        name_or_path: one of
            - a folder in VOC's format: pictures in `JPEGImages`, with the name of a picture in `Annotations`
              an XML file with boxes, or in `SegmentationClass` a PNG whose palette numbers are classes;
              `ImageSets/Main` or `ImageSets/Segmentation` hold a text file of names for each split. Without
              those, all annotated pictures are "train", in the order of a hash of their names.
            - `"tfds:NAME"`: a data set of TensorFlow Datasets with `objects` of `bbox` and `label`, such as
              `tfds:voc/2007`, or with a `segmentation_mask`, such as `tfds:oxford_iiit_pet`.
        split: split of the data set, or a slice such as "train[:80%]".
        kind: "boxes" or "masks".
        class_names: names that may occur in a folder, in the order of their numbers. By default they are the
            lines of `classes.txt` in it. Without this file, they are the sorted names that occur in the split
            for boxes, and "background" followed by VOC's 20 classes for masks. TensorFlow Datasets has names
            of its own, and others are an error.
        data_dir: folder where TensorFlow Datasets keeps its files.

    Raises:
        AnnotationError: if an annotation is damaged, a box lies outside of its picture, a class is unknown,
            or a mask has another size than its picture. The message names the file.
        ValueError, FileNotFoundError: if an argument is wrong or a file is missing.
    """
    if kind not in KINDS:
        raise ValueError(f'`kind` must be "boxes" or "masks". Received: kind={kind!r}')
    if name_or_path.startswith("tfds:"):
        return annotated_of_tfds(name_or_path, split, kind, tuple(class_names), data_dir)
    root = pathlib.Path(name_or_path).expanduser()
    folder, suffix, _ = KINDS[kind]
    for needed in (root / "JPEGImages", root / folder):
        if not needed.is_dir():
            raise FileNotFoundError(
                f"`dataset` must be tfds:NAME or a folder in VOC's format, with JPEGImages and {folder}. "
                f"Received: {shown(str(root))}, without {needed.name}"
            )
    images = _pictures(root, split, kind)
    paths = [root / folder / (pathlib.PurePath(path).stem + suffix) for path in images.paths]
    for path in paths:
        if not path.is_file():
            raise FileNotFoundError(
                f"`dataset` must have every file that its splits name. Received: split={split!r}, which "
                "names "
                f"{shown(str(path))}"
            )
    if twice := named_twice(class_names):
        raise ValueError(
            "`class_names` must name each class once. "
            f"Received: class_names={','.join(class_names)}, with {twice} twice"
        )
    listed = tuple(class_names) or listed_classes(root)
    if kind == "masks":
        return _with_masks(images, paths, listed or (BACKGROUND, *VOC_CLASSES))
    return _with_boxes(images, paths, tuple(name for name in listed if name != BACKGROUND))


# === Folders ===


def _pictures(root: pathlib.Path, split: str, kind: str) -> FolderImages:
    """The pictures of a split, in the order of the split."""
    pictures = os.fsencode(os.path.abspath(root / "JPEGImages"))
    found = read_index(pictures, decode.MAX_PIXELS)
    by_stem = pictures_by_stem(found, pictures)
    stems = stems_of_split(root, split, kind, by_stem)
    stems = [stems[row] for row in split_rows(split, len(stems))]
    for stem in stems:
        path = by_stem.get(stem)
        name = shown(os.path.join(pictures, path or os.fsencode(stem)))
        if path is None:
            raise FileNotFoundError(
                f"`dataset` must have every picture that its splits name. Received: split={split!r}, which "
                "names "
                f"{name}"
            )
        if path in found.failures:
            raise ValueError(f"{name}: {found.failures[path]}")
    headers = {by_stem[stem]: found.headers[by_stem[stem]] for stem in stems}
    return FolderImages(pictures, Index(headers, {}, collections.Counter(), []), Failures(len(headers)))


def _with_boxes(images: FolderImages, paths: list[pathlib.Path], known: tuple[str, ...]) -> AnnotatedImages:
    found = [read_boxes(path) for path in terminal.progress(paths, len(paths), "Annotations", "files")]
    class_names = known or tuple(sorted({name for boxes in found for name in boxes.names}))
    if not class_names:
        raise ValueError(f"`dataset` must have objects. Received: {len(paths)} annotations without any")
    number = {name: place for place, name in enumerate(class_names)}
    classes, boxes = [], []
    for path, objects, (height, width) in zip(paths, found, images.sizes, strict=True):
        unknown = [name for name in objects.names if name not in number]
        if unknown:
            raise AnnotationError(
                f"{shown(str(path))}: class must be one of {', '.join(class_names)}. Received: {unknown[0]}"
            )
        if objects.size not in (None, (height, width)):
            raise AnnotationError(
                f"{shown(str(path))}: size must be that of the picture, {width} x {height}. "
                f"Received: {objects.size[1]} x {objects.size[0]}"
            )
        relative = objects.boxes / np.array([height, width, height, width], "float32")
        if relative.max(initial=0) > 1:
            raise AnnotationError(
                f"{shown(str(path))}: boxes must lie within the picture, {width} x {height}. "
                f"Received: a box that reaches {relative.max():g} times the size"
            )
        classes.append(np.array([number[name] for name in objects.names], "int64"))
        boxes.append(relative)
    difficult = [objects.difficult for objects in found]
    columns = {"boxes": boxes, "classes": classes, "difficult": difficult}
    ragged = {
        name: tf.RaggedTensor.from_row_lengths(np.concatenate(rows), [len(r) for r in rows])
        for name, rows in columns.items()
    }

    def annotation(index):
        return {name: rows[index] for name, rows in ragged.items()}

    values = [np.concatenate(rows).tobytes().hex() for rows in columns.values()]
    content = content_of(class_names, _states(images.paths), [len(row) for row in classes], values)
    judged = np.concatenate(classes)[~np.concatenate(difficult)]
    present = tuple(map(int, np.unique(judged)))
    return AnnotatedImages(class_names, images.count, content, _elements(images, annotation), present)


def _with_masks(
    images: FolderImages, paths: list[pathlib.Path], class_names: tuple[str, ...]
) -> AnnotatedImages:
    names = tf.constant([os.fsencode(path) for path in paths])
    sizes = tf.constant(images.sizes)

    def whole(path, height, width):
        mask = read_mask(path, class_names)
        if mask.shape != (height, width):
            raise AnnotationError(
                f"{shown(str(path))}: must be as large as its picture, {width} x {height}. "
                f"Received: {mask.shape[1]} x {mask.shape[0]}"
            )
        return mask

    def read(name, height, width):
        try:
            mask = whole(os.fsdecode(name), height, width)
        except AnnotationError as error:
            return np.zeros((0, 0), np.uint8), str(error).encode()
        return mask, b""

    def annotation(index):
        mask, message = tf.numpy_function(
            read, [names[index], sizes[index, 0], sizes[index, 1]], [tf.uint8, tf.string]
        )
        decode.raise_if(message)
        return {"mask": tf.ensure_shape(mask, [None, None])}

    # All masks are read once now, so that a bad one is found before the training and not during or after it.
    counts = np.zeros(VOID + 1, np.int64)
    for path, size in zip(terminal.progress(paths, len(paths), "Masks", "files"), images.sizes, strict=True):
        counts += np.bincount(whole(path, *size).ravel(), minlength=VOID + 1)
    present = tuple(map(int, np.flatnonzero(counts[:VOID])))
    content = content_of(class_names, _states(images.paths), _states(paths))
    return AnnotatedImages(class_names, images.count, content, _elements(images, annotation), present)


def _states(paths: Sequence[str | os.PathLike]) -> list[Any]:
    """Name, size and time of change of each file."""
    return [[os.path.basename(path), *state_of(os.fspath(path))] for path in paths]


def _elements(images: FolderImages, annotation: Callable[[tf.Tensor], dict]) -> Callable:
    def elements(seed: int | None, first: int = 0) -> tf.data.Dataset:
        if seed is None:
            numbers = tf.data.Dataset.range(images.count)
        else:

            def order(epoch):
                return tf.random.experimental.stateless_shuffle(
                    tf.range(images.count, dtype=tf.int64), tf.stack([tf.cast(seed, tf.int64), epoch])
                )

            numbers = tf.data.Dataset.range(2**40).map(order).unbatch().skip(first)
        pictures = images.fetch(numbers)
        both = tf.data.Dataset.zip((numbers, pictures))
        return untuned(both.map(lambda index, element: {"image": element["image"]} | annotation(index)))

    return elements
