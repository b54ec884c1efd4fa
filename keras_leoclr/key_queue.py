"""The queue of past keys."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_leoclr import distribution


@keras.saving.register_keras_serializable("keras_leoclr")
class KeyQueue(keras.layers.Layer):
    """A ring of the last `size` keys, the negatives of MoCo (arXiv 1911.05722, section 3.2).

    Its keys and pointer are weights, so they are saved and restored with the model. A batch of any
    length may be enqueued into a ring of any size: it wraps around, and of a batch longer than the
    ring the last `size` keys stay.

    Args:
        size: K >= 1, number of keys held.
        dim: D >= 1, length of a key.

    Attributes:
        keys: (K, D) float32 variable with unit rows; random directions until keys are enqueued.
        pointer: integer variable of the width of `optimizer.iterations`, the row that the next key goes to.
    """

    def __init__(self, size: int, dim: int, **kwargs: Any):
        kwargs.setdefault("dtype", "float32")
        super().__init__(**kwargs)
        self.size = size
        self.dim = dim
        # No aggregation: under tf.distribute every replica assigns the same gathered keys itself. With
        # "only_first_replica", the first one would send the whole queue to the others in every step.
        self.keys = self.add_weight(
            shape=(size, dim),
            initializer=_random_directions,
            trainable=False,
            name="keys",
        )
        self.pointer = self.add_weight(
            shape=(),
            initializer="zeros",
            dtype="int",  # int64 on TensorFlow, whose GPUs hold no int32 variables
            trainable=False,
            name="pointer",
        )
        self.built = True

    def enqueue(self, keys: Any) -> None:
        """Overwrites the oldest keys.

        Args:
            keys: (N, D), unit rows, in the order in which they are to be replaced again.
        """
        count = ops.shape(keys)[0]
        skipped = max(count - self.size, 0) if isinstance(count, int) else ops.maximum(count - self.size, 0)
        rows = (self.pointer + skipped + ops.arange(count - skipped, dtype=self.pointer.dtype)) % self.size
        if keras.backend.backend() == "tensorflow":  # in place; ops.scatter_update copies the whole queue
            distribution.assign_rows(self.keys, rows, keys[skipped:])
        else:
            self.keys.assign(ops.scatter_update(self.keys, rows[:, None], keys[skipped:]))
        self.pointer.assign((self.pointer + count) % self.size)

    def get_config(self):
        return {**super().get_config(), "size": self.size, "dim": self.dim}


def _random_directions(shape, dtype=None):
    # NumPy's global generator: the same on every backend, and set by keras.utils.set_random_seed
    directions = np.random.standard_normal(shape)
    return ops.convert_to_tensor(directions / np.linalg.norm(directions, axis=1, keepdims=True), dtype=dtype)
