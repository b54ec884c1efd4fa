"""Views made by keras.ops, compiled and not, against the slow reference and against the host's."""

import dataclasses
import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_leoclr.views import CropToOriginalViews, LeOCLRViews, MoCoV2Views, device, sampling
from keras_leoclr.views.settings import ViewSettings
from tests.case import random_images, to_numpy
from tests.views.making import BYTES, SEED
from tests.views.reference import reference_view

BACKEND = keras.backend.backend()


def eager(function, *arrays):
    return function(*map(keras.ops.convert_to_tensor, arrays))


def compiled(function, *arrays):
    """By XLA on TensorFlow and JAX; on torch as the one graph that torch.compile sees."""
    tensors = list(map(keras.ops.convert_to_tensor, arrays))
    if BACKEND == "tensorflow":
        return tf.function(function, jit_compile=True)(*tensors)
    if BACKEND == "jax":
        import jax

        return jax.jit(function)(*tensors)
    import torch

    # a graph without a break is what torch.compile needs; Inductor would take half a minute to compile it
    return torch.compile(function, backend="eager", fullgraph=True)(*tensors)


RUNS = {"eager": eager, "compiled": compiled}
USUAL = compiled if BACKEND == "jax" else eager  # JAX compiles each operation of its own otherwise


def made(settings, images, sizes, rows, run=USUAL):
    """Views (B, V, S, S, 3) as arrays."""
    function = functools.partial(device.views_of_rows, settings)
    return to_numpy(run(lambda *arrays: function(*arrays), images, np.int32(sizes), rows))


def drawn(settings, sizes, seed=SEED):
    """Parameters of the views of images of some sizes: as rows (B, V, P), and as a list of dictionaries."""
    heights, widths = np.repeat(np.asarray(sizes), settings.num_views, axis=0).T
    drawn = sampling.draw(settings, len(heights), seed)
    parameters = sampling.parameters(settings, drawn, heights, widths)
    single = [{name: value[row] for name, value in parameters.items()} for row in range(len(heights))]
    return sampling.packed(parameters).reshape(len(sizes), settings.num_views, -1), single


def on_canvas(images, height, width, filling=255):
    """Images of many sizes in the upper left corners of one array, and their sizes."""
    canvas = np.full((len(images), height, width, images[0].shape[2]), filling, "uint8")
    for place, image in zip(canvas, images, strict=True):
        place[: image.shape[0], : image.shape[1]] = image
    return canvas, [image.shape[:2] for image in images]


def of_many_sizes(channels=3):
    sizes = [(11, 14), (20, 9), (1, 1), (7, 20), (16, 16), (1, 13)]
    return [random_images(1, *size, channels, seed)[0] for seed, size in enumerate(sizes)]


KINDS = {
    "crops": ViewSettings(9, num_views=2),
    "small crops": ViewSettings(7, (0.05, 0.3), num_views=3),
    "always blurred": ViewSettings(8, blur_probability=1.0),
    "blurred in blocks": ViewSettings(38, num_views=2, blur_probability=1.0),
    "original": ViewSettings(9, None),
    "clean original": ViewSettings(
        9, None, jitter_probability=0, grayscale_probability=0, blur_probability=0
    ),
    "antialiased original": ViewSettings(6, None, antialias=True),
    "antialiased crops": ViewSettings(5, (0.3, 1.0), num_views=2, antialias=True),
    "one pixel": ViewSettings(1),
}


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("name", KINDS)
def test_views_of_images_of_many_sizes_are_the_references(name, run):
    slow = {"jax": "eager", "torch": "compiled"}  # JAX compiles operations one by one, torch graphs slowly
    if slow.get(BACKEND) == run and name != "crops":
        pytest.skip("ten seconds for each kind")
    settings = dataclasses.replace(KINDS[name], **BYTES)
    images = of_many_sizes()
    canvas, sizes = on_canvas(images, 20, 21)
    rows, parameters = drawn(settings, sizes)
    views = made(settings, canvas, sizes, rows, RUNS[run])
    views = views.reshape(-1, *views.shape[2:])
    owners = np.repeat(np.arange(len(images)), settings.num_views)
    for view, owner, own in zip(views, owners, parameters, strict=True):
        expected = reference_view(images[owner], settings, own)
        np.testing.assert_allclose(view, expected, atol=0.02)  # of 255


