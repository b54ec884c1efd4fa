"""The ring of past keys."""

import numpy as np
import pytest

from keras_leoclr import KeyQueue
from tests.case import to_numpy

pytestmark = pytest.mark.method


class ListQueue:
    """The same queue, one key at a time."""

    def __init__(self, keys):
        self.keys, self.pointer = keys.copy(), 0

    def enqueue(self, keys):
        for key in keys:
            self.keys[self.pointer] = key
            self.pointer = (self.pointer + 1) % len(self.keys)


@pytest.mark.parametrize("size", [1, 5, 8, 13])
@pytest.mark.parametrize("batch_size", [1, 4, 8, 30])
def test_queue_wraps_without_losing_keys(size, batch_size):
    queue = KeyQueue(size, 3)
    expected = ListQueue(to_numpy(queue.keys))
    rng = np.random.default_rng(0)
    for _ in range(6):
        keys = rng.standard_normal((batch_size, 3)).astype("float32")
        queue.enqueue(keys)
        expected.enqueue(keys)
        np.testing.assert_array_equal(to_numpy(queue.keys), expected.keys)
        assert int(to_numpy(queue.pointer)) == expected.pointer


def test_new_queue_holds_unit_directions_spread_evenly():
    keys = to_numpy(KeyQueue(4000, 16).keys)
    np.testing.assert_allclose(np.linalg.norm(keys, axis=1), 1.0, rtol=1e-5)
    np.testing.assert_allclose(keys.mean(axis=0), 0.0, atol=0.02)
    np.testing.assert_allclose(keys.std(axis=0), 16**-0.5, rtol=0.05)


def test_queue_is_not_trainable():
    queue = KeyQueue(4, 2)
    assert queue.trainable_variables == []
    assert len(queue.non_trainable_variables) == 2
