"""What a step is fed with."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple


class Feed(NamedTuple):
    """What a step is fed with, for `Health` and `Progress`.

    Attributes:
        batch_size: B, images per step.
        num_key_views: V.
        steps: of an epoch.
        waited: `() -> seconds` that the model has waited for data so far, see `data.Waiting`.
    """

    batch_size: int
    num_key_views: int
    steps: int
    waited: Callable[[], float] | None = None
