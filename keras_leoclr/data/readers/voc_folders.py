"""The splits and the classes of a folder in the format of Pascal VOC."""

from __future__ import annotations

import collections
import os
import pathlib
from collections.abc import Sequence

from keras_leoclr.data.failures import shown
from keras_leoclr.data.readers.files import Index
from keras_leoclr.data.readers.text_lines import lines_of
from keras_leoclr.data.splits import SplitError, split_name

BACKGROUND = "background"  # class 0 of masks; there is no such class for boxes
# Of each kind: folder and suffix of the annotations, and folder of the splits in ImageSets.
KINDS = {"boxes": ("Annotations", ".xml", "Main"), "masks": ("SegmentationClass", ".png", "Segmentation")}


def pictures_by_stem(found: Index, folder: bytes) -> dict[str, bytes]:
    """The pictures right in a folder by their names without extension, by which annotations find them.

    Args:
        found: the pictures of the folder, also those that cannot be read.
        folder: path of the folder, for the message.

    Raises:
        ValueError: if two pictures that can be read have the same name.
    """
    flat = [path for path in (*found.failures, *found.headers) if b"/" not in path]
    by_stem: dict[str, bytes] = {}
    for path in flat:
        stem = os.fsdecode(os.path.splitext(path)[0])
        if (other := by_stem.get(stem)) in found.headers:
            raise ValueError(
                f"{shown(folder)}: annotations must belong to one picture. Received: {shown(other)} and "
                f"{shown(path)}"
            )
        by_stem[stem] = path
    return by_stem


def stems_of_split(root: pathlib.Path, split: str, kind: str, pictures: dict[str, bytes]) -> list[str]:
    """The names without extension of the pictures of a split; for a slice, those of the whole split.

    Args:
        root: folder in VOC's format.
        split: a split, or a slice of one.
        kind: one of `KINDS`.
        pictures: all pictures by their names without extension, which may have blanks.

    Raises:
        SplitError: if there is no such split, or it is empty.
    """
    folder, suffix, sets = KINDS[kind]
    names = root / "ImageSets" / sets
    if names.is_dir():
        file = names / f"{split_name(split)}.txt"
        if not file.is_file():
            known = ", ".join(sorted(p.stem for p in names.glob("*.txt") if "_" not in p.stem)) or "none"
            raise SplitError(f"`split` must be one of {names}: {known}. Received: split={split!r}")
        named = [_stem_of(line, pictures) for line in lines_of(file, "a list of a split")]
        stems = list(dict.fromkeys(named))  # A picture that is named twice must not be in two slices.
    elif split_name(split) != "train":
        raise SplitError(
            f'`split` of a folder without ImageSets/{sets} must be "train" or a slice such as "train[:80%]". '
            f"Received: split={split!r}"
        )
    else:
        stems = [stem for stem in pictures if (root / folder / (stem + suffix)).is_file()]
    if not stems:
        raise SplitError(f"`split` must name pictures. Received: split={split!r} of {root}, which has none")
    return stems


def _stem_of(line: str, pictures: dict[str, bytes]) -> str:
    """The picture that a line names, with or without an extension and with or without a number behind it."""
    meant = (line, line.rsplit(None, 1)[0], os.path.splitext(line)[0], line.split()[0])
    return next((name for name in meant if name in pictures), line)


def listed_classes(root: pathlib.Path) -> tuple[str, ...]:
    """The lines of `classes.txt`; () if there is no such file.

    Raises:
        ValueError: if a class stands there twice.
    """
    file = root / "classes.txt"
    if not file.is_file():
        return ()
    names = tuple(lines_of(file, "a list of classes"))
    if twice := named_twice(names):
        raise ValueError(f"{shown(str(file))}: must name each class once. Received: {twice} twice")
    return names


def named_twice(names: Sequence[str]) -> str:
    """The first name that occurs twice; "" if there is none."""
    return next((name for name, count in collections.Counter(names).items() if count > 1), "")
