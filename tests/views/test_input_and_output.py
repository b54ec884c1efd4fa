"""Images that the views take, and the tensors that they give."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_leoclr.views import CropToOriginalViews, LeOCLRViews, MoCoV2Views, RandomView
from tests.case import random_images, to_numpy
from tests.views.making import BYTES, SEED, VIEWS, assert_same_views, numpy_views
from tests.views.reference import reference_normalise, reference_resize

pytestmark = pytest.mark.backend_free


@pytest.mark.parametrize("views", VIEWS)
def test_one_channel_becomes_three_equal_ones(views):
    layer = views(12, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
    for batch in numpy_views(layer(random_images(8, channels=1), seed=SEED)).values():
        np.testing.assert_array_equal(batch, np.repeat(batch[..., :1], 3, axis=-1))


@pytest.mark.parametrize("views", VIEWS)
def test_one_channel_gives_the_views_of_the_image_repeated_to_three(views):
    images, layer = random_images(8, channels=1), views(12)
    one = numpy_views(layer(images, seed=SEED))
    three = numpy_views(layer(np.repeat(images, 3, axis=-1), seed=SEED))
    for name in one:
        np.testing.assert_allclose(one[name], three[name], atol=1e-4)


@pytest.mark.parametrize("views", VIEWS)
def test_grey_images_stay_grey(views):
    layer = views(12, jitter_probability=1.0, **BYTES)
    images = np.repeat(random_images(8, channels=1), 3, axis=-1)
    for batch in numpy_views(layer(images, seed=SEED)).values():
        np.testing.assert_allclose(batch, np.repeat(batch[..., :1], 3, axis=-1), atol=2e-3)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_float_images_give_the_views_of_uint8_ones(dtype):
    images, layer = random_images(8), LeOCLRViews(12)
    expected = numpy_views(layer(images, seed=SEED))
    assert_same_views(numpy_views(layer(images.astype(dtype), seed=SEED)), expected)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("num_crops", [1, 2, 3])
def test_leoclr_views_are_one_original_and_some_crops(num_crops, channels):
    layer = LeOCLRViews(10, num_crops=num_crops)
    batch = layer(random_images(8, 20, 14, channels), seed=SEED)
    assert {name: tuple(value.shape) for name, value in batch.items()} == {
        "query": (8, 10, 10, 3),
        "keys": (8, num_crops, 10, 10, 3),
    }
    assert layer.num_key_views == num_crops


def test_moco_views_are_two_crops():
    layer = MoCoV2Views(10)
    batch = layer(random_images(8, 20, 14), seed=SEED)
    assert tuple(batch["query"].shape) == (8, 10, 10, 3)
    assert tuple(batch["keys"].shape) == (8, 1, 10, 10, 3)
    assert layer.num_key_views == 1


def test_crop_to_original_has_a_crop_as_query_and_the_whole_image_as_key():
    still = {
        "jitter_probability": 0,
        "grayscale_probability": 0,
        "blur_probability": 0,
        "flip_probability": 0,
    }
    layer, images = CropToOriginalViews(10, crop_scale=(0.1, 0.3), **still), random_images(8, 20, 14)
    batch = numpy_views(layer(images, seed=SEED))
    assert batch["query"].shape == (8, 10, 10, 3) and layer.num_key_views == 1
    whole = layer.preprocess(images).numpy()
    np.testing.assert_allclose(batch["keys"][:, 0], whole, atol=1e-5)
    boxes = layer.boxes_of_one(
        images[0], {k: {n: v[0] for n, v in d.items()} for k, d in layer.draw(8, SEED).items()}
    )
    assert np.prod(boxes["query"][2:]) <= 0.35 * 20 * 14
    assert boxes["keys"].numpy().tolist() == [[0, 0, 20, 14]]


def test_crop_to_original_may_keep_the_original_clean():
    layer, images = CropToOriginalViews(10, original_photometrics=False, flip_probability=0), random_images(4)
    keys = numpy_views(layer(images, seed=SEED))["keys"]
    np.testing.assert_allclose(keys[:, 0], layer.preprocess(images).numpy(), atol=1e-5)


def test_random_views_are_the_views_of_each_image_in_turn():
    layer = RandomView(10, num_views=3)
    view = layer(random_images(8, 20, 14), seed=SEED)
    assert tuple(view.shape) == layer.compute_output_shape((8, 20, 14, 3)) == (8, 3, 10, 10, 3)


@pytest.mark.parametrize("layer", [LeOCLRViews(10, num_crops=3), MoCoV2Views(10)], ids=["leoclr", "moco"])
def test_output_shapes_are_known_beforehand(layer):
    batch = layer(random_images(8, 20, 14), seed=SEED)
    assert layer.compute_output_shape((8, 20, 14, 3)) == {k: tuple(v.shape) for k, v in batch.items()}


@pytest.mark.parametrize("views", VIEWS)
def test_eager_views_are_float32_tensors_of_the_backend(views):
    for batch in views(12)(random_images(8), seed=SEED).values():
        assert keras.ops.is_tensor(batch)
        assert keras.backend.standardize_dtype(batch.dtype) == "float32"
        np.testing.assert_allclose(to_numpy(keras.ops.add(batch, batch)), 2 * to_numpy(batch))


@pytest.mark.parametrize("views", VIEWS)
def test_views_in_a_dataset_are_float32_tensors_of_tensorflow(views):
    layer = views(12, jit_compile=views is LeOCLRViews)  # compiling takes seconds
    dataset = tf.data.Dataset.from_tensor_slices(random_images(16)).batch(8)
    dataset = dataset.map(lambda images: layer(images, seed=SEED))
    size, key_views = 12, layer.num_key_views
    assert dataset.element_spec["query"].shape[1:] == (size, size, 3)
    assert dataset.element_spec["keys"].shape[1:] == (key_views, size, size, 3)
    assert {spec.dtype for spec in dataset.element_spec.values()} == {tf.float32}
    assert [tuple(batch["keys"].shape) for batch in dataset] == [(8, key_views, size, size, 3)] * 2


def test_views_use_no_generator_with_a_state(monkeypatch):
    """keras-cv's layers ask for one, which TensorFlow refuses where it is asked for determinism."""
    monkeypatch.setattr(tf.random, "get_global_generator", None)
    monkeypatch.setattr(tf.random, "Generator", None)
    views = numpy_views(LeOCLRViews(12)(random_images(2), seed=SEED))
    assert views["keys"].shape == (2, 2, 12, 12, 3)


