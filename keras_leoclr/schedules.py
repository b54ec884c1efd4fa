"""Schedules of the key encoder's momentum."""

from __future__ import annotations

import math

import keras
from keras import ops

from keras_leoclr.checks import number, whole_number


@keras.saving.register_keras_serializable("keras_leoclr")
class CosineMomentum(keras.optimizers.schedules.LearningRateSchedule):
    """Momentum that rises along a cosine (BYOL, arXiv 2006.07733, section 3.3).

    `m(step) = end - (end - start) * (cos(pi * step / steps) + 1) / 2`, and `end` after the last of the steps.
    A step is an update of the weights, as for the schedules of learning rates. With accumulated gradients,
    there is one in `gradient_accumulation_steps` batches.

    Args:
        start: momentum at the first step, in [0, 1].
        steps: >= 1, number of weight updates until the momentum is `end`: the batches of the whole training,
            divided by the optimizer's `gradient_accumulation_steps`.
        end: final momentum, in [start, 1]; 1 by default.

    Example:
        ```python
        updates = epochs * steps_per_epoch // gradient_accumulation_steps  # 1 without accumulation
        model = LeOCLR(backbone, momentum=schedules.CosineMomentum(0.99, steps=updates))
        ```
    """

    def __init__(self, start: float, steps: int, end: float = 1.0):
        start, end = number("start", start, 0, 1), number("end", end, 0, 1)
        if not start <= end:
            raise ValueError(
                f"`start` and `end` must be numbers with 0 <= start <= end <= 1. "
                f"Received: start={start}, end={end}"
            )
        self.steps = whole_number("steps", steps, 1)
        self.start, self.end = start, end

    def __call__(self, step):
        share = ops.minimum(ops.cast(step, "float32") / self.steps, 1.0)
        return self.end - (self.end - self.start) * (ops.cos(math.pi * share) + 1.0) / 2.0

    def get_config(self):
        return {"start": self.start, "steps": self.steps, "end": self.end}
