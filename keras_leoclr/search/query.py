"""The search: it finds the pictures of an index that are most similar to given pictures."""

from __future__ import annotations

import collections
import dataclasses
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from keras_leoclr.checks import one_of, whole_number
from keras_leoclr.data import decode
from keras_leoclr.data.failures import Failures, ImageError
from keras_leoclr.data.readers.files import Index
from keras_leoclr.data.readers.folder import FolderImages
from keras_leoclr.search.encoder import Encoder
from keras_leoclr.search.index_file import PictureIndex


@dataclasses.dataclass(frozen=True)
class Hit:
    """A similar picture that was found.

    Attributes:
        path: absolute path of the picture.
        similarity: cosine of the two pictures' features, in [-1, 1].
        itself: whether the picture is the query itself.
    """

    path: str
    similarity: float
    itself: bool


def search(
    index: PictureIndex,
    encoder: Encoder,
    queries: str | os.PathLike | Sequence[str | os.PathLike],
    k: int = 10,
    on_error: str = "raise",
) -> Iterator[tuple[str, list[Hit] | str]]:
    """Finds the pictures of an index that are most similar to each query.

    Args:
        index: index of a folder.
        encoder: the encoder that made the index.
        queries: path of a picture file, or several; they need not be in the folder.
        k: >= 1, number of pictures to find for each query, at most all of the index; 10 by default.
        on_error: what to do if a query cannot be read: "raise" (the default) or "skip".

    Yields:
        The path of a query, and its hits with the most similar first. For a query that was skipped, the
        reason as text takes the place of the hits.

    Raises:
        IndexFileError: if the index was made with another backbone.
        ValueError: if a query cannot be read, or `k` or `on_error` is not one of these.
    """
    index.check_made_with(encoder)
    encoder = encoder.reading_as(index.backbone)
    k = whole_number("k", k, 1)
    one_of("on_error", on_error, ("raise", "skip"))
    queries = (queries,) if isinstance(queries, (str, os.PathLike)) else queries
    paths = index.paths()
    for query in map(os.path.expanduser, queries):
        try:
            images = _one_picture(query, encoder)
        except ImageError as error:
            if on_error == "raise":
                raise ValueError(decode.advice(query, str(error))) from error
            yield query, str(error)
            continue
        similarity, rows = index.vectors.search(encoder.features(images), min(k, len(index.files)))
        yield (
            query,
            [
                # Rounding can make the cosine of a picture with itself a little larger than 1.
                Hit(paths[row], max(-1.0, min(1.0, float(value))), _same_file(query, paths[row]))
                for value, row in zip(similarity[0], rows[0], strict=True)
                if row >= 0  # with "hnsw", faiss may find fewer than k and fills up with -1
            ],
        )


def _one_picture(path: str, encoder: Encoder) -> FolderImages:
    """A source of one picture, decoded on the same way as those of an index."""
    folder, name = os.path.split(os.path.abspath(os.fsencode(path)))
    try:
        with open(os.path.join(folder, name), "rb") as file:
            header = decode.read_header(file) if encoder.pixels is None else encoder.pixels.header(file)
    except OSError as error:
        raise ImageError(f"cannot be opened: {error.strerror}") from error
    images = FolderImages(
        folder, Index({name: header}, {}, collections.Counter(), []), Failures(1), pixels=encoder.pixels
    )
    images.read(0)  # a damaged one fails here, with its reason
    return images


def _same_file(first: str, second: str) -> bool:
    try:
        return os.path.samefile(first, second)
    except OSError:  # the picture in the folder may have been deleted since
        return False


def as_json(found: Iterable[tuple[str, list[Hit] | str]]) -> list[dict[str, Any]]:
    """Converts what `search` yields into a form that JSON can hold."""
    return [
        {"query": query, "skipped": hits}
        if isinstance(hits, str)
        else {"query": query, "hits": [dataclasses.asdict(hit) for hit in hits]}
        for query, hits in found
    ]
