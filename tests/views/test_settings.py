"""Settings of the views: config, and the words of each refusal."""

import dataclasses
import json
import math
import re
import sys

import keras
import numpy as np
import pytest

from keras_leoclr.views import (
    CropToOriginalViews,
    LeOCLRViews,
    MoCoV2Views,
    Preprocessing,
    RandomView,
    keras_cv_views,
    sampling,
)
from keras_leoclr.views.settings import ViewSettings
from tests.case import random_images
from tests.views.making import LAYERS, SEED, VIEWS, assert_same_views, numpy_views

pytestmark = pytest.mark.backend_free

OPTIONS = {
    "color_jitter": (0.1, 0.2, 0.3, 0.4),
    "jitter_probability": 0.7,
    "grayscale_probability": 0.3,
    "blur_sigma": (0.5, 1.0),
    "blur_probability": 0.6,
    "flip_probability": 0.4,
    "mean": (0.1, 0.2, 0.3),
    "std": (0.4, 0.5, 0.6),
    "crop_scale": (0.3, 0.9),
    "crop_ratio": (0.5, 1.5),
}
LAYERS_WITH_OPTIONS = {
    "random view": lambda: RandomView(10, num_views=2, **OPTIONS),
    "random view of the whole image": lambda: RandomView(10, crop_scale=None),
    "leoclr": lambda: LeOCLRViews(10, num_crops=3, original_photometrics=False, name="views", **OPTIONS),
    "leoclr by default": lambda: LeOCLRViews(10),
    "moco": lambda: MoCoV2Views(10, **OPTIONS),
    "crop to original": lambda: CropToOriginalViews(10, original_photometrics=False, **OPTIONS),
    "moco by default": lambda: MoCoV2Views(10),
}


@pytest.mark.parametrize("make", LAYERS_WITH_OPTIONS.values(), ids=LAYERS_WITH_OPTIONS.keys())
def test_layers_made_from_a_config_give_the_same_views(make):
    layer = make()
    config = json.dumps(keras.saving.serialize_keras_object(layer))
    copy = keras.saving.deserialize_keras_object(json.loads(config))
    images = random_images(16)
    assert type(copy) is type(layer)
    assert json.dumps(keras.saving.serialize_keras_object(copy)) == config
    expected, views = layer(images, seed=SEED), copy(images, seed=SEED)
    if not isinstance(views, dict):
        expected, views = {"views": expected}, {"views": views}
    assert_same_views(numpy_views(views), numpy_views(expected))


@pytest.mark.parametrize("views", VIEWS)
def test_options_reach_the_views(views):
    layer = views(10, **OPTIONS)
    crop = layer.query_view if views is CropToOriginalViews else layer.key_view
    config = crop.get_config()
    assert {name: config[name] for name in OPTIONS} == OPTIONS


# === Errors ===


def words(*parts):
    """These parts, in this order."""
    return "(?s)" + ".*".join(re.escape(part) for part in parts)


BAD_IMAGES = {
    "three dimensions": (np.zeros((8, 8, 3), "uint8"), "rank 4, (B, H, W, C)", "images.shape=(8, 8, 3)"),
    "five dimensions": (
        np.zeros((1, 1, 8, 8, 3), "uint8"),
        "rank 4, (B, H, W, C)",
        "images.shape=(1, 1, 8, 8, 3)",
    ),
    "two channels": (np.zeros((1, 8, 8, 2), "uint8"), "1 or 3 channels", "images.shape=(1, 8, 8, 2)"),
    "four channels": (np.zeros((1, 8, 8, 4), "uint8"), "1 or 3 channels", "images.shape=(1, 8, 8, 4)"),
    "int32": (np.zeros((1, 8, 8, 3), "int32"), "uint8 or float, in [0, 255]", "images.dtype=int32"),
    "bool": (np.zeros((1, 8, 8, 3), "bool"), "uint8 or float, in [0, 255]", "images.dtype=bool"),
}


@pytest.mark.parametrize("images, rule, received", BAD_IMAGES.values(), ids=BAD_IMAGES.keys())
@pytest.mark.parametrize("layer", LAYERS)
def test_images_of_another_kind_are_refused(layer, images, rule, received):
    with pytest.raises(ValueError, match=words("`images` must", rule, "Received: ", received)):
        layer(8)(images, seed=SEED)


@pytest.mark.parametrize("images, rule, received", BAD_IMAGES.values(), ids=BAD_IMAGES.keys())
def test_keras_cv_views_refuse_images_of_another_kind(images, rule, received):
    with pytest.raises(ValueError, match=words("`images` must", rule, "Received: ", received)):
        keras_cv_views(8)(images)


@pytest.mark.parametrize(
    "crop_scale", [(0.0, 1.0), (-0.1, 0.5), (0.5, 1.1), (0.8, 0.2), (0.2,), (0.1, 0.2, 0.3), 0.2, "ab"]
)
@pytest.mark.parametrize("layer", [*LAYERS, keras_cv_views])
def test_crop_scale_must_be_a_range_of_shares(layer, crop_scale):
    match = words(
        "`crop_scale` must be two numbers with 0 < low <= high <= 1", f"Received: crop_scale={crop_scale}"
    )
    with pytest.raises(ValueError, match=match):
        layer(8, crop_scale=crop_scale)


@pytest.mark.parametrize("views", VIEWS)
def test_crops_need_a_crop_scale(views):
    with pytest.raises(
        ValueError, match=words("`crop_scale` must be two numbers", "Received: crop_scale=None")
    ):
        views(8, crop_scale=None)


