"""The array functions that `sampling` needs, by NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np

from keras_leoclr import philox


class NumPyFunctions:
    """The array functions that drawing and computing parameters need, by NumPy, in float32."""

    where = staticmethod(np.where)
    sqrt = staticmethod(np.sqrt)
    cos = staticmethod(np.cos)
    sin = staticmethod(np.sin)
    round = staticmethod(np.round)
    floor = staticmethod(np.floor)
    minimum = staticmethod(np.minimum)
    maximum = staticmethod(np.maximum)
    stack = staticmethod(np.stack)
    reshape = staticmethod(np.reshape)
    transpose = staticmethod(np.transpose)
    argmax = staticmethod(np.argmax)
    any = staticmethod(np.any)
    float32 = staticmethod(np.float32)
    uniform = staticmethod(philox.uniform)

    @staticmethod
    def split(seed: Any) -> np.ndarray:
        """Derives two seeds (2, 2) from one seed (2,)."""
        return philox.split(np.asarray(seed).astype(np.int32), 2)

    @staticmethod
    def unstack(array: np.ndarray, axis: int) -> list[np.ndarray]:
        """Splits an array into the list of its slices along an axis."""
        return list(np.moveaxis(array, axis, 0))

    @staticmethod
    def pick(array: np.ndarray, index: np.ndarray) -> np.ndarray:
        """Row i of the result is `array[i, index[i]]`."""
        return array[np.arange(len(index)), index]

    @staticmethod
    def exp(x: np.ndarray) -> np.ndarray:
        """The exponential of small numbers, equal to TensorFlow's on x86 bit by bit.

        np.exp differs from it in the last bit, which would sometimes make a crop a pixel larger or smaller.
        This is the polynomial of Eigen (`pexp_float`); its error is at most one unit in the last place.
        """
        x = np.asarray(x, np.float32)
        power = np.floor(x * np.float32(1.44269504088896341) + np.float32(0.5))
        rest = power * np.float32(-0.693359375) + x
        rest = power * np.float32(2.12194440e-4) + rest
        square = rest * rest
        even = square * np.float32(1.37449637986719608306884765625e-3)
        even = square * (even + np.float32(4.166965186595916748046875e-2))
        even = even + np.float32(0.49999988079071044921875)
        odd = square * np.float32(8.36894474923610687255859375e-3)
        odd = odd + np.float32(0.16666518151760101318359375)
        return np.ldexp(square * (rest * odd + even) + (rest + np.float32(1)), power.astype(np.int32))

    @staticmethod
    def nothing(rows: np.ndarray, length: int) -> np.ndarray:
        """An array (B, 0, length) without elements, where B is the number of rows of `rows`."""
        return np.zeros((len(rows), 0, length), np.uint8)
