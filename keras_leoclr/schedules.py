"""Schedules of the key encoder's momentum."""

from __future__ import annotations

import math

import keras
from keras import ops


@keras.saving.register_keras_serializable("keras_leoclr")
class CosineMomentum(keras.optimizers.schedules.LearningRateSchedule):
    """Momentum that rises along a cosine (BYOL, arXiv 2006.07733, section 3.3).

    `m(step) = end - (end - start) * (cos(pi * step / steps) + 1) / 2`, and `end` after the last of the steps.

    Args:
        start: momentum at the first step, in [0, 1].
        steps: >= 1, number of training steps until the momentum is `end`.
        end: final momentum, in [start, 1]; 1 by default.

    Example:
        ```python
        model = LeOCLR(backbone, momentum=schedules.CosineMomentum(0.99, steps=epochs * steps_per_epoch))
        ```
    """

    def __init__(self, start: float, steps: int, end: float = 1.0):
        if not 0 <= start <= end <= 1:
            raise ValueError(
                f"`start` and `end` must be numbers with 0 <= start <= end <= 1. "
                f"Received: start={start}, end={end}"
            )
        if not steps >= 1:
            raise ValueError(f"`steps` must be >= 1. Received: steps={steps}")
        self.start = float(start)
        self.steps = int(steps)
        self.end = float(end)

    def __call__(self, step):
        share = ops.minimum(ops.cast(step, "float32") / self.steps, 1.0)
        return self.end - (self.end - self.start) * (ops.cos(math.pi * share) + 1.0) / 2.0

    def get_config(self):
        return {"start": self.start, "steps": self.steps, "end": self.end}
