"""Exact search for the nearest neighbours by cosine, with limited memory."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

MEMORY = 2**27  # bytes of similarities that are held at a time
BLOCKS_PER_NEIGHBOUR = 8


def unit_rows(features: np.ndarray) -> np.ndarray:
    """Scales rows to length 1, as float32; rows of zeros stay zero."""
    features = np.asarray(features, "float32")
    lengths = np.sqrt(np.einsum("nf,nf->n", features, features))  # einsum avoids an array of squares.
    return features / np.maximum(lengths, 1e-12)[:, None]


def nearest(
    bank: np.ndarray, queries: np.ndarray | None, k: int, memory: int = MEMORY
) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
    """Yields the `k` rows of `bank` with the largest cosine to each query, nearest first.

    Args:
        bank: (N, F) features to search in.
        queries: (M, F) features; None takes the rows of `bank`, and a row is not its own neighbour.
        k: number of neighbours, in [1, N], or [1, N - 1] if `queries` is None.
        memory: bytes for a chunk of the (M, N) similarities, besides a copy of `bank`; at least one
            row is held. 2**27 by default.

    Yields:
        The slice of the queries (m of them), their similarities (m, k) float32, and the numbers of the
        neighbours (m, k). Of equal similarities the lower number comes first.
    """
    own = queries is None
    queries = bank if own else queries
    bank = unit_rows(bank)
    rows = int(np.clip(memory // (4 * len(bank)), 1, len(queries)))
    held = np.empty((rows, len(bank)), "float32")
    for start in range(0, len(queries), rows):
        part = slice(start, min(start + rows, len(queries)))
        similarity = held[: part.stop - part.start]
        np.matmul(bank[part] if own else unit_rows(queries[part]), bank.T, out=similarity)
        if own:
            similarity[np.arange(len(similarity)), np.arange(part.start, part.stop)] = -np.inf
        yield part, *_largest(similarity, k)


def _largest(values: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the k largest values of each row, in order, and their columns.

    The k-th largest of the maxima of blocks is a lower bound of the k-th largest value, because k blocks
    each have a value that large. Only values that reach this bound are sorted. Computing the maxima is one
    fast vectorised pass, whereas partitioning whole rows would be slow.
    """
    columns = values.shape[1]
    # A block consists of columns that lie far apart, because adjacent rows of the bank often share a class.
    blocks = max(BLOCKS_PER_NEIGHBOUR * k, 256)
    depth = columns // blocks
    if depth > 1:
        maxima = values[:, : depth * blocks].reshape(len(values), depth, blocks).max(axis=1)
        maxima = np.concatenate([maxima, values[:, depth * blocks :]], axis=1)
        bounds = np.partition(maxima, -k, axis=1)[:, -k]
    else:
        bounds = np.partition(values, -k, axis=1)[:, -k]
    largest = np.empty((len(values), k), "float32")
    found = np.empty((len(values), k), np.int64)
    for row, bound, top, place in zip(values, bounds, largest, found, strict=True):
        candidates = np.flatnonzero(row >= bound)
        order = np.argsort(-row[candidates], kind="stable")[:k]
        place[:] = candidates[order]
        top[:] = row[place]
    return largest, found
