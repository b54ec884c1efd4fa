"""Images, options and calls that the tests of the views share."""

import numpy as np
import tensorflow as tf

from keras_leoclr.views import CropToOriginalViews, LeOCLRViews, MoCoV2Views, RandomView
from tests.case import to_numpy

SEED = [0, 1]
BYTES = {"mean": (0.0, 0.0, 0.0), "std": (1 / 255, 1 / 255, 1 / 255)}  # undoes the normalisation
NO_COLOUR = {"jitter_probability": 0.0, "grayscale_probability": 0.0, "blur_probability": 0.0}
NOTHING = {**NO_COLOUR, "flip_probability": 0.0}
VIEWS = [LeOCLRViews, MoCoV2Views, CropToOriginalViews]
LAYERS = [RandomView, *VIEWS]


def whole(images):
    return (0, 0, images.shape[1], images.shape[2])


def apply(images, size=None, num_views=1, blur=None, **parameters):
    """Views in [0, 255] of `images` with these parameters; one value is for all views.

    `blur` is the largest sigma; without it there is no blur.
    """
    count = len(images) * num_views
    neutral = {
        "box": whole(images),
        "flip": False,
        "brightness": 1.0,
        "contrast": 1.0,
        "saturation": 1.0,
        "hue": 0.0,
        "grayscale": False,
        "sigma": 0.0,
    }
    transformations = {}
    for name, value in {**neutral, **parameters}.items():
        shape = (count, 4) if name == "box" else (count,)
        dtype = bool if name in ("flip", "grayscale") else "float32"
        transformations[name] = tf.constant(np.broadcast_to(np.array(value, dtype), shape))
    blurs = {"blur_probability": 0.0} if blur is None else {"blur_sigma": (0.1, blur)}
    layer = RandomView(size or images.shape[1], num_views=num_views, **blurs, **BYTES)
    return layer.augment_images(tf.constant(images), transformations).numpy()


def grey_images(count=3, size=8, seed=0):
    """Random colours so close to grey that no operation of the tests leaves [0, 255]."""
    return np.random.default_rng(seed).uniform(95, 155, (count, size, size, 3)).astype("float32")


def smooth_images(count, size, seed=0):
    """Large soft blobs of colour."""
    coarse = np.random.default_rng(seed).uniform(0, 255, (count, 4, 4, 3)).astype("float32")
    return tf.image.resize(coarse, (size, size)).numpy()


def numpy_views(views):
    return {name: to_numpy(value) for name, value in views.items()}


def differ(a, b):
    return np.abs(a - b).max() > 1e-3


def assert_same_views(a, b):
    assert set(a) == set(b)
    for name in a:
        np.testing.assert_array_equal(a[name], b[name])
