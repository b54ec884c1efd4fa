"""Sources and the pipeline of views."""

import pathlib

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

import keras_leoclr as kl
from tests.case import random_images

BUNDLED = pathlib.Path(kl.data.__file__).parent / "fashion_mnist"


def views(size=8, **options):
    return kl.LeOCLRViews(size, crop_scale=(0.3, 1.0), **options)


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


# === Sources ===


@pytest.mark.parametrize(("split", "per_class"), [("train", 1000), ("test", 200)])
def test_bundled_set_is_whole_and_balanced(split, per_class):
    elements = as_numpy(kl.data.load("fashion_mnist", split).batch(100_000))[0]
    assert elements["image"].shape == (10 * per_class, 28, 28, 1)
    assert elements["image"].dtype == np.uint8
    assert np.bincount(elements["label"]).tolist() == [per_class] * 10


def test_bundled_set_is_small_licensed_and_documented():
    assert sum(path.stat().st_size for path in BUNDLED.glob("*.npz")) <= 6e6
    assert "MIT" in (BUNDLED / "LICENSE").read_text()
    assert "github.com/zalandoresearch/fashion-mnist" in (BUNDLED / "README.md").read_text()
    assert (BUNDLED / "pack.py").is_file()


def test_packing_script_keeps_the_first_images_of_each_class(tmp_path):
    import gzip

    from keras_leoclr.data.fashion_mnist import pack

    labels = np.array([1, 0, 1, 1, 0, 0], np.uint8)
    path = tmp_path / "labels.gz"
    path.write_bytes(gzip.compress(bytes([0, 0, 8, 1, 0, 0, 0, 6]) + labels.tobytes()))
    np.testing.assert_array_equal(pack.read_idx(path), labels)
    np.testing.assert_array_equal(pack.first_of_each_class(labels, 2), [0, 1, 2, 4])


def test_npz_with_splits(tmp_path):
    np.savez(
        tmp_path / "own.npz",
        train_image=random_images(5),
        train_label=np.arange(5),
        test_image=random_images(3, channels=1),
    )
    train = as_numpy(kl.data.load(tmp_path / "own.npz", "train"))
    assert [int(e["label"]) for e in train] == [0, 1, 2, 3, 4]
    np.testing.assert_array_equal(train[2]["image"], random_images(5)[2])
    test = as_numpy(kl.data.load(tmp_path / "own.npz", "test"))
    assert len(test) == 3 and set(test[0]) == {"image"}


def test_tfds_builder_is_read():
    with tfds.testing.mock_data(num_examples=6):
        elements = as_numpy(kl.data.load("tfds:cifar10", "train"))
    assert len(elements) == 6
    assert elements[0]["image"].shape == (32, 32, 3) and set(elements[0]) == {"image", "label"}


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"pictures": random_images()}, r"must hold an array `image` or `train_image`. Received: \['pict"),
        ({"image": random_images()[0]}, r"must be \(N, H, W, C\) with C 1 or 3. Received: image.shape="),
        ({"image": random_images(channels=2)}, r"must be \(N, H, W, C\) with C 1 or 3"),
        ({"image": random_images().astype("int32")}, "must be uint8 or float. Received: image.dtype=int32"),
        ({"image": random_images(), "label": np.arange(3)}, r"must be \(4,\), as many as images"),
    ],
)
def test_arrays_that_are_no_images_are_refused(arrays, words):
    with pytest.raises(ValueError, match=words):
        kl.data.load(arrays)


def test_npz_with_a_pickle_is_not_run(tmp_path):
    np.savez(tmp_path / "bad.npz", image=np.array([{"code": 1}], dtype=object))
    with pytest.raises(ValueError, match="allow_pickle=False"):
        kl.data.load(tmp_path / "bad.npz")


def test_unknown_names_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"`name_or_path` must be one of.*Received: 'imagenot'"):
        kl.data.load("imagenot")
    with pytest.raises(FileNotFoundError, match=r"no such file. Received: .*none\.npz"):
        kl.data.load(tmp_path / "none.npz")
    with pytest.raises(ValueError, match=r'`split` of "fashion_mnist" must be .*split=.val'):
        kl.data.load("fashion_mnist", "val")


