"""Moving statistics of BatchNorm: one layer's at once, or on torch those of all layers of a pass together."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import keras
from keras import ops


def move_statistics(momentum: float, new: Sequence[tuple[keras.Variable, Any]]) -> None:
    """Moves the moving statistics of a BatchNorm layer, now or at the end of `statistics_at_once`.

    Args:
        momentum: of `moving = momentum * moving + (1 - momentum) * value`.
        new: (moving variable, value) for mean and variance.
    """
    if _statistics is not None:
        _statistics.add(momentum, new)
        return
    for moving, value in new:
        moving.assign(moving * momentum + ops.stop_gradient(value) * (1.0 - momentum))


class _Statistics:
    """New statistics of BatchNorm layers, for one update of all moving ones."""

    def __init__(self):
        self._new = {}

    def add(self, momentum, new):
        if any(id(moving) in self._new for moving, _ in new):
            self.move()  # a layer that is used twice moves twice, one after the other
        self._new |= {id(moving): (moving, value, momentum) for moving, value in new}

    def move(self):
        """As `move_statistics` does for a single layer."""
        import torch

        moving, values, momenta = zip(*self._new.values(), strict=True)
        self._new = {}
        if values[0].device.type == "meta":  # Keras only asks for shapes
            return
        with torch.no_grad():
            moving = [each.value for each in moving]
            values = torch._foreach_mul(values, [1.0 - momentum for momentum in momenta])
            torch._foreach_mul_(moving, momenta)
            torch._foreach_add_(moving, values)


_statistics: _Statistics | None = None


@contextlib.contextmanager
def statistics_at_once() -> Iterator[None]:
    """Within the block, moving statistics of `with_fast_kernels` wait for its end, where they move together.

    On torch alone, where each of them is several launches otherwise.
    """
    global _statistics
    if keras.backend.backend() != "torch" or _statistics is not None:
        yield
        return
    _statistics = _Statistics()
    try:
        yield
        if _statistics._new:
            _statistics.move()
    finally:
        _statistics = None
