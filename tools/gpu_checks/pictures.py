"""Reads labelled pictures without TensorFlow and makes batches of them for views on the device."""

from __future__ import annotations

import io
import pathlib
import tarfile
from collections.abc import Iterator

import keras
import numpy as np
from PIL import Image

from tools.gpu_checks import cases

SPLITS = {"train": "train", "test": "test", "val": "test"}  # names of folders
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")

Labelled = tuple[np.ndarray, np.ndarray]


def pictures_in(path: pathlib.Path) -> tuple[Labelled, Labelled]:
    """Reads `train/CLASS/NAME` and `test/CLASS/NAME` (or `val`) of a folder or of a tar archive.

    Returns:
        Pictures (N, H, W, 3) uint8 and labels (N,) int64 of the training and of the test set; classes are
        numbered in the order of their names.

    Raises:
        ValueError: if the pictures differ in size, or a set has no pictures, or none of a class.
    """
    found = {"train": [], "test": []}
    for name, file in _files(path):
        parts = pathlib.PurePath(name).parts
        if parts[-1].lower().endswith(SUFFIXES) and len(parts) > 2 and parts[-3] in SPLITS:
            with Image.open(file) as opened:
                found[SPLITS[parts[-3]]].append((parts[-2], parts[-1], np.asarray(opened.convert("RGB"))))
    sizes = {picture.shape for rows in found.values() for *_, picture in rows}
    if len(sizes) > 1 or not all(found.values()):
        counts = {name: len(rows) for name, rows in found.items()}
        raise ValueError(
            "`path` must hold training and test pictures, all of one size (tools/reduced_pictures.py makes "
            f"them smaller). Received: {path} with {counts} pictures of {len(sizes)} sizes"
        )
    classes = sorted({name for name, *_ in found["train"]})
    if unknown := sorted({name for name, *_ in found["test"]} - set(classes)):
        raise ValueError(
            "`path` must hold training pictures of each class of the test pictures. "
            f"Received: {path} with test pictures of {unknown[0]}, and no training pictures of it"
        )
    sets = []
    for rows in found.values():
        rows.sort(key=lambda row: row[:2])
        sets.append((np.stack([row[2] for row in rows]), np.array([classes.index(row[0]) for row in rows])))
    return tuple(sets)


def _files(path: pathlib.Path) -> Iterator[tuple[str, io.IOBase | pathlib.Path]]:
    if path.is_dir():
        for file in sorted(path.rglob("*.*")):
            yield str(file.relative_to(path.parent)), file
        return
    with tarfile.open(path) as archive:
        for member in archive:
            if member.isfile():
                yield member.name, io.BytesIO(archive.extractfile(member).read())


class Canvases(keras.utils.PyDataset):
    """Batches of pictures with the parameters of their views; order and views change with each epoch.

    With `permute_keys` the keys of each batch are shuffled, as `bn_groups` > 1 needs.
    """

    def __init__(self, images, views, batch, epoch, seed=0, permute_keys=False):
        super().__init__()
        self.images, self.views, self.batch, self.epoch = images, views, batch, epoch
        self.seed, self.permute_keys = seed, permute_keys
        self.order = np.random.default_rng([seed, epoch]).permutation(len(images))

    def __len__(self):
        return len(self.images) // self.batch

    def __getitem__(self, index):
        rows = self.order[index * self.batch : (index + 1) * self.batch]
        seed = (self.epoch + 100_000 * self.seed, index)
        made = cases.canvases_of(self.views, self.images[rows], seed)
        if self.permute_keys:
            made["permutation"] = np.random.default_rng(seed).permutation(self.batch).astype("int32")
        return (made,)
