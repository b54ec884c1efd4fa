"""The array functions that `sampling` needs, by TensorFlow, for the graph of a tf.data pipeline."""

from __future__ import annotations

from typing import Any

from keras_leoclr.tensorflow_host import tf


class TensorFlowFunctions:
    """The functions of `NumPyFunctions` for TensorFlow tensors."""

    where = staticmethod(tf.where)
    exp = staticmethod(tf.exp)
    sqrt = staticmethod(tf.sqrt)
    cos = staticmethod(tf.cos)
    sin = staticmethod(tf.sin)
    round = staticmethod(tf.round)
    floor = staticmethod(tf.floor)
    minimum = staticmethod(tf.minimum)
    maximum = staticmethod(tf.maximum)
    stack = staticmethod(tf.stack)
    unstack = staticmethod(tf.unstack)
    reshape = staticmethod(tf.reshape)
    transpose = staticmethod(tf.transpose)
    any = staticmethod(tf.reduce_any)
    uniform = staticmethod(tf.random.stateless_uniform)

    @staticmethod
    def float32(x: Any) -> tf.Tensor:
        """Converts a number to a float32 scalar."""
        return tf.cast(x, tf.float32)

    @staticmethod
    def argmax(x: tf.Tensor, axis: int) -> tf.Tensor:
        """The index of the first largest value along an axis."""
        return tf.argmax(x, axis, output_type=tf.int32)

    @staticmethod
    def pick(array: tf.Tensor, index: tf.Tensor) -> tf.Tensor:
        """Row i of the result is `array[i, index[i]]`."""
        return tf.gather(array, index, axis=1, batch_dims=1)

    @staticmethod
    def split(seed: Any) -> tf.Tensor:
        """Derives two seeds (2, 2) from one seed (2,)."""
        return tf.random.split(tf.cast(seed, tf.int32), 2)

    @staticmethod
    def nothing(rows: tf.Tensor, length: int) -> tf.Tensor:
        """A tensor (B, 0, length) without elements, where B is the number of rows of `rows`."""
        empty = tf.zeros([tf.shape(rows)[0], 0, length], tf.uint8)
        return tf.ensure_shape(empty, [rows.shape[0], 0, length])
