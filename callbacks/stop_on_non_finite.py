"""Stops a run whose loss is NaN or infinite."""

from __future__ import annotations

import keras
import numpy as np


class NonFiniteLossError(ArithmeticError):
    """The loss became NaN or infinite."""


class StopOnNonFinite(keras.callbacks.Callback):
    """Raises `NonFiniteLossError` at the first step whose loss is not finite.

    The error leaves `fit` before the epoch ends, so callbacks that write checkpoints at the end of an
    epoch keep the last good one.
    """

    def __init__(self):
        super().__init__()
        self.epoch = 0

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        # `loss` is the mean over the epoch's steps so far: not finite from the first bad step on
        loss = float(np.asarray(keras.ops.convert_to_numpy((logs or {}).get("loss", 0.0))))
        if not np.isfinite(loss):
            raise NonFiniteLossError(
                f"The loss is {loss} at step {batch + 1} of epoch {self.epoch + 1}. "
                "Try a lower learning rate, a longer warm-up or a higher temperature; "
                "the checkpoint of the epoch before is kept."
            )
