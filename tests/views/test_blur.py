"""Blur and normalisation against the reference."""

import numpy as np
import pytest

from keras_leoclr.views import IMAGENET_MEAN, IMAGENET_STD, RandomView
from tests.case import random_images, to_numpy
from tests.views.making import NO_COLOUR, NOTHING, SEED, apply
from tests.views.reference import reference_blur, reference_normalise

pytestmark = pytest.mark.backend_free


@pytest.mark.parametrize("size, largest", [(16, 2.0), (16, 1.1), (4, 2.0), (2, 2.0)])
def test_blur_is_a_separable_gaussian_with_a_sigma_per_image(size, largest):
    images = random_images(4, size, size)
    sigmas = [0.1, 0.7, 0.0, largest]
    expected = [
        reference_blur(image.astype("float64"), sigma, largest) if sigma else image
        for image, sigma in zip(images, sigmas, strict=True)
    ]
    np.testing.assert_allclose(apply(images, blur=largest, sigma=sigmas), expected, atol=1e-2)


@pytest.mark.parametrize("largest, radius", [(2.0, 6), (1.1, 4), (0.3, 1)])
def test_blur_reaches_three_times_the_largest_sigma(largest, radius):
    image = np.zeros((1, 21, 21, 3), "float32")
    image[:, 10, 10] = 255.0
    view = apply(image, blur=largest, sigma=largest)[0, ..., 0]
    rows = np.flatnonzero(view.max(axis=1) > 1e-4)
    columns = np.flatnonzero(view.max(axis=0) > 1e-4)
    assert list(rows) == list(columns) == list(range(10 - radius, 11 + radius))


def test_views_with_sigma_zero_are_not_touched():
    images = random_images()
    views = apply(images, blur=2.0, sigma=[0.0, 1.0, 0.0, 0.5])
    np.testing.assert_array_equal(views[[0, 2]], apply(images)[[0, 2]])


def test_a_batch_in_which_no_view_is_blurred_is_not_touched():
    images = random_images()
    np.testing.assert_array_equal(apply(images, blur=2.0, sigma=0.0), apply(images))


@pytest.mark.parametrize("seed", range(6))
def test_batches_of_one_image_have_views_whether_blurred_or_not(seed):
    view = RandomView(8, **{**NO_COLOUR, "blur_probability": 0.5})(random_images(1), seed=[0, seed])
    assert np.isfinite(view.numpy()).all()


def test_blur_comes_after_the_colour():
    image = random_images(1)
    expected = reference_blur(np.clip(image[0] * 1.4, 0, 255), 1.0, 2.0)
    np.testing.assert_allclose(apply(image, brightness=1.4, blur=2.0, sigma=1.0)[0], expected, atol=1e-2)


# === Normalisation and identity ===


@pytest.mark.parametrize("mean, std", [(IMAGENET_MEAN, IMAGENET_STD), ((0.5, 0.4, 0.3), (1.0, 0.5, 0.25))])
def test_views_are_normalised(mean, std):
    images = random_images()
    view = RandomView(12, crop_scale=None, mean=mean, std=std, **NOTHING)(images, seed=SEED)
    np.testing.assert_allclose(to_numpy(view)[:, 0], reference_normalise(images, mean, std), atol=1e-4)


def test_the_default_normalisation_is_imagenets():
    view = RandomView(1, crop_scale=None, **NOTHING)(np.full((1, 1, 1, 3), 255.0), seed=SEED)
    expected = [(1 - 0.485) / 0.229, (1 - 0.456) / 0.224, (1 - 0.406) / 0.225]
    np.testing.assert_allclose(to_numpy(view).ravel(), expected, rtol=1e-5)


def test_views_without_strength_are_only_normalised():
    images = random_images(8)
    options = {
        "color_jitter": (0, 0, 0, 0),
        "grayscale_probability": 0,
        "blur_probability": 0,
        "flip_probability": 0,
    }
    view = RandomView(12, crop_scale=None, jitter_probability=1.0, **options)(images, seed=SEED)
    np.testing.assert_allclose(to_numpy(view)[:, 0], reference_normalise(images), atol=1e-4)
