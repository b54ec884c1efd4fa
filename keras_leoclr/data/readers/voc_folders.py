"""The splits and the classes of a folder in the format of Pascal VOC."""

from __future__ import annotations

import pathlib
from collections.abc import Iterable

from keras_leoclr.data.readers.text_lines import lines_of
from keras_leoclr.data.splits import SplitError, split_name

BACKGROUND = "background"  # class 0 of masks; there is no such class for boxes
# Of each kind: folder and suffix of the annotations, and folder of the splits in ImageSets.
KINDS = {"boxes": ("Annotations", ".xml", "Main"), "masks": ("SegmentationClass", ".png", "Segmentation")}


def stems_of_split(root: pathlib.Path, split: str, kind: str, pictures: Iterable[str]) -> list[str]:
    """The names without extension of the pictures of a split; for a slice, those of the whole split.

    Args:
        root: folder in VOC's format.
        split: a split, or a slice of one.
        kind: one of `KINDS`.
        pictures: names without extension of all pictures.

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
        stems = [line.split()[0] for line in lines_of(file, "a list of a split")]
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


def listed_classes(root: pathlib.Path) -> tuple[str, ...]:
    """The lines of `classes.txt`; () if there is no such file."""
    file = root / "classes.txt"
    if not file.is_file():
        return ()
    return tuple(lines_of(file, "a list of classes"))
