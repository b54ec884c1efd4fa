"""Parameters of the views: their distributions, and the bits of their draws."""

import math
import platform

import numpy as np
import pytest
import tensorflow as tf

from keras_leoclr import philox
from keras_leoclr.views import CropToOriginalViews, LeOCLRViews, MoCoV2Views, RandomView, sampling
from keras_leoclr.views.settings import ViewSettings
from keras_leoclr.views.tensorflow_functions import TensorFlowFunctions
from tests.views.making import SEED
from tests.views.reference import reference_boxes

pytestmark = pytest.mark.backend_free


def sample(count=20000, height=32, width=32, num_views=1, seed=SEED, **options):
    """Parameters of `count` views."""
    settings = ViewSettings(32, num_views=num_views, **options)
    return sampling.parameters(settings, sampling.draw(settings, count, seed), height, width)


def distance(a, b):
    """Kolmogorov-Smirnov: the largest difference of two empirical distribution functions."""
    a, b = np.sort(a), np.sort(b)
    at = np.union1d(a, b)
    return np.abs(np.searchsorted(a, at, "right") / len(a) - np.searchsorted(b, at, "right") / len(b)).max()


def assert_uniform(values, low, high):
    """In [low, high] and uniform there; such a distance has a chance of 1e-4."""
    assert values.min() >= low - 1e-6 and values.max() <= high + 1e-6
    grid = np.linspace(low, high, 10001)
    assert distance(values, grid) < 2.2 / math.sqrt(len(values)) + 1e-4


def assert_rate(hits, probability):
    """Within five standard deviations of the binomial distribution."""
    tolerance = 5 * math.sqrt(probability * (1 - probability) / len(hits))
    assert abs(hits.mean() - probability) <= tolerance


@pytest.mark.parametrize("strengths", [(0.4, 0.3, 0.2, 0.1), (0.8, 1.5, 2.0, 0.5)])
def test_jitter_factors_are_uniform(strengths):
    drawn = sample(color_jitter=strengths, jitter_probability=1.0)
    for name, strength in zip(("brightness", "contrast", "saturation"), strengths, strict=False):
        assert_uniform(drawn[name], max(0.0, 1 - strength), 1 + strength)
    assert_uniform(drawn["hue"], -strengths[3], strengths[3])


def test_sigmas_are_uniform():
    assert_uniform(sample(blur_probability=1.0, blur_sigma=(0.1, 2.0))["sigma"], 0.1, 2.0)


@pytest.mark.parametrize("probability", [0.0, 0.2, 0.5, 0.8, 1.0])
def test_events_have_their_probability(probability):
    names = ("flip_probability", "grayscale_probability", "jitter_probability", "blur_probability")
    drawn = sample(**dict.fromkeys(names, probability))
    assert_rate(drawn["flip"], probability)
    assert_rate(drawn["grayscale"], probability)
    assert_rate(drawn["brightness"] != 1.0, probability)
    assert_rate(drawn["sigma"] > 0.0, probability)


def test_the_default_probabilities_are_those_of_moco_v2():
    drawn = sample()
    assert_rate(drawn["flip"], 0.5)
    assert_rate(drawn["grayscale"], 0.2)
    assert_rate(drawn["brightness"] != 1.0, 0.8)
    assert_rate(drawn["sigma"] > 0.0, 0.5)


def test_jitter_happens_to_all_four_operations_or_to_none():
    drawn = sample(jitter_probability=0.5)
    jittered = drawn["brightness"] != 1.0
    for name, neutral in (("contrast", 1.0), ("saturation", 1.0), ("hue", 0.0)):
        np.testing.assert_array_equal(drawn[name] != neutral, jittered)


def test_parameters_are_independent_of_each_other():
    drawn = sample(jitter_probability=1.0, blur_probability=1.0, height=64, width=64)
    top, left, height, width = drawn.pop("box").T
    drawn["area"] = height * width
    drawn["ratio"] = width / height
    drawn["top"] = (top + 0.5) / (65 - height)
    drawn["left"] = (left + 0.5) / (65 - width)
    correlation = np.corrcoef(list(drawn.values()))
    assert np.abs(correlation - np.eye(len(drawn))).max() < 5 / math.sqrt(len(top))


