"""Views of each method: independence, repeatability, what is cropped."""

import itertools
import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_leoclr.views import LeOCLRViews, MoCoV2Views
from tests.case import random_images
from tests.views.making import BYTES, NO_COLOUR, NOTHING, SEED, VIEWS, assert_same_views, differ, numpy_views
from tests.views.reference import reference_normalise, reference_resize

pytestmark = pytest.mark.backend_free


@pytest.mark.parametrize("views", VIEWS)
def test_identical_images_get_different_views(views):
    images = np.repeat(random_images(1), 8, axis=0)
    for batch in numpy_views(views(12)(images, seed=SEED)).values():
        flat = batch.reshape(-1, 12 * 12 * 3)
        for a, b in itertools.combinations(flat, 2):
            assert differ(a, b)


@pytest.mark.parametrize("views", VIEWS)
def test_an_image_has_no_influence_on_the_views_of_the_others(views):
    images = random_images(8)
    changed = images.copy()
    changed[3] = 255 - changed[3]
    layer = views(12)
    before, after = numpy_views(layer(images, seed=SEED)), numpy_views(layer(changed, seed=SEED))
    others = np.arange(8) != 3
    for name in ("query", "keys"):
        np.testing.assert_allclose(after[name][others], before[name][others], atol=1e-6)
        assert differ(after[name][3], before[name][3])


@pytest.mark.parametrize("views", VIEWS)
def test_the_same_seed_gives_the_same_bits(views):
    images = random_images(16)
    assert_same_views(numpy_views(views(12)(images, seed=SEED)), numpy_views(views(12)(images, seed=SEED)))


@pytest.mark.parametrize(
    "seed", [np.array(SEED), tf.constant(SEED), tf.constant(SEED, tf.int64), tuple(SEED)]
)
def test_seeds_of_any_integer_kind_are_the_same(seed):
    images, layer = random_images(16), LeOCLRViews(12)
    assert_same_views(numpy_views(layer(images, seed=seed)), numpy_views(layer(images, seed=SEED)))


def test_views_do_not_depend_on_earlier_calls():
    images, layer = random_images(16), LeOCLRViews(12)
    expected = numpy_views(layer(images, seed=SEED))
    keras.utils.set_random_seed(7)
    layer(images, seed=[5, 6])
    assert_same_views(numpy_views(layer(images, seed=SEED)), expected)


def views_of_a_dataset(layer, images, seeds, parallel):
    dataset = tf.data.Dataset.from_tensor_slices((images, seeds))
    dataset = dataset.map(lambda batch, seed: layer(batch, seed=seed), num_parallel_calls=parallel)
    return [{name: value.numpy() for name, value in views.items()} for views in dataset]


@pytest.fixture(scope="module")
def mapped():
    """A layer, four batches of images, their seeds, and the views that a map without parallelism gives."""
    images, layer = random_images(64).reshape(4, 16, 12, 12, 3), LeOCLRViews(12)
    seeds = [[0, 0], [0, 1], [1, 0], [1, 1]]
    return layer, images, seeds, views_of_a_dataset(layer, images, seeds, 1)


def test_maps_give_the_same_bits_whatever_their_parallelism(mapped):
    layer, images, seeds, one = mapped
    four = views_of_a_dataset(layer, images, seeds, 4)
    for a, b in zip(one, four, strict=True):
        assert_same_views(a, b)


def test_maps_give_the_views_of_eager_calls(mapped):
    """To rounding: TensorFlow fuses operations in a map, which moves the last bits."""
    layer, images, seeds, mapped_views = mapped
    for step, views in enumerate(mapped_views):
        eager = numpy_views(layer(images[step], seed=seeds[step]))
        for name in eager:
            np.testing.assert_allclose(views[name], eager[name], atol=1e-4)


@pytest.mark.parametrize("other", [[0, 2], [1, 1]])
def test_another_seed_gives_other_views(other):
    images, layer = random_images(8), LeOCLRViews(12)
    before, after = numpy_views(layer(images, seed=SEED)), numpy_views(layer(images, seed=other))
    for name in ("query", "keys"):
        assert all(differ(a, b) for a, b in zip(before[name], after[name], strict=True))


def test_key_views_of_an_image_differ():
    keys = numpy_views(LeOCLRViews(12, num_crops=3)(random_images(8), seed=SEED))["keys"]
    for a, b in itertools.combinations(range(3), 2):
        assert all(differ(*pair) for pair in zip(keys[:, a], keys[:, b], strict=True))


@pytest.mark.parametrize("views", VIEWS)
def test_query_and_key_of_an_image_differ(views):
    batch = numpy_views(views(12)(random_images(8), seed=SEED))
    assert all(differ(*pair) for pair in zip(batch["query"], batch["keys"][:, 0], strict=True))


