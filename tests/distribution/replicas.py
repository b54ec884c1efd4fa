"""The replicas on logical devices that the tests of one process share."""

from __future__ import annotations

import functools
import os
from typing import Any

REPLICAS = int(os.environ.get("REPLICAS", 2))  # 4 in `make test-slow`


@functools.cache
def mirrored() -> Any:
    """The one `MirroredStrategy` of this process.

    TensorFlow numbers the collectives of each strategy anew, so that those of a second strategy would be
    taken for the first's. Tests therefore import this function from here and from nowhere else.
    """
    import tensorflow as tf

    return tf.distribute.MirroredStrategy([f"CPU:{number}" for number in range(REPLICAS)])
