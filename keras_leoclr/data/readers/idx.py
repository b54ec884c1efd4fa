"""IDX files, the format of MNIST (http://yann.lecun.com/exdb/mnist), compressed with gzip or not."""

from __future__ import annotations

import gzip
import math
import os
import pathlib
import zlib

import numpy as np

from keras_leoclr.data.failures import shown
from keras_leoclr.data.splits import SplitError

# File names of a split begin with one of these, followed by "-images-idx3-ubyte" or "-labels-idx1-ubyte".
SPLITS = {"train": ("train",), "test": ("t10k", "test"), "validation": ("validation", "val")}


def has_idx(folder: str | os.PathLike) -> bool:
    """Whether a folder holds IDX files of images."""
    return any(pathlib.Path(folder).glob("*-images-idx3-ubyte*"))


def idx_arrays(folder: str | os.PathLike, split: str) -> dict[str, np.ndarray]:
    """Reads the images and labels of a split.

    Args:
        folder: folder with `train-images-idx3-ubyte.gz`, `train-labels-idx1-ubyte.gz`, `t10k-...` and so on,
            or the same files without `.gz`.
        split: "train", "test" or "validation", or another beginning of the file names.

    Returns:
        `{"image": (N, H, W, 1) uint8, "label": (N,) uint8}`, without `label` if there is no such file.

    Raises:
        ValueError: if there is no such split, or a file is damaged.
    """
    folder = pathlib.Path(folder)

    def path_of(beginning, what):
        found = (folder / f"{beginning}-{what}-ubyte{suffix}" for suffix in ("", ".gz"))
        return next((path for path in found if path.is_file()), None)

    for beginning in SPLITS.get(split, (split,)):
        images = path_of(beginning, "images-idx3")
        if images is not None:
            labels = path_of(beginning, "labels-idx1")
            arrays = {"image": read_idx(images, 3)[..., None]}
            return arrays if labels is None else arrays | {"label": read_idx(labels, 1)}
    known = sorted({path.name.split("-images-")[0] for path in folder.glob("*-images-idx3-ubyte*")})
    raise SplitError(
        f"`split` of {shown(folder)} must name one of its IDX files, which begin with {', '.join(known)} "
        f'("t10k" is "test"). Received: split={split!r}'
    )


def read_idx(path: str | os.PathLike, rank: int | None = None) -> np.ndarray:
    """Reads an IDX file of bytes: two zero bytes, the type 8, the rank, big-endian sizes, the data.

    Args:
        path: path of the file; it is decompressed with gzip if its name ends in `.gz`.
        rank: number of dimensions that it must have; None for any.

    Returns:
        uint8 array.

    Raises:
        ValueError: if the file is damaged or not an IDX file.
    """
    path = pathlib.Path(path)
    try:
        data = path.read_bytes()
        data = gzip.decompress(data) if path.suffix == ".gz" else data
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{shown(path)} cannot be read: {error}") from error
    if data[:3] != b"\0\0\x08" or len(data) < 4 or (rank is not None and data[3] != rank):
        wanted = "" if rank is None else f" of rank {rank}"
        raise ValueError(f"{shown(path)} must be an IDX file of bytes{wanted}. Received: {data[:4].hex()}")
    start = 4 + 4 * data[3]
    shape = tuple(int.from_bytes(data[at : at + 4], "big") for at in range(4, start, 4))
    if len(data) != start + math.prod(shape):
        raise ValueError(
            f"{shown(path)} must hold {start + math.prod(shape):,} bytes for its shape {shape}. "
            f"Received: {len(data):,}"
        )
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape)
