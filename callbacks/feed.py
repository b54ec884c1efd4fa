"""The data that a training step receives, described for the callbacks that measure speed."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple


class Feed(NamedTuple):
    """Describes the data that a training step receives, for `Health` and `Progress`.

    Attributes:
        batch_size: B, number of images per step.
        num_key_views: V, number of key views of an image.
        steps: number of steps of an epoch.
        waited: function `() -> seconds` which tells how long the model has waited for data so far, see
            `data.Waiting`; None, the default, where it is not measured.
    """

    batch_size: int
    num_key_views: int
    steps: int
    waited: Callable[[], float] | None = None