METHODS = {
    "LeOCLR": LeOCLRViews(10, num_crops=3),
    "clean original": LeOCLRViews(10, original_photometrics=False),
    "antialiased": LeOCLRViews(5, antialias_original=True, antialias_crops=True),
    "MoCo v2": MoCoV2Views(10, mean=(0.5, 0.4, 0.3), std=(1.0, 0.5, 0.25)),
    "MoCo v2, antialiased": MoCoV2Views(5, antialias_crops=True),
    "crop to original": CropToOriginalViews(10),
    "crop to original, antialiased": CropToOriginalViews(5, antialias_crops=True),
}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", METHODS)
def test_every_method_makes_the_hosts_views(name, channels):
    views, images = METHODS[name], random_images(6, 12, 15, channels)
    draws = sampling.draw_pair(views.settings, 6, SEED)
    batch = {
        "image": images,
        "size": np.int32([[12, 15]] * 6),
        **sampling.packed_pair(views.settings, draws, 12, 15),
    }
    names = [name for name in batch if name != "made_for"]

    def function(*values):
        return device.views_of_batch(views.settings, dict(zip(names, values, strict=True)))

    ours = USUAL(function, *(batch[name] for name in names))
    of_host = views.views_of_batch(tf.constant(images), tf.nest.map_structure(tf.constant, draws))
    for key, expected in of_host.items():
        assert ours[key].shape == expected.shape
        pixels = 255 * np.abs(to_numpy(ours[key]) - expected.numpy()) * np.array(views.settings.keys.std)
        assert pixels.max() < 0.02


def test_a_crop_that_is_reduced_is_what_the_host_makes_of_a_single_image():
    """One that is enlarged ends at its own border there, and takes half a pixel beyond it here."""
    views = MoCoV2Views(4, crop_scale=(0.6, 1.0), crop_ratio=(1.0, 1.0))
    image = random_images(1, 16, 16)[0]
    draws = sampling.draw_pair(views.settings, 1, SEED)
    rows = sampling.packed_pair(views.settings, draws, 16, 16)["query_parameters"][:, None]
    ours = made(views.settings.query, image[None], [(16, 16)], rows)[0, 0]
    single = tf.nest.map_structure(lambda value: tf.constant(value[0]), draws)
    np.testing.assert_allclose(ours, views.views_of_one(tf.constant(image), single)["query"], atol=1e-4)


def test_an_antialiased_crop_of_a_single_image_is_that_of_a_batch():
    views = MoCoV2Views(4, antialias_crops=True)
    image = random_images(1, 16, 16)
    draws = sampling.draw_pair(views.settings, 1, SEED)
    tensors = tf.nest.map_structure(tf.constant, draws)
    single = views.views_of_one(tf.constant(image[0]), tf.nest.map_structure(lambda rows: rows[0], tensors))
    of_batch = views.views_of_batch(tf.constant(image), tensors)
    np.testing.assert_allclose(single["query"], of_batch["query"][0], atol=1e-5)
    plain = MoCoV2Views(4).views_of_batch(tf.constant(image), tensors)
    assert np.abs(plain["query"] - of_batch["query"]).max() > 0.1


def test_pixels_outside_of_an_image_have_no_influence():
    settings = ViewSettings(8, num_views=2)
    for kind in (settings, dataclasses.replace(settings, crop_scale=None, antialias=True)):
        one, sizes = on_canvas(of_many_sizes(), 20, 21, filling=0)
        other, _ = on_canvas(of_many_sizes(), 24, 30, filling=255)
        rows, _ = drawn(kind, sizes)
        np.testing.assert_allclose(made(kind, one, sizes, rows), made(kind, other, sizes, rows), atol=1e-5)


def test_images_of_floats_are_pixels_as_well():
    settings = ViewSettings(8)
    images = random_images(3)
    rows, _ = drawn(settings, [(12, 12)] * 3)
    of_bytes, of_floats = (
        made(settings, values, [(12, 12)] * 3, rows) for values in (images, images.astype("float32"))
    )
    np.testing.assert_array_equal(of_bytes, of_floats)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_views_are_computed_in_float32_and_rounded_at_the_end(dtype):
    settings = ViewSettings(8)
    sizes = [(12, 12)] * 3
    arrays = random_images(3), np.int32(sizes), drawn(settings, sizes)[0]
    exact = USUAL(lambda *arrays: device.views_of_rows(settings, *arrays), *arrays)
    rounded = USUAL(lambda *arrays: device.views_of_rows(settings, *arrays, dtype), *arrays)
    assert keras.backend.standardize_dtype(rounded.dtype) == dtype
    precision = {"float16": 2.0**-11, "bfloat16": 2.0**-8}[dtype]
    rounded = to_numpy(keras.ops.cast(rounded, "float32"))
    np.testing.assert_allclose(rounded, to_numpy(exact), rtol=1.01 * precision, atol=1e-5)
