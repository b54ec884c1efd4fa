"""Prefetching: the next batch is copied to the device while a training step runs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import keras

from keras_leoclr.distribution.groups import data_axis


def ahead(dataset: Any) -> Any:
    """Returns a dataset for `fit` that copies each batch to the device one step before it is needed.

    - TensorFlow on one GPU uses `prefetch_to_device`; a `tf.distribute` strategy prefetches by itself.
    - torch copies through pinned memory, on a CUDA stream of its own.
    - JAX uses `device_put`, which returns before the copy has ended. Where several devices share a batch,
      each of them gets its part.

    On CPUs nothing has to be copied, so the dataset is returned unchanged. It is returned unchanged too where
    several JAX processes train together.

    Args:
        dataset: a `tf.data.Dataset` with a known number of batches, or a `keras.utils.PyDataset`. Other
            datasets are returned unchanged.
    """
    backend = keras.backend.backend()
    if backend == "tensorflow":
        return _on_one_tensorflow_gpu(dataset)
    if number_of_batches(dataset) is None:
        return dataset
    put = {"torch": _put_on_torch, "jax": _put_on_jax}[backend]()
    return dataset if put is None else BatchesAhead(dataset, put)


def one_ahead(batches: Iterable, put: Callable[[Any], Callable[[], Any]]) -> Iterator[Any]:
    """Yields the batches in order, and starts copying the next batch before it yields one.

    Args:
        batches: the batches; any number of them.
        put: function that starts copying a batch to the device. It returns a function without arguments,
            which gives the copied batch when it is needed.
    """
    waiting = None
    for batch in batches:
        following = put(batch)
        if waiting is not None:
            yield waiting()
        waiting = following
    if waiting is not None:
        yield waiting()


class BatchesAhead(keras.utils.PyDataset):
    """The batches of a dataset in order, each copied to the device one step before it is needed.

    The batches come in the order of the dataset, in whatever order Keras asks for their numbers: it shuffles
    these by default. A pass goes on over several epochs if `fit` has `steps_per_epoch`. The first batch is
    given out again if Keras asks for its number again, because it takes one batch in advance to build
    metrics. The pass starts anew if Keras has asked for 0, 1, ... and asks for 0 again, as after an
    interrupted `fit`.

    Args:
        dataset: a `tf.data.Dataset` or a `keras.utils.PyDataset` with a known number of batches.
        put: function that starts copying a batch, see `one_ahead`.
    """

    def __init__(self, dataset: Any, put: Callable[[Any], Callable[[], Any]]):
        super().__init__()
        self.dataset, self.put = dataset, put
        self._count = number_of_batches(dataset)
        self._batches: Iterator[Any] | None = None  # those of the pass that is not complete yet
        self._asked: list[int] = []  # the numbers that Keras has asked for in this pass
        self._first: Any = None  # the first batch of the pass, on the host

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> Any:
        asked = self._asked
        if asked and index == asked[0]:
            if len(asked) == 1 or asked != [*range(len(asked))]:
                return self.put(self._first)()
            self._batches = None
        if self._batches is None:
            self._batches, self._asked = one_ahead(self._pass(), self.put), []
        batch = next(self._batches)
        self._asked.append(index)
        if len(self._asked) == self._count:
            self._batches, self._asked, self._first = None, [], None
        return batch

    def on_epoch_begin(self) -> None:
        if isinstance(self.dataset, keras.utils.PyDataset):
            self.dataset.on_epoch_begin()

    def on_epoch_end(self) -> None:
        if isinstance(self.dataset, keras.utils.PyDataset):
            self.dataset.on_epoch_end()

    def _pass(self):
        for number, batch in enumerate(self._on_host()):
            self._first = self._first if number else batch
            yield batch

    def _on_host(self):
        if isinstance(self.dataset, keras.utils.PyDataset):
            yield from (self.dataset[index] for index in range(self._count))
            return
        for batch in self.dataset:
            parts = batch if isinstance(batch, tuple) else (batch, None)
            yield keras.tree.map_structure(lambda part: part.numpy(), parts, none_is_leaf=False)


def number_of_batches(dataset: Any) -> int | None:
    """Number of batches of a `tf.data.Dataset` or a `PyDataset`; None if unknown, or for other objects."""
    tensorflow = sys.modules.get("tensorflow")
    if isinstance(dataset, keras.utils.PyDataset):
        return dataset.num_batches
    if tensorflow is None or not isinstance(dataset, tensorflow.data.Dataset):
        return None
    count = int(dataset.cardinality())
    return None if count < 0 else count


def _on_one_tensorflow_gpu(dataset):
    import tensorflow as tf

    gpus = tf.config.list_logical_devices("GPU")
    if not gpus or tf.distribute.has_strategy() or not isinstance(dataset, tf.data.Dataset):
        return dataset
    return on_tensorflow_device(dataset, gpus[0].name)


def on_tensorflow_device(dataset: Any, device: str) -> Any:
    """Returns the dataset with its next batch prefetched to a device.

    This must be the last operation of tf.data in the pipeline: TensorFlow does not allow others after it.

    Args:
        dataset: a `tf.data.Dataset`.
        device: name of the device, such as "/device:GPU:0".
    """
    import tensorflow as tf

    count = dataset.cardinality()
    made = dataset.apply(tf.data.experimental.prefetch_to_device(device, buffer_size=1))
    made.cardinality = lambda: count  # `fit` asks for it, and the copy has forgotten it
    return made


def _put_on_torch():
    import torch

    if not torch.cuda.is_available():
        return None
    copying = torch.cuda.Stream()

    def put(batch):
        with torch.cuda.stream(copying):
            tensors = _each(
                batch, lambda part: torch.as_tensor(part).pin_memory().to("cuda", non_blocking=True)
            )
            copied = copying.record_event()

        def ready():
            current = torch.cuda.current_stream()
            current.wait_event(copied)
            # Tells torch that the current stream reads this memory, which belongs to the copying stream.
            # Otherwise torch could use the memory for the next copy before the step has read it.
            _each(tensors, lambda part: part.record_stream(current))
            return tensors

        return ready

    return put


def _put_on_jax():
    import jax

    if jax.devices()[0].platform == "cpu" or jax.process_count() > 1:
        return None
    return put_by_jax


def put_by_jax(batch: Any) -> Callable[[], Any]:
    """Starts copying a batch to JAX's device, or its parts to the devices that share a batch."""
    import jax

    divided = None
    if data_axis() is not None:
        mesh, axis = data_axis()
        divided = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(axis))
    made = _each(batch, lambda part: jax.device_put(part, divided))
    return lambda: made


def _each(batch, function):
    return keras.tree.map_structure(
        lambda part: None if part is None else function(part), batch, none_is_leaf=False
    )
