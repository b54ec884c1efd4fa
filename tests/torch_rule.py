"""Weights that any library can draw again from the names and shapes of a state dict alone."""

from __future__ import annotations

import zlib

import numpy as np


def drawn(shapes: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """A state dict in torch's layout: every array comes from a generator seeded by its key.

    Deviations keep the activations of deep networks in range; BatchNorm's statistics are random too.
    """
    state = {}
    for key, shape in shapes.items():
        rng = np.random.default_rng(zlib.crc32(key.encode()))
        if key.endswith("num_batches_tracked"):
            value = np.zeros(shape, "int64")
        elif key.endswith("running_var"):
            value = rng.uniform(0.5, 1.5, shape)
        elif key.endswith("weight") and len(shape) == 1:
            value = rng.uniform(0.4, 0.9, shape)
        elif len(shape) in (2, 4):
            value = rng.standard_normal(shape) * np.sqrt(1.5 / np.prod(shape[1:]))
        else:
            value = 0.1 * rng.standard_normal(shape)
        state[key] = value if value.dtype == np.int64 else value.astype("float32")
    return state


def images(count: int, size: int) -> np.ndarray:
    """(count, size, size, 3) float32, smooth noise of about unit deviation."""
    rng = np.random.default_rng(7)
    coarse = rng.standard_normal((count, 8, 8, 3))
    fine = coarse.repeat(size // 8, axis=1).repeat(size // 8, axis=2)
    return (fine + 0.5 * rng.standard_normal((count, size, size, 3))).astype("float32")
