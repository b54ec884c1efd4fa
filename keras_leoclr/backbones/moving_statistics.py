"""Moving statistics of BatchNorm: one layer's at once, or on torch those of all layers of a pass together."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import keras
from keras import ops


def move_statistics(layer: keras.layers.Layer, new: Sequence[tuple[keras.Variable, Any, Any]]) -> None:
    """Moves the moving statistics of a BatchNorm layer, now or at the end of `statistics_at_once`.

    Args:
        layer: whose `momentum` is taken: `moving = momentum * moving + (1 - momentum) * share * value`.
        new: (moving variable, value, share) for mean and variance.
    """
    if _statistics is not None:
        _statistics.add(layer, new)
        return
    for moving, value, share in new:
        value = ops.stop_gradient(value) * share
        moving.assign(moving * layer.momentum + value * (1.0 - layer.momentum))


class _Statistics:
    """New statistics of BatchNorm layers, for one update of all moving ones."""

    def __init__(self):
        self._new = {}

    def add(self, layer, new):
        if id(layer) in self._new:  # a layer that is used twice moves twice, one after the other
            self.move()
        self._new[id(layer)] = [(*each, layer.momentum) for each in new]

    def move(self):
        """As `_BatchNorm` does for a single layer."""
        import torch

        moving, values, shares, momenta = zip(*itertools.chain(*self._new.values()), strict=True)
        self._new = {}
        if values[0].device.type == "meta":  # Keras only asks for shapes
            return
        with torch.no_grad():
            moving = [each.value for each in moving]
            shares = [share * (1.0 - momentum) for share, momentum in zip(shares, momenta, strict=True)]
            values = torch._foreach_mul(values, shares)
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