# === Pipeline ===


def test_batches_have_the_documented_shapes():
    batch = next(iter(kl.data.view_dataset(numbered(10), views(num_crops=3), 4)))
    assert batch["query"].shape == (4, 8, 8, 3)
    assert batch["keys"].shape == (4, 3, 8, 8, 3)


def test_an_epoch_holds_every_image_once_in_an_order_of_its_own():
    dataset = kl.data.view_dataset(numbered(12), first_pixel, 4)
    epochs = [[number(i) for batch in as_numpy(dataset) for i in batch["query"]] for _ in range(3)]
    assert all(sorted(epoch) == list(range(12)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]
    assert list(range(12)) not in epochs


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


def test_views_depend_on_seed_epoch_and_batch_alone():
    one = epochs_of(parallel_batches=1, prefetch=1)
    tf.random.set_seed(123)  # must not matter
    many = epochs_of(parallel_batches=4, prefetch=3)
    assert all(equal(a, b) for a, b in zip(one, many, strict=True))
    assert not equal(one[0], one[1])
    assert not equal(one[0], epochs_of(seed=6)[0])


def test_a_run_can_start_at_any_epoch():
    assert equal(epochs_of(3)[2], epochs_of(1, initial_epoch=2)[0])


def test_fit_sees_epochs_in_order_from_the_first():
    from tests.case import small_model

    dataset = kl.data.view_dataset(numbered(16), views(), 8)
    small_model().fit(dataset, epochs=2, verbose=0, shuffle=False)
    assert int(dataset.passes) == 1  # epochs 0 and 1: no batch was taken to look at


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


def test_a_stream_of_unknown_length_needs_a_buffer():
    stream = numbered(20).filter(lambda element: True)
    with pytest.raises(ValueError, match="`shuffle_buffer` must be given for a source of unknown size"):
        kl.data.view_dataset(stream, first_pixel, 4)
    assert len(as_numpy(kl.data.view_dataset(stream, first_pixel, 4, shuffle_buffer=8))) == 5


def test_batch_larger_than_the_dataset_is_refused():
    with pytest.raises(ValueError, match=r"`batch_size` must not be larger.*batch_size=11, a dataset of 10"):
        kl.data.view_dataset(numbered(10), views(), 11)
    with pytest.raises(ValueError, match=r"`batch_size` must be a whole number >= 1. Received: batch_size=0"):
        kl.data.view_dataset(numbered(10), views(), 0)


def test_image_batches_are_resized_and_normalised():
    source = kl.data.load({"image": random_images(5, 8, 8), "label": np.arange(5)})
    layer = views(8, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    images, labels = zip(*as_numpy(kl.data.image_batches(source, layer, 2)), strict=True)
    assert [len(i) for i in images] == [2, 2, 1]
    np.testing.assert_allclose(np.concatenate(images), random_images(5, 8, 8) / 255.0, atol=1e-6)
    np.testing.assert_array_equal(np.concatenate(labels), np.arange(5))


@pytest.mark.slow
def test_memory_does_not_grow_from_epoch_to_epoch():
    import gc
    import resource

    from tests.case import small_model

    def peak():
        gc.collect()
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # MiB on Linux

    images = np.random.default_rng(0).integers(0, 256, (512, 32, 32, 3), dtype=np.uint8)
    layer = kl.LeOCLRViews(16)
    dataset = kl.data.view_dataset(kl.data.load({"image": images}), layer, 64)
    model = small_model(size=16)
    model.fit(dataset, epochs=3, verbose=0, shuffle=False)
    before = peak()
    model.fit(dataset, epochs=12, verbose=0, shuffle=False)
    views_of_one_epoch = 512 * 3 * 16 * 16 * 3 * 4 / 2**20
    assert peak() - before < 4 * views_of_one_epoch  # keeping every view would take 12 times as much
