"""TensorFlow's stateless random numbers in NumPy, bit for bit: Philox 4x32-10 (Salmon et al., SC 2011).

`uniform`, `split`, `fold_in` and `shuffled` return the same as `tf.random.stateless_uniform`,
`tf.random.split`, `tf.random.fold_in` and `tf.random.experimental.stateless_shuffle`, so that a seed gives
the same numbers where TensorFlow is not installed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

_LOW = np.uint64(0xFFFFFFFF)
_WORD = np.uint64(32)
_MULTIPLIERS = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_KEY_STEPS = 0x9E3779B9, 0xBB67AE85
_SCRAMBLE = 0x3EC8F720, 0x02461E29  # the key with which TensorFlow turns a seed into a key and a counter


def uniform(shape: Sequence[int], seed: Any) -> np.ndarray:
    """Draws uniform numbers in [0, 1), float32.

    Args:
        shape: shape of the result.
        seed: (2,) int32 or int64 array.
    """
    drawn = words(math.prod(shape), seed)
    # 23 random bits become the mantissa of a number in [1, 2), from which 1 is subtracted.
    return ((drawn & np.uint32(0x7FFFFF)) | np.uint32(0x3F800000)).view(np.float32).reshape(shape) - 1


def split(seed: Any, number: int = 2) -> np.ndarray:
    """Makes seeds that are independent of each other, as an array (number, 2) of the seed's type.

    Args:
        seed: (2,) int32 or int64 array.
        number: number of new seeds; 2 by default.
    """
    return _integers((number, 2), seed, np.asarray(seed).dtype)


def fold_in(seed: Any, data: Any) -> np.ndarray:
    """Makes a seed (2,) from a seed and an integer; it has the type of the integer.

    Args:
        seed: (2,) int32 or int64 array.
        data: int32 or int64 scalar.
    """
    data = np.asarray(data)
    return np.stack([_integers((), seed, data.dtype), data])


def shuffled(count: int, seed: Any) -> np.ndarray:
    """Returns the numbers from 0 to `count` - 1 in random order, (count,) int64.

    Args:
        count: >= 0, how many numbers.
        seed: (2,) int32 or int64 array.
    """
    order = list(range(count))
    if count < 2:
        return np.array(order, np.int64)
    # Fisher-Yates shuffle: each place is swapped with itself or a random later place.
    steps = words(count - 1, seed) % np.arange(count, 1, -1, dtype=np.uint32)
    for place, step in enumerate(steps.tolist()):
        order[place], order[place + step] = order[place + step], order[place]
    return np.array(order, np.int64)


def _integers(shape: Sequence[int], seed: Any, dtype: np.dtype) -> np.ndarray:
    """Draws integers from the whole range of a type."""
    dtype = np.dtype(dtype)
    if dtype not in (np.int32, np.int64):
        raise TypeError(f"`dtype` of seeds must be int32 or int64. Received: dtype={dtype}")
    size = math.prod(shape)
    if dtype == np.int32:
        return words(size, seed).view(np.int32).reshape(shape)
    halves = words(2 * size, seed).astype(np.uint64).reshape(-1, 2)
    return (halves[:, 0] | halves[:, 1] << _WORD).view(np.int64).reshape(shape)


def words(count: int, seed: Any) -> np.ndarray:
    """Draws random words of 32 bits, (count,) uint32; a larger `count` only adds words at the end.

    Args:
        count: number of words.
        seed: (2,) int32 or int64 array.
    """
    seed = np.asarray(seed)
    if seed.shape != (2,) or seed.dtype not in (np.int32, np.int64):
        raise ValueError(f"`seed` must be two int32 or int64 numbers. Received: seed={seed!r}")
    first, second = (int(number) % 2**64 for number in seed)  # negative numbers keep their sign in 64 bits
    start = [np.array([number >> shift & 0xFFFFFFFF]) for number in (first, second) for shift in (0, 32)]
    mixed = [int(word[0]) for word in _philox(start, _SCRAMBLE)]
    # The lower half of the 128-bit counter starts at 0, so that it never carries into the upper half here.
    blocks = np.arange(-(-count // 4), dtype=np.uint64)
    ones = np.ones_like(blocks)
    counter = [blocks & _LOW, blocks >> _WORD, ones * np.uint64(mixed[2]), ones * np.uint64(mixed[3])]
    return np.stack(_philox(counter, (mixed[0], mixed[1])), axis=1).astype(np.uint32).reshape(-1)[:count]


def _philox(counter: list[np.ndarray], key: tuple[int, int]) -> list[np.ndarray]:
    """Applies the ten rounds of Philox to four words, each of which is an array of 32-bit numbers."""
    a, b, c, d = (word.astype(np.uint64) for word in counter)
    for step in range(10):
        keys = [np.uint64((k + step * constant) % 2**32) for k, constant in zip(key, _KEY_STEPS, strict=True)]
        one, two = _MULTIPLIERS[0] * a, _MULTIPLIERS[1] * c
        a, b, c, d = (two >> _WORD) ^ b ^ keys[0], two & _LOW, (one >> _WORD) ^ d ^ keys[1], one & _LOW
    return [a, b, c, d]
