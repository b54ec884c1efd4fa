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