def test_query_and_key_draw_their_parameters_independently():
    """White images show the brightness of a view."""
    images = np.full((500, 4, 4, 3), 100.0, "float32")
    options = {**NOTHING, "jitter_probability": 1.0, "color_jitter": (0.4, 0, 0, 0), **BYTES}
    batch = numpy_views(LeOCLRViews(4, **options)(images, seed=SEED))
    query, first, second = (
        batch["query"][:, 0, 0, 0],
        batch["keys"][:, 0, 0, 0, 0],
        batch["keys"][:, 1, 0, 0, 0],
    )
    assert np.abs(np.corrcoef([query, first, second]) - np.eye(3)).max() < 5 / math.sqrt(500)


# === The original, the crops ===


def test_the_original_is_resized_and_never_cropped():
    images = random_images(3, 20, 14)
    query = numpy_views(LeOCLRViews(9, **NOTHING)(images, seed=SEED))["query"]
    expected = [reference_normalise(reference_resize(image, (0, 0, 20, 14), 9)) for image in images]
    np.testing.assert_allclose(query, expected, atol=2e-4)


def test_the_original_without_photometrics_is_the_preprocessed_image():
    images, layer = random_images(3, 20, 14), LeOCLRViews(9, **NOTHING)
    query = numpy_views(layer(images, seed=SEED))["query"]
    np.testing.assert_array_equal(query, layer.preprocess(images).numpy())


@pytest.mark.parametrize(
    "options", [NO_COLOUR, {"original_photometrics": False}], ids=["no colour", "original off"]
)
def test_the_original_is_the_image_or_its_mirror(options):
    images, layer = random_images(24, 20, 14), LeOCLRViews(9, **options)
    query, plain = numpy_views(layer(images, seed=SEED))["query"], layer.preprocess(images).numpy()
    same = np.array([np.allclose(a, b, atol=1e-4) for a, b in zip(query, plain, strict=True)])
    mirrored = np.array([np.allclose(a, b[:, ::-1], atol=1e-4) for a, b in zip(query, plain, strict=True)])
    assert np.all(same ^ mirrored)
    assert 4 <= same.sum() <= 20


def test_the_original_gets_photometrics_by_default():
    images, layer = random_images(8), LeOCLRViews(12, jitter_probability=1.0, flip_probability=0.0)
    query, plain = numpy_views(layer(images, seed=SEED))["query"], layer.preprocess(images).numpy()
    assert all(differ(a, b) for a, b in zip(query, plain, strict=True))


def test_crops_keep_their_photometrics_where_the_original_has_none():
    images = np.full((8, 4, 4, 3), 100.0, "float32")
    options = {"original_photometrics": False, "jitter_probability": 1.0, "flip_probability": 0.0, **BYTES}
    batch = numpy_views(LeOCLRViews(4, **options)(images, seed=SEED))
    np.testing.assert_allclose(batch["query"], 100.0, atol=1e-3)
    assert np.all(np.abs(batch["keys"] - 100.0).max(axis=(2, 3, 4)) > 0.1)


def ramps(count=40, size=24):
    """Channel 0 is the row and channel 1 the column of a pixel, so that a view shows where it comes from."""
    rows, columns = np.meshgrid(np.arange(size), np.arange(size), indexing="ij")
    image = np.stack([rows, columns, 0 * rows], axis=-1).astype("float32")
    return np.broadcast_to(image, (count, size, size, 3))


def sizes_of_crops(views):
    """Height and width of the crops of `ramps` in pixels, from the slope inside of the views."""
    views = views.reshape((-1, *views.shape[-3:]))
    inside = views.shape[1] - 4
    height = (views[:, -3, 0, 0] - views[:, 2, 0, 0]) / (inside - 1) * views.shape[1]
    width = np.abs(views[:, 0, -3, 1] - views[:, 0, 2, 1]) / (inside - 1) * views.shape[1]
    return height, width


@pytest.mark.parametrize(
    "views, name", [(LeOCLRViews, "keys"), (MoCoV2Views, "query"), (MoCoV2Views, "keys")]
)
def test_crops_vary_and_have_area_in_range(views, name):
    layer = views(24, crop_scale=(0.2, 0.6), **NO_COLOUR, **BYTES)
    height, width = sizes_of_crops(numpy_views(layer(ramps(), seed=SEED))[name])
    area = height * width / 24**2
    rounding = 0.5 * (height + width) / 24**2 + 0.01
    assert np.all(area >= 0.2 - rounding) and np.all(area <= 0.6 + rounding)
    assert area.min() < 0.3 and area.max() > 0.5
    assert len({(round(float(h)), round(float(w))) for h, w in zip(height, width, strict=True)}) > 10
