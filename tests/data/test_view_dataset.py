"""Batches of views from sources of every kind: order, restarts, shards, sizes."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import keras_leoclr as kl
from tests.case import random_images, small_model

backend_free = pytest.mark.backend_free


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """23 JPEGs of many sizes, each of one colour of its own and some noise."""
    path = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for number in range(23):
        height, width = rng.integers(20, 60, 2)
        pixels = np.full((height, width, 3), 10 * number, np.uint8) + rng.integers(0, 9, (height, width, 3))
        Image.fromarray(pixels.astype("uint8")).save(path / f"{number:02d}.jpg", quality=95)
    return path


def views_layer(size=16, **options):
    return kl.LeOCLRViews(size, **{"crop_scale": (0.3, 1.0), "jit_compile": False, **options})


def collect(dataset) -> dict[str, np.ndarray]:
    batches = list(dataset.as_numpy_iterator())
    return {name: np.stack([batch[name] for batch in batches]) for name in batches[0]}


def assert_same(actual, expected):
    assert actual.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(actual[name], value)


def encoded_stream(folder):
    """The pictures of a folder as a stream of bytes with an unknown number of elements."""
    files = sorted(str(path) for path in folder.glob("*.jpg"))
    encoded = tf.data.Dataset.from_tensor_slices(files).map(lambda path: {"image": tf.io.read_file(path)})
    return encoded


def sources(folder):
    """The same kind of content as array, folder, and streams of pixels of one and of many sizes."""
    pixels = tf.data.Dataset.from_generator(
        lambda: (random_images(1, 20 + number % 5, 30)[0] for number in range(23)),
        output_signature=tf.TensorSpec((None, None, 3), tf.uint8),
    )
    return {
        "array": kl.data.load({"image": random_images(23, 20, 20)}),
        "large array": kl.data.load({"image": random_images(23, 140, 20)}),
        "folder": kl.data.load(folder, progress=False),
        "stream of one size": tf.data.Dataset.from_tensor_slices(random_images(23, 20, 20)),
        "stream of many sizes": pixels,
    }


KINDS = ("array", "large array", "folder", "stream of one size", "stream of many sizes")
every_source = pytest.mark.parametrize("kind", KINDS)


def made_from(folder, kind, **options):
    source = sources(folder)[kind]
    return kl.data.view_dataset(source, views_layer(), 4, **{"seed": 3, "shuffle_buffer": 23, **options})


@backend_free
@every_source
def test_views_depend_on_seed_epoch_and_batch_alone(folder, kind):
    whole = made_from(folder, kind)
    first, second = collect(whole), collect(whole)
    assert first["query"].shape == (5, 4, 16, 16, 3)
    assert first["keys"].shape == (5, 4, 2, 16, 16, 3)
    assert np.abs(first["query"] - second["query"]).max() > 0.1
    # a restart in the middle, and otherwise many at once
    options = {"parallel_batches": 4, "parallel_images": 8, "prefetch": 4}
    restarted = made_from(folder, kind, initial_epoch=1, initial_batch=3, **options)
    assert_same(collect(restarted), {name: value[3:] for name, value in second.items()})
    assert_same(collect(restarted), collect(whole))


@backend_free
@pytest.mark.parametrize("kind", ["array", "folder"])
def test_permuted_keys_are_restarted_too(folder, kind):
    first = collect(made_from(folder, kind, permute_keys=True))
    plain = collect(made_from(folder, kind))
    for batch in range(5):
        order = np.argsort(first["permutation"][batch])
        np.testing.assert_array_equal(first["keys"][batch][order], plain["keys"][batch])
    restarted = collect(made_from(folder, kind, permute_keys=True, initial_batch=3))
    assert_same(restarted, {name: value[3:] for name, value in first.items()})


@backend_free
@every_source
def test_shards_make_the_batches_of_one_worker_together(folder, kind):
    whole = collect(made_from(folder, kind))
    parts = [collect(made_from(folder, kind, shard=(index, 2))) for index in range(2)]
    for name, value in whole.items():
        together = np.concatenate([part[name] for part in parts], axis=1)
        np.testing.assert_allclose(together, value, atol=1e-5)


@backend_free
@pytest.mark.parametrize("shuffle_buffer", [None, 7])
def test_a_stream_is_shuffled_as_the_same_images_by_number(shuffle_buffer):
    """`map` makes a stream of a source; `take` keeps the numbers. The order is the same in all cases."""
    images = random_images(23, 20, 20)
    whole, more = (kl.data.load({"image": array}) for array in (images, np.concatenate([images, images])))

    def views_of(source):
        return collect(kl.data.view_dataset(source, views_layer(), 4, seed=3, shuffle_buffer=shuffle_buffer))

    expected = views_of(whole)
    for source in (whole.map(lambda element: element), more.take(23), more.skip(23), more.dataset.take(23)):
        assert_same(views_of(source), expected)


@backend_free
def test_an_epoch_shows_every_picture_once(folder):
    """The colour of a picture is its number, and clean originals keep it."""
    views = kl.LeOCLRViews(
        16, original_photometrics=False, flip_probability=0.0, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)
    )
    source = kl.data.load(folder, progress=False)
    shown = []
    dataset = kl.data.view_dataset(source, views, 1, seed=0)
    for _ in range(2):
        colours = collect(dataset)["query"].mean(axis=(1, 2, 3, 4)) * 255
        shown.append(np.round((colours - 4) / 10).astype(int))
    assert sorted(shown[0]) == sorted(shown[1]) == list(range(23))
    assert list(shown[0]) != list(shown[1])


@backend_free
def test_a_folder_of_equal_pictures_gives_the_views_of_an_array(tmp_path):
    """Picture by picture and as a batch: the same but for rounding, where nothing is enlarged; compiled."""
    images = random_images(8, 64, 64)
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{number}.png")
    source = kl.data.load(folder, progress=False)
    in_order = np.stack([element["image"] for element in source.as_numpy_iterator()])
    layer = views_layer(16, jit_compile=True)
    actual, expected = (
        collect(kl.data.view_dataset(kind, layer, 4, seed=1))
        for kind in (source, kl.data.load({"image": in_order}))
    )
    for name in actual:
        np.testing.assert_allclose(actual[name], expected[name], atol=2e-4)


@backend_free
def test_encoded_streams_are_held_as_bytes_and_decoded_late(folder, tmp_path):
    path = tmp_path / "pictures.tfrecord"
    with tf.io.TFRecordWriter(str(path)) as writer:
        for element in encoded_stream(folder).as_numpy_iterator():
            content = tf.train.Feature(bytes_list=tf.train.BytesList(value=[element["image"]]))
            features = tf.train.Features(feature={"image/encoded": content})
            writer.write(tf.train.Example(features=features).SerializeToString())
    source = kl.data.load(path)
    assert source.images is None
    dataset = kl.data.view_dataset(source, views_layer(), 4, seed=3, shuffle_buffer=23)
    first = collect(dataset)
    assert first["query"].shape == (5, 4, 16, 16, 3)
    restarted = kl.data.view_dataset(source, views_layer(), 4, seed=3, shuffle_buffer=23, initial_batch=2)
    assert_same(collect(restarted), {name: value[2:] for name, value in first.items()})


@backend_free
def test_image_batches_take_pictures_of_many_sizes(folder):
    labelled = kl.data.load(folder, progress=False).map(lambda element: {**element, "label": 0})
    images, labels = next(iter(kl.data.image_batches(labelled, views_layer(16), 8)))
    assert images.shape == (8, 16, 16, 3)
    assert labels.shape == (8,)


def test_a_model_trains_on_a_folder(folder):
    dataset = kl.data.view_dataset(kl.data.load(folder, progress=False), views_layer(8), 8)
    history = small_model().fit(dataset, epochs=2, shuffle=False, verbose=0).history
    assert np.isfinite(history["loss"]).all()


@backend_free
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"shard": (2, 2)}, r"`shard` must be \(index, count\).*Received: shard=\(2, 2\), batch_size=4"),
        ({"shard": (0, 3)}, r"count must divide `batch_size`.*Received: shard=\(0, 3\), batch_size=4"),
        ({"initial_batch": -1}, "`initial_batch` must be a whole number >= 0. Received: initial_batch=-1"),
        ({"initial_batch": 9}, "`initial_batch` must be smaller than.*initial_batch=9, 5 batches"),
        ({"initial_batch": 5}, "`initial_batch` must be smaller than.*initial_batch=5, 5 batches"),
        ({"shard": 2}, r"`shard` must be \(index, count\).*Received: shard=2, batch_size=4"),
        ({"shard": (0, 2.0)}, r"`shard` must be \(index, count\).*Received: shard=\(0, 2.0\), batch_size=4"),
        *(
            ({name: value}, f"`{name}` must be a whole number >= {low}. Received: {name}={value}")
            for name, low, values in (
                ("shuffle_buffer", 1, (0, -3, False)),
                ("parallel_images", 1, (0, -2)),
                ("parallel_batches", 1, (0,)),
                ("prefetch", 0, (-3,)),
            )
            for value in values
        ),
        *(
            ({"seed": value}, f"`seed` must be a whole number of 64 bits. Received: seed={value!r}")
            for value in (1.5, None, "a", 2**70)
        ),
    ],
)
def test_bad_options_are_refused(folder, options, words):
    with pytest.raises(ValueError, match=words):
        made_from(folder, "array", **options)


@backend_free
def test_bad_sizes_of_batches_for_evaluation_are_refused():
    for size in (0, -1, 2.5):
        with pytest.raises(ValueError, match=f"`batch_size` must be a whole number >= 1.*batch_size={size}"):
            kl.data.image_batches(kl.data.load({"image": random_images(4)}), views_layer(), size)


@backend_free
@pytest.mark.parametrize("method", [kl.LeOCLRViews, kl.CropToOriginalViews, kl.MoCoV2Views])
def test_large_jpegs_are_decoded_at_the_size_that_crops_need(tmp_path, monkeypatch, method):
    """Whether the crop is the key or the query."""
    Image.fromarray(random_images(1, 320, 240)[0]).save(tmp_path / "a.jpg")
    source = kl.data.load(tmp_path, progress=False)
    asked = []

    def fetch(indices, least_pixels, parallel):
        asked.append(least_pixels)
        return indices.map(lambda _: {"image": tf.zeros((32, 32, 3), tf.uint8)})

    monkeypatch.setattr(source.images, "fetch", fetch)
    views = method(16, crop_scale=(0.2, 1.0), jit_compile=False)
    next(iter(kl.data.view_dataset(source, views, 1)))
    assert asked[-1] == round(16**2 * 4 / 3 / 0.2)  # before it, the source was asked for its form


@backend_free
def test_pictures_of_many_sizes_need_views_that_can_take_them_one_by_one(folder):
    source = kl.data.load(folder, progress=False)
    with pytest.raises(ValueError, match="`views` must have `draw` and `views_of_one`"):
        kl.data.view_dataset(source, lambda images, seed: {}, 4)
    with pytest.raises(ValueError, match="`views` must be a layer such as LeOCLRViews.*Received: views=None"):
        kl.data.view_dataset(source, None, 4)


@pytest.mark.parametrize("make", [kl.LeOCLRViews, kl.MoCoV2Views])
def test_eager_views_are_tensors_of_the_backend_and_those_of_a_dataset_are_tensorflows(make):
    layer = make(8, jit_compile=False)
    made = layer(random_images(), [0, 1])
    assert all(keras.ops.is_tensor(view) and view.shape[0] == 4 for view in made.values())
    batch = next(iter(kl.data.view_dataset(kl.data.load({"image": random_images()}), layer, 4)))
    assert all(isinstance(view, tf.Tensor) for view in batch.values())
