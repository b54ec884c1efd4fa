"""The queue of past keys."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_leoclr import distribution
from keras_leoclr.checks import whole_number


@keras.saving.register_keras_serializable("keras_leoclr")
class KeyQueue(keras.layers.Layer):
    """A ring of the last `size` keys, the negatives of MoCo (arXiv 1911.05722, section 3.2).

    Keys and pointer are weights, so they are saved and restored with the model. The batch may have any
    length: writing continues at the first row after the last one, and of a batch with more than `size` keys
    the last `size` keys stay.

    Args:
        size: K >= 1, number of keys held.
        dim: D >= 1, length of a key.

    Attributes:
        keys: (K, D) float32 variable, rows of length 1; random directions until keys are enqueued.
        pointer: integer variable, number of the row that the next key is written to.

    Example:
        ```python
        queue = KeyQueue(size=1000, dim=128)
        queue.enqueue(keras.ops.normalize(keras.random.normal((32, 128))))
        int(queue.pointer)  # 32
        ```
    """

    def __init__(self, size: int, dim: int, **kwargs: Any):
        kwargs.setdefault("dtype", "float32")
        super().__init__(**kwargs)
        self.size = whole_number("size", size, 1)
        self.dim = whole_number("dim", dim, 1)
        # The variables have no aggregation: under tf.distribute every replica assigns the same gathered keys.
        # With "only_first_replica", the first replica would send the whole queue to the others in every step.
        self.keys = self.add_weight(
            shape=(size, dim),
            initializer=_random_directions,
            trainable=False,
            name="keys",
        )
        self.pointer = self.add_weight(
            shape=(),
            initializer="zeros",
            dtype="int",  # int64 on TensorFlow, which keeps int32 variables on the host
            trainable=False,
            name="pointer",
        )
        self.built = True

    def enqueue(self, keys: Any) -> None:
        """Overwrites the oldest keys.

        Args:
            keys: (N, D) tensor, rows of length 1; the first rows are the first to be overwritten later.
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
    # NumPy's global generator gives the same keys on every backend, and keras.utils.set_random_seed sets it.
    directions = np.random.standard_normal(shape)
    return ops.convert_to_tensor(directions / np.linalg.norm(directions, axis=1, keepdims=True), dtype=dtype)
