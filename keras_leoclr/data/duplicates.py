"""Finds copies of files among the pictures of a source, and pictures that look nearly the same."""

from __future__ import annotations

import collections
import hashlib
import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

from keras_leoclr import terminal
from keras_leoclr.data.failures import ImageError, shown
from keras_leoclr.data.readers.archives import open_file, state_of
from keras_leoclr.data.readers.folder import FolderImages
from keras_leoclr.data.source import Source

DISTANCE = 4  # largest number of different bits, of 64, between pictures that look nearly the same
BANDS = DISTANCE + 1  # number of parts of a hash; hashes within this distance have an equal part
READ = 1 << 20  # number of bytes that are read at a time
PIXELS = 1 << 14  # large JPEGs are decoded at a reduced size of at least this number of pixels
ROWS = 1024  # number of hashes that are compared with others at a time


def copies(images: FolderImages, progress: bool = True) -> list[list[str]]:
    """Groups the files that have the same content. A file whose size no other file has is not read.

    Args:
        images: pictures that are files.
        progress: whether a bar is shown if this takes longer than a second; True by default.

    Returns:
        A list for each group, with the paths of its two or more files in the order of the source.
    """
    by_size = collections.defaultdict(list)
    for path in images.paths:
        by_size[state_of(path)[0]].append(path)
    alike = [path for paths in by_size.values() if len(paths) > 1 for path in paths]
    by_content = collections.defaultdict(list)
    for path in terminal.progress(alike, len(alike), "Copies", "files", progress):
        try:
            by_content[_digest(path)].append(path)
        except (OSError, ImageError):  # The file is listed among those that cannot be read.
            continue
    return [paths for paths in by_content.values() if len(paths) > 1]


def _digest(path: str) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    with open_file(path) as file:
        while piece := file.read(READ):
            digest.update(piece)
    return digest.digest()


def near_duplicates(source: Source, progress: bool = True) -> list[list[str]]:
    """Groups pictures that look nearly the same, such as smaller, recompressed or slightly brighter copies.

    Two pictures are in a group if their perceptual hashes (`imagehash.phash`, 64 bits of the low frequencies
    of the grey picture) differ in at most `DISTANCE` bits, or if a chain of such pictures joins them.

    Args:
        source: the pictures, as `data.load` returns them.
        progress: whether a bar is shown if this takes longer than a second; True by default.

    Returns:
        A list for each group, with the two or more paths of its pictures. A picture that is not a file is
        named by its number, such as "picture 12".

    Raises:
        ImportError: if the package imagehash is missing; the message names the extra to install.
    """
    package = imagehash_package()
    from PIL import Image

    names, hashes = [], []
    pictures = _pictures(source)
    for name, pixels in terminal.progress(pictures, source.count or -1, "Hashes", "pictures", progress):
        bits = package.phash(Image.fromarray(pixels)).hash
        names.append(name)
        hashes.append(np.packbits(bits).view(">u8")[0])
    values, inverse = np.unique(np.array(hashes, np.uint64), return_inverse=True)
    group = _groups(values)[np.ravel(inverse)]
    found = collections.defaultdict(list)
    for name, number in zip(names, group.tolist(), strict=True):
        found[number].append(name)
    return [members for members in found.values() if len(members) > 1]


def _pictures(source: Source) -> Iterator[tuple[str, np.ndarray]]:
    images: Any = source.images
    if isinstance(images, FolderImages):
        for number, path in enumerate(images.paths):
            try:
                yield path, images.read(number, PIXELS)
            except ImageError:  # `leoclr data --verify` names the picture.
                continue
        return
    for number, element in enumerate(source.dataset.as_numpy_iterator()):
        pixels = np.clip(element["image"], 0, 255).astype(np.uint8)
        yield f"picture {number}", pixels[..., 0] if pixels.shape[-1] == 1 else pixels[..., :3]


def _groups(values: np.ndarray) -> np.ndarray:
    """Returns the number of the group of each hash, (N,), for hashes (N,) uint64.

    Only hashes that have one equal part are compared. A hash has `DISTANCE + 1` parts, so that two hashes
    which differ in at most `DISTANCE` bits have at least one equal part.
    """
    parent = np.arange(len(values))

    def root(number):
        while parent[number] != number:
            parent[number] = parent[parent[number]]
            number = parent[number]
        return number

    edges = np.linspace(0, 64, BANDS + 1).astype(int)
    for low, high in itertools.pairwise(edges):
        part = (values >> np.uint64(low)) & np.uint64((1 << int(high - low)) - 1)
        order = np.argsort(part, kind="stable")
        starts = np.flatnonzero(np.diff(part[order], prepend=part[order][:1] ^ np.uint64(1)))
        for rows in np.split(order, starts[1:]):
            for start in range(0, len(rows), ROWS):
                some = rows[start : start + ROWS]
                bits = np.bitwise_xor.outer(values[some], values[rows[start:]])
                near = _ones(bits) <= DISTANCE
                for one, other in zip(*np.nonzero(near), strict=True):
                    parent[root(some[one])] = root(rows[start + other])
    return np.array([root(number) for number in range(len(values))])


def _ones(values: np.ndarray) -> np.ndarray:
    """Counts the ones among the bits of uint64 numbers."""
    if hasattr(np, "bitwise_count"):  # NumPy 2
        return np.bitwise_count(values)
    return np.unpackbits(values[..., None].view(np.uint8), axis=-1).sum(-1)


def text_of(groups: list[list[str]], what: str) -> str:
    """Returns text such as "5 pictures in 2 groups WHAT, such as a.png and b.png"; "none" for no group."""
    if not groups:
        return "none"
    names = " and ".join(map(shown, groups[0][:2]))
    number = "1 group" if len(groups) == 1 else f"{len(groups):,} groups"
    return f"{sum(map(len, groups)):,} pictures in {number} {what}, such as {names}"


def imagehash_package() -> Any:
    """Imports the package imagehash.

    Raises:
        ImportError: if it is missing; the message names the extra to install.
    """
    try:
        import imagehash
    except ImportError as error:
        raise ImportError(
            "pictures that look nearly the same are found with imagehash: "
            "pip install 'keras-leoclr[duplicates]'"
        ) from error
    return imagehash