@pytest.mark.parametrize("value", [(0.0, 1.0), (2.0, 1.0), (1.0,), (1.0, math.nan), 1.0])
@pytest.mark.parametrize("name", ["crop_ratio", "blur_sigma"])
@pytest.mark.parametrize("layer", LAYERS)
def test_ranges_must_be_two_positive_numbers(layer, name, value):
    match = words(f"`{name}` must be two numbers with 0 < low <= high.", f"Received: {name}={value}")
    with pytest.raises(ValueError, match=match):
        layer(8, **{name: value})


@pytest.mark.parametrize("value", [-0.1, 1.1, math.nan])
@pytest.mark.parametrize("name", [f"{name}_probability" for name in ("jitter", "grayscale", "blur", "flip")])
@pytest.mark.parametrize("layer", LAYERS)
def test_probabilities_must_be_between_0_and_1(layer, name, value):
    with pytest.raises(ValueError, match=words(f"`{name}` must be in [0, 1]", f"Received: {name}={value}")):
        layer(8, **{name: value})


@pytest.mark.parametrize("value", [(-0.1, 0, 0, 0), (0, 0, 0, -0.1), (0, 0, 0, 0.51), (0.4, 0.4, 0.4), 0.4])
@pytest.mark.parametrize("layer", [*LAYERS, keras_cv_views])
def test_color_jitter_must_be_four_strengths(layer, value):
    match = words(
        "`color_jitter` must be four strengths", ">= 0", "hue in [0, 0.5]", f"Received: color_jitter={value}"
    )
    with pytest.raises(ValueError, match=match):
        layer(8, color_jitter=value)


@pytest.mark.parametrize("value", [0, -1, 2.5, True, None, "8"])
@pytest.mark.parametrize("layer", LAYERS)
def test_image_size_must_be_a_positive_whole_number(layer, value):
    match = words("`image_size` must be a whole number >= 1", f"Received: image_size={value!r}")
    with pytest.raises(ValueError, match=match):
        layer(value)


@pytest.mark.parametrize("value", [0, -1, 1.5])
@pytest.mark.parametrize("layer, name", [(RandomView, "num_views"), (LeOCLRViews, "num_crops")])
def test_numbers_of_views_must_be_positive_whole_numbers(layer, name, value):
    match = words(f"`{name}` must be a whole number >= 1", f"Received: {name}={value!r}")
    with pytest.raises(ValueError, match=match):
        layer(8, **{name: value})


@pytest.mark.parametrize("value", [(0.2, 0.0, 0.2), (0.2, -0.1, 0.2)])
@pytest.mark.parametrize("layer", LAYERS)
def test_std_must_be_positive(layer, value):
    with pytest.raises(
        ValueError, match=words("`std` must be numbers > 0, one per channel", f"Received: std={value}")
    ):
        layer(8, std=value)


@pytest.mark.parametrize("value", ["0.5", 0.5, (0.5, 0.5, math.inf)])
@pytest.mark.parametrize("name", ["mean", "std"])
@pytest.mark.parametrize("layer", LAYERS)
def test_mean_and_std_must_be_three_numbers(layer, name, value):
    with pytest.raises(
        ValueError, match=words(f"`{name}` must be three numbers", f"Received: {name}={value}")
    ):
        layer(8, **{name: value})


@pytest.mark.parametrize(
    "views, name", [(LeOCLRViews, "colour_jitter"), (LeOCLRViews, "num_views"), (MoCoV2Views, "num_crops")]
)
def test_unknown_options_are_refused_by_name(views, name):
    with pytest.raises(TypeError, match=words(f"`{name}` is not an option of the views", "color_jitter")):
        views(8, **{name: 2})


def test_random_views_refuse_unknown_options():
    with pytest.raises((TypeError, ValueError), match="colour_jitter"):
        RandomView(8, colour_jitter=(0, 0, 0, 0))


# === Without a framework ===


@pytest.mark.parametrize("views", VIEWS)
def test_layers_are_made_without_what_makes_views(views, monkeypatch):
    """Neither TensorFlow nor keras-cv is needed for settings, config and draws."""
    for name in ("tensorflow_host", "views.host", "views.tensorflow_functions"):
        monkeypatch.setitem(sys.modules, f"keras_leoclr.{name}", None)
    layer = views.from_config(views(8).get_config())
    drawn = sampling.draw_pair(layer.settings, 2, [0, 1])
    assert drawn["keys"]["photometric"].shape == (2, layer.num_key_views, 9)
    assert Preprocessing.of(layer) == Preprocessing.of_recipe({}, 8)
    with pytest.raises(ImportError):
        layer.key_view  # noqa: B018


@pytest.mark.parametrize(
    "layer, query, keys",
    [
        (LeOCLRViews(8, num_crops=3), None, (0.2, 1.0)),
        (MoCoV2Views(8), (0.2, 1.0), (0.2, 1.0)),
        (CropToOriginalViews(8), (0.2, 1.0), None),
    ],
    ids=["leoclr", "moco", "crop to original"],
)
def test_settings_say_what_is_cropped(layer, query, keys):
    assert (layer.settings.query.crop_scale, layer.settings.keys.crop_scale) == (query, keys)
    assert (layer.image_size, layer.num_key_views) == (8, layer.settings.keys.num_views)


def test_settings_are_attributes_of_the_layers_that_apply_them():
    layer = LeOCLRViews(8, antialias_original=True, **OPTIONS)
    for view, settings in ((layer.query_view, layer.settings.query), (layer.key_view, layer.settings.keys)):
        assert view.settings == settings
        for name, value in dataclasses.asdict(settings).items():
            assert getattr(view, name) == value


def test_settings_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        ViewSettings(8).image_size = 9