def test_views_of_an_image_are_independent_of_each_other():
    drawn = sample(num_views=2, jitter_probability=1.0, blur_probability=1.0)
    drawn["area"] = drawn.pop("box")[:, 2:].prod(axis=1)
    for values in drawn.values():
        first, second = values[::2], values[1::2]
        assert abs(np.corrcoef(first, second)[0, 1]) < 5 / math.sqrt(len(first))


@pytest.mark.parametrize("height, width", [(32, 32), (40, 24), (7, 30)])
def test_crops_are_whole_pixels_inside_the_image(height, width):
    boxes = sample(height=height, width=width)["box"]
    np.testing.assert_array_equal(boxes, np.round(boxes))
    top, left, h, w = boxes.T
    assert min(top.min(), left.min()) == 0 and min(h.min(), w.min()) >= 1
    assert (top + h).max() == height and (left + w).max() == width


def test_crops_have_area_and_ratio_in_range():
    _, _, height, width = sample(height=200, width=240, crop_scale=(0.1, 0.4), crop_ratio=(0.5, 2.0))["box"].T
    rounding = 0.5 * (height + width) + 0.25  # half a pixel on either side
    assert np.all(height * width >= 0.1 * 200 * 240 - rounding)
    assert np.all(height * width <= 0.4 * 200 * 240 + rounding)
    assert np.all((width + 0.5) / (height - 0.5) >= 0.5)
    assert np.all((width - 0.5) / (height + 0.5) <= 2.0)


@pytest.mark.parametrize(
    "height, width, scale, ratio",
    [
        (32, 32, (0.2, 1.0), (3 / 4, 4 / 3)),
        (96, 96, (0.08, 1.0), (3 / 4, 4 / 3)),
        (40, 24, (0.2, 1.0), (3 / 4, 4 / 3)),
        (7, 30, (0.2, 1.0), (3 / 4, 4 / 3)),  # the fallback is common
        (50, 60, (0.8, 1.0), (0.1, 10.0)),  # and here it is the whole image
    ],
)
def test_crops_are_distributed_as_torchvisions(height, width, scale, ratio):
    count = 4000
    boxes = sample(20000, height, width, crop_scale=scale, crop_ratio=ratio)["box"]
    expected = reference_boxes(count, height, width, scale, ratio)
    tolerance = 2.2 * math.sqrt(1 / count + 1 / len(boxes))  # a chance of 1e-4 for each of the four
    for column in range(4):
        assert distance(boxes[:, column], expected[:, column]) < tolerance


@pytest.mark.parametrize(
    "height, width, ratio, box",
    [
        (10, 200, (1.0, 1.0), (0, 95, 10, 10)),
        (200, 11, (1.0, 1.0), (94, 0, 11, 11)),
        (10, 200, (3 / 4, 4 / 3), (0, 93, 10, 13)),
        (200, 10, (3 / 4, 4 / 3), (93, 0, 13, 10)),
        (8, 8, (0.02, 0.05), (0, 3, 8, 1)),  # one pixel at least
        (8, 8, (20.0, 50.0), (3, 0, 1, 8)),
    ],
)
def test_a_crop_that_never_fits_is_the_largest_centred_one(height, width, ratio, box):
    boxes = sample(500, height, width, crop_scale=(1.0, 1.0), crop_ratio=ratio)["box"]
    assert set(map(tuple, boxes)) == {box}
    assert set(map(tuple, reference_boxes(5, height, width, (1.0, 1.0), ratio))) == {box}


def test_without_crop_scale_the_box_is_the_whole_image():
    boxes = sample(100, 20, 30, crop_scale=None)["box"]
    assert set(map(tuple, boxes)) == {(0, 0, 20, 30)}


def test_identical_images_get_different_parameters():
    drawn = sample(64, height=224, width=224, num_views=2, jitter_probability=1.0, blur_probability=1.0)
    assert len({tuple(box) for box in drawn["box"]}) == 64
    for name in ("brightness", "contrast", "saturation", "hue", "sigma"):
        assert len(set(drawn[name])) == 64


