"""Finds the sub-folders of a folder of pictures that are its splits, such as train and test."""

from __future__ import annotations

import os

from keras_leoclr.data.failures import shown
from keras_leoclr.data.readers.files import is_folder
from keras_leoclr.data.splits import SplitError, split_name

# These sub-folders always are splits; beside a folder `train`, any sub-folder is a split.
SPLIT_FOLDERS = {
    "train": ("train",),
    "test": ("test",),
    "validation": ("validation", "val"),
    "val": ("val", "validation"),
}


def split_folder(path: str, split: str) -> str:
    """The path of the folder that holds a split; `path` itself for "train" where no sub-folder is called so.

    Raises:
        ValueError: if there is no such split.
    """
    name = split_name(split)
    folders = _folders(path)
    for candidate in SPLIT_FOLDERS.get(name, (name,) if "train" in folders else ()):
        if candidate in folders:
            return os.path.join(path, candidate)
    if name == "train":
        return path
    known = [entry for entry in folders if "train" in folders or entry in SPLIT_FOLDERS]
    if "train" not in folders:
        known.append(f'"train", which is {"all other folders" if known else "everything"}')
    raise SplitError(
        f"`split` of {shown(path)} must name one of its sub-folders: {', '.join(map(shown, known))}. "
        f"Received: split={split!r}"
    )


def other_splits(path: str, root: str) -> frozenset[bytes]:
    """The names of the folders in `root` that hold other splits and do not belong to the split in `root`.

    Args:
        path: folder of the splits.
        root: folder of a split, see `split_folder`.
    """
    if root != path:
        return frozenset()
    return frozenset(os.fsencode(os.path.basename(folder)) for folder in split_folders(path))


def split_folders(path: str) -> list[str]:
    """The paths of the folders of all splits; empty if there are none."""
    folders = _folders(path)
    known = folders if "train" in folders else [name for name in folders if name in SPLIT_FOLDERS]
    return [os.path.join(path, name) for name in known]


def _folders(path):
    return sorted(entry.name for entry in os.scandir(path) if is_folder(entry) and entry.name[0] != ".")
