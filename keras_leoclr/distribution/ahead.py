"""The next batch on its way to the device while a step runs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import keras

from keras_leoclr.distribution.groups import data_axis


def ahead(dataset: Any) -> Any:
    """A dataset whose batches are put onto the device one ahead, as `fit` takes it.

    - TensorFlow, one GPU: `prefetch_to_device`; a `tf.distribute` strategy does it by itself.
    - torch: through pinned memory, on a stream of its own.
    - JAX: by `device_put`, which returns at once; divided among the devices where they share a batch.

    On CPUs the dataset is returned as it is: there is nothing to put. So is one of several processes.

    Args:
        dataset: a `tf.data.Dataset` of a known number of batches or a `keras.utils.PyDataset`; others are
            returned.
    """
    backend = keras.backend.backend()
    if backend == "tensorflow":
        return _on_one_tensorflow_gpu(dataset)
    if number_of_batches(dataset) is None:
        return dataset
    put = {"torch": _put_on_torch, "jax": _put_on_jax}[backend]()
    return dataset if put is None else BatchesAhead(dataset, put)


def one_ahead(batches: Iterable, put: Callable[[Any], Callable[[], Any]]) -> Iterator[Any]:
    """The batches in order; the next one is put on its way before one is given out.

    Args:
        batches: any number of them.
        put: begins to put a batch onto the device; what it returns gives the batch when it is needed.
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
    """Batches of a dataset in their order, each pass from its beginning, one ahead on the device.

    Args:
        dataset: a `tf.data.Dataset` or a `keras.utils.PyDataset`.
        put: see `one_ahead`.
    """

    def __init__(self, dataset: Any, put: Callable[[Any], Callable[[], Any]]):
        super().__init__()
        self.dataset, self.put = dataset, put
        self._count = number_of_batches(dataset)

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> Any:
        if index == 0:  # a new pass
            self._batches = one_ahead(self._pass(), self.put)
        return next(self._batches)

    def on_epoch_begin(self) -> None:
        if isinstance(self.dataset, keras.utils.PyDataset):
            self.dataset.on_epoch_begin()

    def on_epoch_end(self) -> None:
        self._batches = iter(())  # frees a batch that nobody asked for
        if isinstance(self.dataset, keras.utils.PyDataset):
            self.dataset.on_epoch_end()

    def _pass(self):
        if isinstance(self.dataset, keras.utils.PyDataset):
            yield from (self.dataset[index] for index in range(self._count))
            return
        for batch in self.dataset:
            parts = batch if isinstance(batch, tuple) else (batch, None)
            yield keras.tree.map_structure(lambda part: part.numpy(), parts, none_is_leaf=False)


def number_of_batches(dataset: Any) -> int | None:
    """Number of batches of a `tf.data.Dataset` or a `PyDataset`; None of others, or where it is not known."""
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
    """The dataset with its next batch on a device; nothing of tf.data may follow.

    Args:
        dataset: a `tf.data.Dataset`.
        device: name of the device.
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
            # memory of one stream is not given to others before the step has read it
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
    """Begins to put a batch onto JAX's device, or its parts onto the devices that share it."""
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
