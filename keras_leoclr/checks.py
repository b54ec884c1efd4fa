"""Checks of arguments that several modules share."""

from __future__ import annotations

from typing import Any

import numpy as np


def whole_number(name: str, value: Any, low: int) -> int:
    """The value as int.

    Raises:
        ValueError: unless it is a whole number >= `low`.
    """
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or value < low:
        raise ValueError(f"`{name}` must be a whole number >= {low}. Received: {name}={value!r}")
    return int(value)


def one_of(name: str, value: Any, choices: tuple[str, ...]) -> None:
    """Raises ValueError unless the value is one of the choices."""
    if value not in choices:
        rule = " or ".join(f'"{choice}"' for choice in choices)
        raise ValueError(f"`{name}` must be {rule}. Received: {name}={value!r}")


def batch_of_views(batch: Any, images: bool = False) -> None:
    """Raises ValueError unless the batch is a dictionary of a query view and key views.

    Args:
        batch: `{"query": (B, H, W, C), "keys": (B, V, H, W, C)}`.
        images: whether images, from which the views are made, would have been taken as well.
    """
    names = set(batch) if isinstance(batch, dict) else set()
    if not {"query", "keys"} <= names:
        expected = '"image" and "seed"' if images else '"query" and "keys"'
        received = sorted(names) if isinstance(batch, dict) else type(batch).__name__
        raise ValueError(f"A batch must be a dictionary with {expected}. Received: {received}")
    query, keys = batch["query"].shape, batch["keys"].shape
    if len(keys) != 5 or len(query) != 4:
        raise ValueError(
            f'"query" must be (B, H, W, C) and "keys" (B, V, H, W, C). Received: query {query}, keys {keys}'
        )