def test_views_are_made_of_images_whose_size_is_not_known_beforehand():
    layer, images = LeOCLRViews(9), random_images(16, 20, 14)
    signature = [tf.TensorSpec([None, None, None, 3], tf.uint8), tf.TensorSpec([2], tf.int32)]
    views = tf.function(layer.call, input_signature=signature)(images, SEED)
    expected = numpy_views(layer(images, seed=SEED))
    for name in expected:
        np.testing.assert_allclose(views[name].numpy(), expected[name], atol=1e-4)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("views", VIEWS)
def test_preprocess_resizes_and_normalises(views, channels):
    images = random_images(3, 20, 14, channels)
    resized = [reference_resize(image, (0, 0, 20, 14), 9) for image in images]
    expected = reference_normalise(np.broadcast_to(resized, (3, 9, 9, 3)))
    np.testing.assert_allclose(views(9).preprocess(images).numpy(), expected, atol=2e-4)


def test_preprocess_uses_the_statistics_of_the_views():
    mean, std = (0.1, 0.2, 0.3), (0.9, 0.8, 0.7)
    images = random_images()
    output = LeOCLRViews(12, mean=mean, std=std).preprocess(images).numpy()
    np.testing.assert_allclose(output, reference_normalise(images, mean, std), atol=1e-4)
