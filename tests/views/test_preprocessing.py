"""Resizing and normalisation of evaluation against the views' own, to the bit, and against NumPy."""

import dataclasses
import types

import numpy as np
import pytest
import tensorflow as tf

import keras_leoclr as kl
from keras_leoclr.views.preprocessing import Preprocessing
from keras_leoclr.views.settings import CLEAN
from tests.case import random_images

pytestmark = pytest.mark.backend_free

STATISTICS = {
    "imagenet": {},
    "raw": {"mean": (0.0, 0.0, 0.0), "std": (1 / 255, 1 / 255, 1 / 255)},
    "own": {"mean": (0.1, 0.2, 0.3), "std": (0.9, 0.8, 0.7)},
}


def image_sets():
    """Images that are enlarged and reduced, grey and coloured, bytes and floats beyond [0, 255]."""
    wide = random_images(3, 17, 29)
    beyond = wide.astype("float32") + np.random.default_rng(0).uniform(-2, 2, wide.shape).astype("float32")
    return {"bytes": wide, "grey": random_images(3, 12, 12, 1), "floats": beyond}


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "graph"])
@pytest.mark.parametrize("statistics", STATISTICS.values(), ids=STATISTICS.keys())
def test_numbers_are_those_of_a_view_without_anything_random(statistics, compiled):
    for images in image_sets().values():
        view = kl.RandomView(12, crop_scale=None, flip_probability=0.0, **CLEAN, **statistics)

        def expected(images, view=view):
            return view(images, tf.zeros([2], tf.int32))[:, 0]

        preprocess = Preprocessing(12, **statistics).preprocess
        if compiled:
            expected, preprocess = tf.function(expected), tf.function(preprocess)
        np.testing.assert_array_equal(preprocess(images).numpy(), expected(images).numpy())


def test_images_of_many_sizes_are_preprocessed_one_by_one_in_tf_data():
    images = [random_images(1, 9, 14), random_images(1, 20, 11)]
    spec = tf.TensorSpec((1, None, None, 3), tf.uint8)
    dataset = tf.data.Dataset.from_generator(lambda: iter(images), output_signature=spec)
    preprocessing = Preprocessing(8)
    for made, image in zip(dataset.map(preprocessing.preprocess), images, strict=True):
        np.testing.assert_allclose(made.numpy(), preprocessing.preprocess(image).numpy(), atol=1e-6)


def test_images_are_normalised_by_numpy_as_by_tensorflow():
    for images in image_sets().values():
        side = min(images.shape[1:3])
        images = images[:, :side, :side]
        preprocessing = Preprocessing(side)
        normalised = preprocessing.normalise(images)
        assert normalised.dtype == np.float32
        np.testing.assert_array_equal(normalised, preprocessing.preprocess(images).numpy())


@pytest.mark.parametrize("views", [kl.LeOCLRViews, kl.MoCoV2Views, kl.CropToOriginalViews])
def test_preprocessing_is_that_of_the_views(views):
    own = STATISTICS["own"]
    assert Preprocessing.of(views(10, **own)) == Preprocessing(10, **own)


def test_preprocessing_is_taken_as_it_is_and_from_views_of_ones_own():
    preprocessing = Preprocessing(10)
    key_view = types.SimpleNamespace(mean=preprocessing.mean, std=preprocessing.std)
    assert Preprocessing.of(preprocessing) is preprocessing
    assert Preprocessing.of(types.SimpleNamespace(image_size=10, key_view=key_view)) == preprocessing


def test_what_tells_no_size_is_refused():
    with pytest.raises(TypeError, match="`views` must be a Preprocessing or a layer with `image_size`"):
        Preprocessing.of(len)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"image_size": 0}, "`image_size` must be a whole number >= 1. Received: image_size=0"),
        ({"mean": (0.5, 0.5)}, "`mean` and `std` must have one number per channel, as many in both"),
        ({"std": (0.2, 0.0, 0.2)}, "`std` must be numbers > 0, one per channel"),
    ],
)
def test_numbers_are_checked(options, message):
    with pytest.raises(ValueError, match=message):
        Preprocessing(**{"image_size": 8, **options})


def test_images_that_cannot_be_normalised_are_refused():
    with pytest.raises(ValueError, match="`images` must have 1 or 3 channels, last"):
        Preprocessing(8).normalise(np.zeros((2, 8, 8, 4), "uint8"))


def test_preprocessing_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Preprocessing(8).image_size = 9
