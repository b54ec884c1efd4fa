"""Resizing and normalisation of evaluation against the views' own, to the bit, and against NumPy."""

import dataclasses
import types

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import keras_leoclr as kl
from keras_leoclr.evaluation.batches import clean_view, labelled_batches
from keras_leoclr.training.build import make_views
from keras_leoclr.training.recipe import Recipe
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
    assert Preprocessing.of(views(10, **own)) == Preprocessing.of_recipe({}, 10, **own)


@pytest.mark.parametrize("method", ["leoclr", "moco_v2", "crop_to_original"])
@pytest.mark.parametrize("antialias", [False, True])
def test_preprocessing_of_a_recipe_is_that_of_its_views(method, antialias):
    crops = {"image_size": 10, "crop_scale": (0.1, 0.5)}
    recipe = Recipe(method=method, dataset="fashion_mnist", antialias_original=antialias, **crops)
    made = Preprocessing.of_recipe(dataclasses.asdict(recipe), 10, recipe.mean, recipe.std)
    assert (made.antialias, made.least_pixels) == (antialias, round(100 * 4 / 3 / 0.1))
    of_views = Preprocessing.of(make_views(recipe))
    # MoCo v2 has no original. The setting counts all the same, as for the other methods of a study.
    assert dataclasses.replace(of_views, antialias=antialias) == made
    assert of_views.antialias == (antialias and method != "moco_v2")


PICTURES = {  # height, width and whether the file is decoded at a fraction of its size
    "array": (40, 60, False),
    "large JPEG": (180, 240, True),
    "turned JPEG": (240, 180, True),
    "small JPEG": (50, 70, False),
}


@pytest.mark.parametrize("antialias", [False, True], ids=["", "antialiased"])
@pytest.mark.parametrize("kind", PICTURES)
def test_evaluation_reads_the_original_that_training_reads(kind, antialias, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    height, width, large = PICTURES[kind]
    images = random_images(2, height, width)
    if kind == "array":
        source = kl.data.load({"image": images, "label": np.arange(2)})
    else:
        for number, pixels in enumerate(images):
            (tmp_path / "a" / str(number)).mkdir(parents=True)
            options = {"exif": oriented_exif()} if kind == "turned JPEG" else {}
            Image.fromarray(pixels).save(tmp_path / "a" / str(number) / "a.jpg", **options)
        source = kl.data.load(tmp_path / "a")
    views = kl.LeOCLRViews(16, flip_probability=0.0, antialias_original=antialias, jit_compile=False, **CLEAN)
    query = next(iter(kl.data.view_dataset(source, views, 2, shuffle_buffer=1)))["query"].numpy()
    whole = np.concatenate([views.preprocess(element["image"][None]) for element in source])
    assert (np.abs(whole - query).max() > 0.01) == large  # at its full size, a large JPEG is another picture
    for judged in (views, Preprocessing.of(views)):
        ((found, _),) = kl.data.image_batches(source, judged)
        np.testing.assert_allclose(found, query, atol=1e-6)
        # Evaluators take whole images, or crops: one of all the area is the whole image.
        ((found, _),) = labelled_batches(source, clean_view(judged))
        np.testing.assert_allclose(found, query, atol=1e-6)
    small = clean_view(views, (0.01, 0.01)).least_pixels
    assert small == round(16**2 * 4 / 3 / 0.01) and clean_view(views, (1.0, 1.0)).least_pixels == 1707


def oriented_exif():
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


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
        ({"least_pixels": 0}, "`least_pixels` must be a whole number >= 1. Received: least_pixels=0"),
    ],
)
def test_numbers_are_checked(options, message):
    with pytest.raises(ValueError, match=message):
        Preprocessing(**{"image_size": 8, **options})


def test_images_that_cannot_be_normalised_are_refused():
    with pytest.raises(ValueError, match="`images` must have 1 or 3 channels, last"):
        Preprocessing(8).normalise(np.zeros((2, 8, 8, 4), "uint8"))
    for kind in ("uint16", "int64", "bool"):
        words = rf"`images` must be uint8 or float, in \[0, 255\]. Received: images.dtype={kind}"
        for convert in (Preprocessing(8).normalise, Preprocessing(8).preprocess):
            with pytest.raises(ValueError, match=words):
                convert(np.ones((2, 8, 8, 3), kind))


def test_preprocessing_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Preprocessing(8).image_size = 9
