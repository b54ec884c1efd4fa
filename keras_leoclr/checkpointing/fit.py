"""`model.fit` that begins in the middle of a training."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import keras


class Position(NamedTuple):
    """Where training goes on: `batch` steps of epoch `epoch` are done, both from 0."""

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
    """Trains from a position to the end, which for callbacks is one training.

    Args:
        model: a compiled model whose numbers are those of the position.
        dataset_at: see `callbacks.Checkpoint.fit`.
        epochs: >= 1, number of epochs of the whole training.
        start: where it goes on.
        steps: number of batches of an epoch; needed within an epoch, where data of the rest do not tell it.
        callbacks: in the order in which they are called.
        verbose: 0 silent, 1 progress bar, 2 one line per epoch.
        distribute: what becomes of a dataset before `model.fit`.

    Returns:
        The history of the epochs that were trained here.
    """
    dataset = dataset_at(*start)
    steps = steps if start.batch else number_of_batches(dataset)
    if steps is None or steps < 0:
        raise ValueError(
            "`dataset_at` must make data of a known number of batches. Received: an unknown number"
        )
    listed = _Callbacks(
        [*callbacks],
        add_history=True,
        add_progbar=verbose != 0,
        model=model,
        verbose=verbose,
        epochs=epochs,
        steps=steps,
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
    """Whether this is a `tf.data.Dataset`; TensorFlow is not imported to find out."""
    tensorflow = sys.modules.get("tensorflow")
    return tensorflow is not None and isinstance(dataset, tensorflow.data.Dataset)


def number_of_batches(dataset: Any) -> int | None:
    """Number of batches of a pass; None or a negative number if it is unknown."""
    if is_tf_data(dataset):
        return int(dataset.cardinality())
    if isinstance(dataset, keras.utils.PyDataset):
        return dataset.num_batches
    return len(dataset) if hasattr(dataset, "__len__") else None


def _passes_of_one(dataset, _, start, epochs, steps) -> Iterator[tuple[int, int, Any]]:
    """First epoch, the one after the last, and data of each call of `fit`.

    Keras takes the number of steps of the first epoch for those of all: within an epoch it takes two calls.
    Both go through one dataset, which counts its passes.
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
    """Batches of a sized iterable, in order. Keras takes a list for arrays, and a generator loses batches
    where JAX looks at the first one to build the model.
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
    """For several calls of `fit` that are one training: it begins and ends once, and batches count on."""

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
