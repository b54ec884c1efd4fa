"""`model.fit` for a training that starts in the middle, from a checkpoint."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import keras


class Position(NamedTuple):
    """A position in the training: epochs 0 to `epoch` - 1 and `batch` steps of epoch `epoch` are done."""

    epoch: int
    batch: int


def fit(
    model: keras.Model,
    dataset_at: Callable[[int, int], Any],
    epochs: int,
    start: Position,
    steps: int | None,
    callbacks: Iterable[keras.callbacks.Callback],
    verbose: int,
    distribute: Callable[[Any], Any],
) -> keras.callbacks.History:
    """Trains from a position to the end of the training.

    This may take several calls of `model.fit`, but callbacks see a single training: `on_train_begin` and
    `on_train_end` are called once, and batches are counted from the beginning of their epoch. Their `params`
    hold `start` beside the entries of Keras.

    Args:
        model: a compiled model whose variables have their values at the position.
        dataset_at: function `(epoch, batch) -> data` from there on, see `callbacks.Checkpoint.fit`.
        epochs: >= 1, number of epochs of the whole training.
        start: position at which the training continues.
        steps: number of batches of an epoch. It is needed if the training continues within an epoch, because
            the data of the rest of an epoch do not tell it.
        callbacks: callbacks, in the order in which they are called.
        verbose: 0 for no output, 1 for a progress bar, 2 for one line per epoch.
        distribute: function that is applied to each dataset before `model.fit`.

    Returns:
        The history of the epochs that were trained by this call.
    """
    dataset = ()
    if start.epoch < epochs:  # A training that is complete needs no data, and there may be none.
        dataset = dataset_at(*start)
        steps = steps if start.batch else number_of_batches(dataset)
        if steps is None or steps < 0:
            raise ValueError(
                "`dataset_at` must make data of a known number of batches. Received: an unknown number"
            )
        if not steps:
            raise ValueError(
                f"`dataset_at` must make data of at least one batch. Received: none for epoch {start.epoch}"
            )
    listed = _Callbacks(
        [*callbacks],
        add_history=True,
        add_progbar=verbose != 0,
        model=model,
        verbose=verbose,
        epochs=epochs,
        steps=steps,
        start=start,
    )
    parts = _passes_of_one if is_tf_data(dataset) else _one_for_each_epoch
    listed.begin()
    for first, end, data in parts(dataset, dataset_at, start, epochs, steps):
        listed.offset = start.batch if first == start.epoch else 0
        model.fit(
            distribute(data),
            initial_epoch=first,
            epochs=end,
            shuffle=False,
            verbose=verbose,
            callbacks=listed,
        )
        if model.stop_training:
            break
    listed.end()
    return model.history


def is_tf_data(dataset: Any) -> bool:
    """Whether an object is a `tf.data.Dataset`; this does not import TensorFlow."""
    tensorflow = sys.modules.get("tensorflow")
    return tensorflow is not None and isinstance(dataset, tensorflow.data.Dataset)


def number_of_batches(dataset: Any) -> int | None:
    """Number of batches of one pass over a dataset; None or a negative number if it is unknown."""
    if is_tf_data(dataset):
        return int(dataset.cardinality())
    if isinstance(dataset, keras.utils.PyDataset):
        return dataset.num_batches
    return len(dataset) if hasattr(dataset, "__len__") else None


def _passes_of_one(dataset, _, start, epochs, steps) -> Iterator[tuple[int, int, Any]]:
    """Yields the first epoch, the epoch after the last one, and the data for each call of `model.fit`.

    Keras assumes that all epochs of a call have as many steps as the first one. A training that continues
    within an epoch therefore needs two calls: one for the rest of that epoch, one for the later epochs. Both
    use the same dataset, which counts its passes and so knows which epoch it is in.
    """
    import tensorflow as tf

    def known(count):
        return dataset.apply(tf.data.experimental.assert_cardinality(count))

    first = start.epoch
    if start.batch and first < epochs:
        yield first, first + 1, known(steps - start.batch)
        first += 1
    if first < epochs:
        yield first, epochs, known(steps)


def _one_for_each_epoch(dataset, dataset_at, start, epochs, steps) -> Iterator[tuple[int, int, Any]]:
    for epoch in range(start.epoch, epochs):
        batch = start.batch if epoch == start.epoch else 0
        data = dataset if epoch == start.epoch else dataset_at(epoch, 0)
        if number_of_batches(data) != steps - batch:
            raise ValueError(
                f"`dataset_at({epoch}, {batch})` must make data of {steps - batch} batches, the rest of an "
                f"epoch of {steps}. Received: {number_of_batches(data)} batches"
            )
        yield epoch, epoch + 1, data if isinstance(data, keras.utils.PyDataset) else _Batches(data)


class _Batches(keras.utils.PyDataset):
    """Batches of an iterable with a length, in order.

    `fit` cannot be given the iterable itself: Keras takes a list of batches for a list of arrays, and of a
    generator the first batch is lost on JAX, where Keras uses it up to build the model.
    """

    def __init__(self, batches: Iterable):
        super().__init__()
        self.batches = batches

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> Any:
        if index == 0:
            self._iterator = iter(self.batches)
        return next(self._iterator)


class _Callbacks(keras.callbacks.CallbackList):
    """Callbacks for several calls of `model.fit` that are one training.

    The training begins and ends once, and `offset` is added to the number of each batch.
    """

    offset = 0

    def begin(self):
        super().on_train_begin()

    def end(self):
        super().on_train_end()

    def on_train_begin(self, logs=None):
        pass

    def on_train_end(self, logs=None):
        pass

    def on_train_batch_begin(self, batch, logs=None):
        super().on_train_batch_begin(batch + self.offset, logs)

    def on_train_batch_end(self, batch, logs=None):
        super().on_train_batch_end(batch + self.offset, logs)
