"""Updates the moving statistics of BatchNorm, on torch those of all layers of a pass together."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import keras
from keras import ops


def move_statistics(momentum: float, new: Sequence[tuple[keras.Variable, Any]]) -> None:
    """Updates the moving statistics of a BatchNorm layer, now or at the end of `statistics_at_once`.

    The update is `moving = momentum * moving + (1 - momentum) * value`.

    Args:
        momentum: momentum of the update, in [0, 1].
        new: pairs (moving variable, new value) for mean and variance.
    """
    if _statistics is not None:
        _statistics.add(momentum, new)
        return
    for moving, value in new:
        moving.assign(moving * momentum + ops.stop_gradient(value) * (1.0 - momentum))


class _Statistics:
    """Collects new statistics of BatchNorm layers, to update all moving statistics together."""

    def __init__(self):
        self._new = {}

    def add(self, momentum, new):
        if any(id(moving) in self._new for moving, _ in new):
            self.move()  # a layer that is used twice moves twice, one after the other
        self._new |= {id(moving): (moving, value, momentum) for moving, value in new}

    def move(self):
        """Updates all moving statistics, with the formula of `move_statistics`."""
        import torch

        moving, values, momenta = zip(*self._new.values(), strict=True)
        self._new = {}
        if values[0].device.type == "meta":  # tensors without values, by which Keras finds out shapes
            return
        with torch.no_grad():
            moving = [each.value for each in moving]
            values = torch._foreach_mul(values, [1.0 - momentum for momentum in momenta])
            torch._foreach_mul_(moving, momenta)
            torch._foreach_add_(moving, values)


_statistics: _Statistics | None = None


@contextlib.contextmanager
def statistics_at_once() -> Iterator[None]:
    """Context at whose end the moving statistics of models from `with_fast_kernels` are updated together.

    It does something only on torch, where each update would launch several GPU kernels otherwise.
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