# === The same bits by NumPy and by TensorFlow ===


SEEDS = {
    "zero": np.array([0, 0], "int32"),
    "negative": np.array([-1, 7], "int32"),
    "largest": np.array([2**31 - 1, -(2**31)], "int32"),
    "int64": np.array([3, -4], "int64"),
    "large int64": np.array([2**63 - 1, -(2**40) - 5], "int64"),
}
TRIPLES = {
    "default": {},
    "small crops": {"crop_scale": (0.02, 0.3), "crop_ratio": (0.1, 10.0), "num_views": 3},
    "strong colours": {"color_jitter": (0.8, 1.5, 2.0, 0.5), "blur_sigma": (0.3, 1.0)},
    "whole image": {"crop_scale": None},
}


@pytest.mark.parametrize("shape", [(), (1,), (7,), (64,), (3, 5), (4, 300, 10)])
@pytest.mark.parametrize("seed", SEEDS.values(), ids=SEEDS.keys())
def test_uniform_numbers_are_tensorflows(seed, shape):
    drawn = philox.uniform(shape, seed)
    assert drawn.dtype == np.float32 and 0 <= drawn.min() and drawn.max() < 1
    np.testing.assert_array_equal(drawn, tf.random.stateless_uniform(shape, seed).numpy())


@pytest.mark.parametrize("number", [1, 2, 5])
@pytest.mark.parametrize("seed", SEEDS.values(), ids=SEEDS.keys())
def test_split_seeds_are_tensorflows(seed, number):
    seeds, expected = philox.split(seed, number), tf.random.split(seed, number).numpy()
    assert seeds.dtype == expected.dtype == seed.dtype
    np.testing.assert_array_equal(seeds, expected)


@pytest.mark.parametrize("data", [np.int32(0), np.int32(-9), np.int64(2**40), np.int64(-1)])
@pytest.mark.parametrize("seed", SEEDS.values(), ids=SEEDS.keys())
def test_folded_seeds_are_tensorflows(seed, data):
    folded, expected = philox.fold_in(seed, data), tf.random.fold_in(seed, data).numpy()
    assert folded.dtype == expected.dtype
    np.testing.assert_array_equal(folded, expected)


@pytest.mark.parametrize("count", [0, 1, 2, 3, 8, 1001])
@pytest.mark.parametrize("seed", SEEDS.values(), ids=SEEDS.keys())
def test_shuffled_numbers_are_tensorflows(seed, count):
    expected = tf.random.experimental.stateless_shuffle(tf.range(count), seed).numpy()
    np.testing.assert_array_equal(philox.shuffled(count, seed), expected)


@pytest.mark.parametrize("seed", [[1, 2, 3], [0.5, 1.0], 7, ["a", "b"]])
def test_what_is_no_seed_is_refused(seed):
    with pytest.raises(ValueError, match="`seed` must be two int32 or int64 numbers. Received: seed="):
        philox.uniform((2,), seed)


@pytest.mark.parametrize("seed", [[0, 0], [12345, -6]])
@pytest.mark.parametrize("options", TRIPLES.values(), ids=TRIPLES.keys())
def test_the_layer_has_the_parameters_that_numpy_computes(options, seed):
    settings, layer = ViewSettings(32, **options), RandomView(32, **options)
    images = tf.zeros([1000, 60, 47, 3])
    tensors = layer.get_random_transformation_batch(1000, images=images, seed=tf.constant(seed))
    drawn = sampling.draw(settings, 1000 * settings.num_views, seed)
    for name, value in sampling.parameters(settings, drawn, 60, 47).items():
        assert value.dtype == tensors[name].numpy().dtype
        np.testing.assert_array_equal(value, tensors[name].numpy())


def test_the_draws_of_a_pair_are_the_layers():
    layer = LeOCLRViews(8, num_crops=3)
    drawn, tensors = sampling.draw_pair(layer.settings, 5, [1, 2]), layer.draw(5, [1, 2])
    assert {name: set(draws) for name, draws in drawn.items()} == {
        "query": {"photometric"},
        "keys": {"photometric", "box"},
    }
    for name, draws in drawn.items():
        for key, value in draws.items():
            np.testing.assert_array_equal(value, tensors[name][key].numpy())


