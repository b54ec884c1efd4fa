"""Measures how long a model waits for its data."""

from __future__ import annotations

import time

from keras_leoclr.tensorflow_host import tf, untuned


class Waiting:
    """Measures, within `tf.data`, the time between asking for a batch and getting it.

    This cannot be measured from outside: under TensorFlow and JAX, Keras takes the batch within the call that
    also runs the step.

    Example:
        ```python
        waiting = Waiting()
        model.fit(waiting.watch(dataset), ...)
        print(waiting.seconds())
        ```
    """

    def __init__(self):
        self._seconds = 0.0

    def seconds(self) -> float:
        """The total time waited so far, over all passes, in seconds."""
        return self._seconds

    def watch(self, dataset: tf.data.Dataset) -> tf.data.Dataset:
        """Returns a data set of the same batches whose waiting time is measured."""

        def now():
            # tf.timestamp can be set back, and it is refused if operations must be deterministic.
            return tf.numpy_function(time.monotonic, [], tf.float64)

        def add(asked, arrived):
            self._seconds += float(arrived - asked)
            return arrived

        def arrived(asked, batch):
            added = tf.numpy_function(add, [asked, now()], tf.float64)
            with tf.control_dependencies([added]):
                return tf.nest.map_structure(tf.identity, batch)

        # zip evaluates its parts in order: first the time of the request, then the batch.
        asked = tf.data.Dataset.range(tf.int64.max).map(lambda _: now())
        watched = tf.data.Dataset.zip((asked, dataset)).map(arrived)
        options = tf.data.Options()
        options.experimental_optimization.inject_prefetch = False  # A buffer would hide the waiting time.
        watched = untuned(watched.with_options(options))
        watched.watched = dataset  # This keeps objects alive that the data set refers to.
        return watched
