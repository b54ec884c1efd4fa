"""Folders in the format of Pascal VOC as pictures with several labels, the classes of their objects."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from typing import Any

from keras_leoclr import terminal
from keras_leoclr.data import decode
from keras_leoclr.data.failures import Failures, shown
from keras_leoclr.data.multi_hot import rows_of
from keras_leoclr.data.readers.files import read_index
from keras_leoclr.data.readers.folder import FolderImages, indexed_images
from keras_leoclr.data.readers.voc_annotations import AnnotationError, read_boxes
from keras_leoclr.data.readers.voc_folders import (
    BACKGROUND,
    KINDS,
    listed_classes,
    pictures_by_stem,
    stems_of_split,
)
from keras_leoclr.data.splits import split_rows

PICTURES = "JPEGImages"
MISSING = "named by the split, and no picture that was found"


def is_voc(folder: str) -> bool:
    """Whether a folder holds pictures with annotations in the format of Pascal VOC."""
    annotations, suffix, _ = KINDS["boxes"]
    places = [os.path.join(folder, name) for name in (PICTURES, annotations)]
    if not all(map(os.path.isdir, places)):
        return False
    with os.scandir(places[1]) as entries:
        return any(entry.name.endswith(suffix) for entry in entries)


def voc_images(
    path: str, split: str, failures: Failures, progress: bool = True, **options: Any
) -> FolderImages:
    """Opens the pictures of a split; labels are the classes of all objects, including difficult ones.

    Args:
        path: path of the folder.
        split: name of a text file in `ImageSets/Main`, or a slice of one; without that folder all annotated
            pictures are "train".
        failures: counts the pictures that cannot be read.
        progress: whether to show progress if reading takes longer than a second; true by default.
        **options: `skip`, `background` and `max_pixels` of `FolderImages`.

    Raises:
        AnnotationError: if an annotation is damaged, or `classes.txt` does not list a class.
        ValueError: if there is no such split, or a picture cannot be read and `skip` is not set.
    """
    root = pathlib.Path(path)
    folder, suffix, _ = KINDS["boxes"]
    pictures = os.fsencode(os.path.abspath(root / PICTURES))
    found = read_index(pictures, options.get("max_pixels", decode.MAX_PIXELS), progress)
    by_stem = pictures_by_stem(found, pictures)
    stems = stems_of_split(root, split, "boxes", by_stem)
    classes = _classes_by_stem(root / folder, suffix, progress)
    for stem in stems:
        if stem not in classes:
            raise FileNotFoundError(
                "`dataset` must have the annotations of every picture of its splits. Received: "
                f"split={split!r}, "
                f"without {shown(str(root / folder / (stem + suffix)))}"
            )
    class_names = _class_names(root, classes, suffix)
    paths = {by_stem.get(stem, os.fsencode(stem)): stem for stem in stems}
    headers = {path: found.headers[path] for path in paths if path in found.headers}
    bad = {path: found.failures.get(path, MISSING) for path in paths if path not in headers}
    failures.total = len(paths)
    labels = rows_of([classes[paths[path]] for path in headers], class_names)
    index = dataclasses.replace(found, headers=headers, failures=bad)
    images = indexed_images(pictures, index, failures, listed=(class_names, labels), **options)
    return images.subset(split_rows(split, images.count))


def _classes_by_stem(folder: pathlib.Path, suffix: str, progress: bool) -> dict[str, tuple[str, ...]]:
    """The names of the classes on each picture of all splits, which share their classes."""
    files = sorted(file for file in os.listdir(folder) if file.endswith(suffix))
    read = terminal.progress(files, len(files), "Annotations", "files", progress)
    return {file.removesuffix(suffix): tuple(dict.fromkeys(read_boxes(folder / file).names)) for file in read}


def _class_names(root, classes, suffix) -> tuple[str, ...]:
    listed = tuple(name for name in listed_classes(root) if name != BACKGROUND)
    if listed:
        for stem, names in classes.items():
            unknown = [name for name in names if name not in listed]
            if unknown:
                raise AnnotationError(
                    f"{shown(stem + suffix)}: class must be one of {', '.join(listed)}. "
                    f"Received: {unknown[0]}"
                )
    names = listed or tuple(sorted({name for found in classes.values() for name in found}))
    if len(names) < 2:
        raise ValueError(
            f"{shown(str(root))}: there must be objects of 2 classes or more. Received: "
            f"{', '.join(names) or 'none'}"
        )
    return names