def test_exponentials_have_tensorflows_bits_where_crops_are_drawn():
    """On x86; a processor whose TensorFlow multiplies and adds in one step rounds once less."""
    x = np.linspace(math.log(0.1), math.log(10), 200_001, dtype="float32")
    ours, theirs = sampling.NumPyFunctions.exp(x), tf.exp(x).numpy()
    np.testing.assert_allclose(ours, np.exp(x.astype("float64")), rtol=1.2e-7)
    if platform.machine() in ("x86_64", "AMD64"):
        np.testing.assert_array_equal(ours, theirs)


def test_colour_matrices_are_tensorflows_to_rounding():
    drawn = sample(500, jitter_probability=1.0, color_jitter=(0.8, 0.8, 0.8, 0.5))
    tensors = {name: tf.constant(value) for name, value in drawn.items()}
    ours, theirs = sampling.colour_matrix(drawn), sampling.colour_matrix(tensors, TensorFlowFunctions)
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, theirs.numpy(), atol=1e-6)


# === Rows of parameters ===


def test_packed_parameters_have_the_columns_that_are_documented():
    drawn = sample(count=50)
    rows = sampling.packed(drawn)
    assert rows.shape == (50, 11) and rows.dtype == np.float32
    names = [*["box"] * 4, "flip", "brightness", "contrast", "saturation", "hue", "grayscale", "sigma"]
    for column, name in enumerate(names):
        expected = drawn[name][:, column] if name == "box" else drawn[name]
        np.testing.assert_array_equal(rows[:, column], np.float32(expected))


def test_unpacked_parameters_have_the_same_bits():
    drawn = sample(count=50)
    again = sampling.unpacked(sampling.packed(drawn))
    assert set(again) == set(drawn)
    for name, value in drawn.items():
        np.testing.assert_array_equal(again[name], value)
    assert again["flip"].dtype == again["grayscale"].dtype == bool


def test_rows_of_another_length_are_no_parameters():
    with pytest.raises(ValueError, match=r"must be 11 numbers, top, left.*sigma. Received: shape \(3, 9\)"):
        sampling.unpacked(np.zeros((3, 9), "float32"))


@pytest.mark.parametrize("views", [LeOCLRViews(32, num_crops=3), MoCoV2Views(32), CropToOriginalViews(32)])
def test_packed_pairs_are_the_parameters_of_the_host_for_images_of_many_sizes(views):
    heights, widths = np.array([40, 500, 1, 333]), np.array([50, 375, 1, 33])
    draws = sampling.draw_pair(views.settings, 4, SEED)
    pair = sampling.packed_pair(views.settings, draws, heights, widths)
    in_graph = tf.function(
        lambda: sampling.packed_pair(
            views.settings, views.draw(4, tf.constant(SEED)), heights, widths, TensorFlowFunctions
        )
    )()
    assert pair["query_parameters"].shape == (4, 11)
    assert pair["key_parameters"].shape == (4, views.num_key_views, 11)
    assert pair["made_for"].shape == (4, 0, views.settings.number)
    for name in pair:
        np.testing.assert_array_equal(pair[name], in_graph[name])
    for row in range(4):
        for name, layer in (("query", views.query_view), ("key", views.key_view)):
            own = {key: value[row] for key, value in draws["query" if name == "query" else "keys"].items()}
            of_host = layer.parameters(own, heights[row], widths[row])
            ours = pair[f"{name}_parameters"][row].reshape(-1, 11)
            np.testing.assert_array_equal(ours, sampling.packed(of_host, TensorFlowFunctions))


def test_settings_have_a_number_that_compilation_does_not_change():
    number = LeOCLRViews(32).settings.number
    assert number == LeOCLRViews(32, jit_compile=False).settings.number
    others = [LeOCLRViews(33), LeOCLRViews(32, num_crops=3), LeOCLRViews(32, blur_probability=0.4)]
    assert len({number, *(views.settings.number for views in others)}) == 4
