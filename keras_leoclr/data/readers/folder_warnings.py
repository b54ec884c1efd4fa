"""Warns of what was left out when a folder of pictures was opened."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from keras_leoclr.data.failures import NAMED, files, shown
from keras_leoclr.data.multi_hot import without_image
from keras_leoclr.data.readers.files import NOWHERE, OTHER_PICTURES, PACKED, Index

if TYPE_CHECKING:
    from keras_leoclr.data.readers.folder import FolderImages


def warn_of_formats(images: FolderImages, index: Index) -> None:
    """Warns of pictures in formats that are not read, of archives, and of links that lead nowhere."""
    unread = {
        kind: count for kind, count in index.ignored.items() if kind in (*OTHER_PICTURES, *PACKED, NOWHERE)
    }
    if unread:
        kinds = ", ".join(f"{shown(kind)} {count:,}" for kind, count in unread.items())
        warnings.warn(
            f"{files(sum(unread.values()))} in {shown(images.root)} cannot be read and will be left out: "
            f"{kinds}. {images.count:,} pictures are taken. Convert or unpack the others to use them.",
            stacklevel=2,
        )


def warn_of_runs(root: bytes, index: Index) -> None:
    """Reports which folders were left out because they hold runs."""
    if index.runs:
        warnings.warn(f"{left_out(index.runs)} in {shown(root)}", stacklevel=2)


def left_out(runs: list[bytes]) -> str:
    """A text such as "1 folder that holds a run is left out: r"."""
    named = ", ".join(map(shown, runs[:NAMED])) + (f" and {len(runs) - NAMED:,} more" * (len(runs) > NAMED))
    which = "folder that holds a run is" if len(runs) == 1 else "folders that hold runs are"
    return f"{len(runs):,} {which} left out: {named}"


def warn_of_classes(images: FolderImages, index: Index) -> None:
    """Warns of classes without pictures, and of pictures beside the folders of classes."""
    if index.mixed:  # its classes are those of its pictures
        return
    if images.labelled:
        names = images.class_names
        empty = [names[number] for number in without_image(images.labels, names)]
        several = images.several_labels
        what, how = ("classes", "are on no picture") if several else ("class folders", "hold no pictures")
        if empty:
            warnings.warn(
                f"{len(empty)} of {len(names)} {what} in {shown(images.root)} {how}: {', '.join(empty[:5])}. "
                "They stay in the list of classes.",
                stacklevel=2,
            )
        return
    count = len(index.headers)
    outside = sum(b"/" not in path for path in index.headers)
    if outside < count:
        warnings.warn(
            f"{outside:,} of {files(count)} lie directly in {shown(images.root)}, next to folders with the "
            "others: all are taken, without labels.",
            stacklevel=2,
        )
