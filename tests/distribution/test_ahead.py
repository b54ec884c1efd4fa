"""Batches that are put onto the device one ahead are the same ones, in the same order."""

import contextlib

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_leoclr as kl
from keras_leoclr.callbacks import Checkpoint
from keras_leoclr.distribution import ahead
from tests.case import StopAfter, Stopped, batched, random_views, small_model, to_numpy

BACKEND = keras.backend.backend()


def put(batch):
    """As on a device, on each backend."""
    if BACKEND == "jax":
        return ahead.put_by_jax(batch)
    made = keras.tree.map_structure(
        lambda part: None if part is None else keras.ops.convert_to_tensor(part), batch, none_is_leaf=False
    )
    return lambda: made


def fed(dataset):
    """The dataset as if there was a GPU."""
    if BACKEND == "tensorflow":
        return ahead.on_tensorflow_device(dataset, "CPU:1")
    return ahead.BatchesAhead(dataset, put)


def test_one_is_put_before_one_is_given_out():
    seen = []

    def noted(batch):
        seen.append(("put", batch))
        return lambda: seen.append(("given", batch)) or batch

    assert list(ahead.one_ahead(iter(range(3)), noted)) == [0, 1, 2]
    assert seen == [("put", 0), ("put", 1), ("given", 0), ("put", 2), ("given", 1), ("given", 2)]
    assert list(ahead.one_ahead(iter(()), noted)) == []


def test_training_and_an_interrupted_run_see_every_batch(tmp_path):
    """The dataset counts its passes: a batch that is lost, or read twice, changes the weights."""
    images = np.random.default_rng(0).integers(0, 256, (24, 12, 12, 3), dtype=np.uint8)
    views = kl.LeOCLRViews(8, jit_compile=False)

    def data(epoch, batch):
        options = {"initial_epoch": epoch, "initial_batch": batch, "permute_keys": True}
        return kl.data.view_dataset(tf.data.Dataset.from_tensor_slices(images), views, 8, **options)

    def trained(name, hooks, distribute):
        keras.utils.set_random_seed(0)
        model = small_model()
        checkpoint = Checkpoint(tmp_path / name, minutes=0, budget=1)
        with contextlib.suppress(Stopped):
            checkpoint.fit(model, data, 3, hooks, verbose=0, distribute=distribute)
        return [to_numpy(variable) for variable in model.variables]

    plain = trained("plain", [], lambda dataset: dataset)
    whole = trained("whole", [], fed)
    trained("stopped", [StopAfter(4)], fed)
    resumed = trained("stopped", [], fed)
    for one, two, three in zip(plain, whole, resumed, strict=True):
        np.testing.assert_allclose(one, two, atol=1e-6)
        np.testing.assert_array_equal(two, three)


class Numbers(keras.utils.PyDataset):
    def __len__(self):
        return 3

    def __getitem__(self, index):
        return index


@pytest.mark.backend_free
@pytest.mark.parametrize(
    ("asked", "given"),
    [
        ([0, 1, 2, 0, 1, 2], [0, 1, 2, 0, 1, 2]),
        ([2, 0, 1, 1, 2, 0], [0, 1, 2, 0, 1, 2]),  # shuffled by Keras
        ([0, 2, 1, 0], [0, 1, 2, 0]),
        ([0, 1, 0, 1, 2], [0, 1, 0, 1, 2]),  # the first pass was interrupted
        ([0, 0, 1, 2, 0], [0, 0, 1, 2, 0]),  # one batch to build metrics
        ([1, 2, 1, 0, 2], [0, 1, 0, 2, 0]),
    ],
)
def test_batches_come_in_their_order_whatever_keras_asks_for(asked, given):
    batches = ahead.BatchesAhead(Numbers(), lambda batch: lambda: batch)
    assert [batches[index] for index in asked] == given


@pytest.mark.skipif(BACKEND == "tensorflow", reason="TensorFlow has a prefetch of its own")
@pytest.mark.parametrize("options", [{}, {"shuffle": False}, {"shuffle": False, "steps_per_epoch": 2}])
def test_fit_takes_every_batch_once_in_order(options):
    """By default Keras shuffles the numbers of batches; with `steps_per_epoch` a pass has several epochs."""
    images = np.random.default_rng(0).integers(0, 256, (12, 8, 8, 3), dtype=np.uint8)
    batches = kl.data.array_batches(images, kl.LeOCLRViews(8, jit_compile=False), 4, prefetch=0)
    made, make = [], batches.batch
    batches.batch = lambda *place: made.append(place) or make(*place)
    given = []
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    model.train_on_batch(np.zeros((4, 2), "float32"), np.zeros((4, 1), "float32"))

    def noted(batch):
        def ready():
            given.append(batch["image"].sum())
            return batch["size"].astype("float32"), np.zeros((4, 1), "float32")

        return ready

    model.fit(ahead.BatchesAhead(batches, noted), epochs=3, verbose=0, **options)
    every = [(epoch, number) for epoch in range(3) for number in range(3)]
    if options.get("steps_per_epoch"):
        every = every[:6]  # of which the last one is only put: Keras ends its second epoch with the data
    assert made == every
    assert given == [make(*place)["image"].sum() for place in every[: 5 if len(every) == 6 else 9]]


def test_on_cpus_a_dataset_is_returned_as_it_is():
    dataset = batched(random_views())
    assert ahead.ahead(dataset) is dataset
    assert kl.distribution.Devices().distribute(dataset, 8) is dataset


def test_a_dataset_on_the_device_keeps_its_number_of_batches():
    dataset = fed(batched(random_views(batches=3)))
    count = dataset.cardinality() if isinstance(dataset, tf.data.Dataset) else len(dataset)
    assert int(count) == 3


@pytest.mark.skipif(BACKEND != "jax", reason="of JAX alone")
def test_a_batch_is_divided_among_the_devices_that_share_it():
    devices = keras.distribution.list_devices("cpu")[:2]
    keras.distribution.set_distribution(keras.distribution.DataParallel(devices=devices))
    try:
        batch, _ = ahead.put_by_jax((random_views(1), None))()
        assert {shard.data.shape[0] for shard in batch["query"].addressable_shards} == {4}
    finally:
        keras.distribution.set_distribution(None)
