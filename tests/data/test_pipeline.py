"""Batches of views: shapes, order, permutation, limits."""

import numpy as np
import pytest
import tensorflow as tf

import keras_leoclr as kl
from tests.case import random_images


def views(size=8, **options):
    return kl.LeOCLRViews(size, crop_scale=(0.3, 1.0), jit_compile=False, **options)


def as_numpy(dataset):
    return list(dataset.as_numpy_iterator())


def number(image):
    """Images of `numbered` carry their number as pixel value."""
    return int(np.asarray(image).reshape(-1)[0])


def numbered(count):
    images = np.broadcast_to(np.arange(count, dtype="uint8")[:, None, None, None], (count, 4, 4, 3))
    return kl.data.load({"image": images})


def first_pixel(images, seed):
    del seed
    return {"query": images, "keys": images[:, None]}


# === Pipeline ===


@pytest.mark.backend_free
def test_batches_have_the_documented_shapes():
    batch = next(iter(kl.data.view_dataset(numbered(10), views(num_crops=3), 4)))
    assert batch["query"].shape == (4, 8, 8, 3)
    assert batch["keys"].shape == (4, 3, 8, 8, 3)


@pytest.mark.backend_free
def test_an_epoch_holds_every_image_once_in_an_order_of_its_own():
    dataset = kl.data.view_dataset(numbered(12), first_pixel, 4)
    epochs = [[number(i) for batch in as_numpy(dataset) for i in batch["query"]] for _ in range(3)]
    assert all(sorted(epoch) == list(range(12)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]
    assert list(range(12)) not in epochs


@pytest.mark.backend_free
def test_a_smaller_last_batch_is_dropped():
    dataset = kl.data.view_dataset(numbered(10), first_pixel, 4)
    assert int(dataset.cardinality()) == 2
    assert len(as_numpy(dataset)) == 2


def epochs_of(count=3, **options):
    options = {"batch_size": 4, "seed": 5, **options}
    dataset = kl.data.view_dataset(numbered(12), views(), **options)
    return [as_numpy(dataset) for _ in range(count)]


def equal(first, second):
    return all(
        np.array_equal(a[name], b[name]) for a, b in zip(first, second, strict=True) for name in first[0]
    )


@pytest.mark.backend_free
def test_views_depend_on_seed_epoch_and_batch_alone():
    one = epochs_of(parallel_batches=1, prefetch=1)
    tf.random.set_seed(123)  # must not matter
    many = epochs_of(parallel_batches=4, prefetch=3)
    assert all(equal(a, b) for a, b in zip(one, many, strict=True))
    assert not equal(one[0], one[1])
    assert not equal(one[0], epochs_of(seed=6)[0])


@pytest.mark.backend_free
def test_a_run_can_start_at_any_epoch():
    assert equal(epochs_of(3)[2], epochs_of(1, initial_epoch=2)[0])


def test_fit_sees_epochs_in_order_from_the_first():
    from tests.case import small_model

    dataset = kl.data.view_dataset(numbered(16), views(), 8)
    small_model().fit(dataset, epochs=2, verbose=0, shuffle=False)
    assert int(dataset.passes) == 1  # epochs 0 and 1: no batch was taken to look at


@pytest.mark.backend_free
def test_permuted_keys_belong_to_the_queries_that_the_permutation_names():
    dataset = kl.data.view_dataset(numbered(12), first_pixel, 6, permute_keys=True)
    seen = []
    for batch in as_numpy(dataset):
        queries = [number(i) for i in batch["query"]]
        keys = [number(i) for i in batch["keys"]]
        assert keys == [queries[row] for row in batch["permutation"]]
        assert sorted(batch["permutation"]) == list(range(6))
        seen.append(batch["permutation"].tolist())
    assert seen[0] != seen[1]


@pytest.mark.backend_free
def test_pipeline_holds_only_a_few_batches():
    made = []

    def count(images, seed):
        tf.py_function(lambda: made.append(1), [], [])
        return first_pixel(images, seed)

    iterator = iter(kl.data.view_dataset(numbered(200), count, 2, parallel_batches=2, prefetch=2))
    taken = 0
    for _ in range(5):
        next(iterator)
        taken += 1
    import time

    time.sleep(0.5)  # let it run ahead as far as it will
    # consumed, finished and waiting, and in the making
    assert len(made) <= taken + 2 + 2 + 1


@pytest.mark.backend_free
def test_a_stream_of_unknown_length_needs_a_buffer():
    stream = numbered(20).filter(lambda element: True)
    with pytest.raises(ValueError, match="`shuffle_buffer` must be given for a source of unknown size"):
        kl.data.view_dataset(stream, first_pixel, 4)
    assert len(as_numpy(kl.data.view_dataset(stream, first_pixel, 4, shuffle_buffer=8))) == 5


@pytest.mark.backend_free
def test_batch_larger_than_the_dataset_is_refused():
    with pytest.raises(ValueError, match=r"`batch_size` must not be larger.*batch_size=11, a dataset of 10"):
        kl.data.view_dataset(numbered(10), views(), 11)
    with pytest.raises(ValueError, match=r"`batch_size` must be a whole number >= 1. Received: batch_size=0"):
        kl.data.view_dataset(numbered(10), views(), 0)


@pytest.mark.backend_free
def test_image_batches_are_resized_and_normalised():
    source = kl.data.load({"image": random_images(5, 8, 8), "label": np.arange(5)})
    layer = views(8, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    images, labels = zip(*as_numpy(kl.data.image_batches(source, layer, 2)), strict=True)
    assert [len(i) for i in images] == [2, 2, 1]
    np.testing.assert_allclose(np.concatenate(images), random_images(5, 8, 8) / 255.0, atol=1e-6)
    np.testing.assert_array_equal(np.concatenate(labels), np.arange(5))


@pytest.mark.slow
@pytest.mark.backend_free
def test_memory_does_not_grow_from_epoch_to_epoch():
    """Each pass is traced and compiled anew, which costs some MiB at first; its views are let go."""
    import gc
    import resource

    def peak_after(passes):
        for _ in range(passes):
            for _ in dataset:
                pass
        gc.collect()
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # MiB on Linux

    images = np.random.default_rng(0).integers(0, 256, (4096, 32, 32, 3), dtype=np.uint8)
    dataset = kl.data.view_dataset(kl.data.load({"image": images}), kl.LeOCLRViews(32), 256)
    before = peak_after(4)
    views_of_one_pass = 4096 * 3 * 32 * 32 * 3 * 4 / 2**20
    assert peak_after(8) - before < 3 * views_of_one_pass  # keeping every view would take 8 times as much
