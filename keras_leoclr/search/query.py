"""The pictures of an index that are nearest to others."""

from __future__ import annotations

import collections
import dataclasses
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from keras_leoclr.data import decode
from keras_leoclr.data.failures import Failures, ImageError
from keras_leoclr.data.readers.files import Index
from keras_leoclr.data.readers.folder import FolderImages
from keras_leoclr.search.encoder import Encoder
from keras_leoclr.search.index_file import PictureIndex


@dataclasses.dataclass(frozen=True)
class Hit:
    """A similar picture.

    Attributes:
        path: absolute.
        similarity: cosine of the features, in [-1, 1].
        itself: whether it is the file that was searched for.
    """

    path: str
    similarity: float
    itself: bool


def search(
    index: PictureIndex,
    encoder: Encoder,
    queries: Sequence[str | os.PathLike],
    k: int = 10,
    on_error: str = "raise",
) -> Iterator[tuple[str, list[Hit] | str]]:
    """The most similar pictures to others.

    Args:
        index: index of a folder.
        encoder: the encoder that made the index.
        queries: picture files, in the folder or not.
        k: number of pictures, at most all.
        on_error: at a query that cannot be read, "raise" or "skip".

    Yields:
        Path of the query, and its hits, nearest first; with "skip" the reason why there are none.

    Raises:
        IndexFileError: if the index was made with another backbone.
        ValueError: if a query cannot be read.
    """
    index.check_made_with(encoder)
    if k < 1:
        raise ValueError(f"`k` must be >= 1. Received: k={k}")
    paths = index.paths()
    for query in map(os.fspath, queries):
        try:
            images = _one_picture(query)
        except ImageError as error:
            if on_error == "raise":
                raise ValueError(decode.advice(query, str(error))) from error
            yield query, str(error)
            continue
        similarity, rows = index.vectors.search(encoder.features(images), min(k, len(index.files)))
        yield (
            query,
            [
                Hit(paths[row], float(value), _same_file(query, paths[row]))
                for value, row in zip(similarity[0], rows[0], strict=True)
                if row >= 0  # a graph may find fewer
            ],
        )


def _one_picture(path: str) -> FolderImages:
    """A source of one picture, decoded on the same way as those of an index."""
    folder, name = os.path.split(os.path.abspath(os.fsencode(path)))
    try:
        with open(os.path.join(folder, name), "rb") as file:
            header = decode.read_header(file)
    except OSError as error:
        raise ImageError(f"cannot be opened: {error.strerror}") from error
    images = FolderImages(folder, Index({name: header}, {}, collections.Counter(), []), Failures(1))
    images.read(0)  # a damaged one fails here, with its reason
    return images


def _same_file(first: str, second: str) -> bool:
    try:
        return os.path.samefile(first, second)
    except OSError:  # the one in the folder may be gone
        return False


def as_json(found: Iterable[tuple[str, list[Hit] | str]]) -> list[dict[str, Any]]:
    """What `search` yields, as JSON can hold it."""
    return [
        {"query": query, "skipped": hits}
        if isinstance(hits, str)
        else {"query": query, "hits": [dataclasses.asdict(hit) for hit in hits]}
        for query, hits in found
    ]
