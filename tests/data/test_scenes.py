"""Pictures with several garments, drawn from the bundled pictures of single ones."""

import hashlib

import numpy as np
import pytest

import keras_leoclr as kl
from keras_leoclr.data.readers.bundled_scenes import drawn_scenes, settings_of
from keras_leoclr.data.scenes import SceneSettings, draw_scenes, reduced
from tests.sources import as_numpy

pytestmark = pytest.mark.backend_free

# Of the first 100 pictures of a split: a change of these bits makes other data of an old name.
DIGESTS = {
    ("fashion_scenes", "train"): "3529f40df3eadd12",
    ("fashion_scenes", "test"): "0cea6ae3fae0c282",
    (
        "fashion_scenes:things=1-3,size=8-16,canvas=40,background=cloudy,colour=yes",
        "test",
    ): "5e62c3ce02edd281",
}


def garments(count=50, height=28):
    """Pictures of "garments" and their labels: squares whose brightness tells the number of the garment."""
    images = np.zeros((count, height, height), np.uint8)
    images[:, 2:-2, 2:-2] = np.arange(200 - count, 200)[:, None, None]
    return images, np.arange(count) % 10


@pytest.mark.parametrize(("name", "split"), DIGESTS)
def test_scenes_are_the_same_bits_everywhere(name, split):
    images = kl.data.load(name, f"{split}[:100]").images
    digest = hashlib.blake2b(images.pixels.tobytes() + images.labels.tobytes(), digest_size=8)
    assert digest.hexdigest() == DIGESTS[name, split]


def test_scenes_have_several_labels():
    train, test = (kl.data.load("fashion_scenes", split) for split in ("train", "test"))
    assert (train.count, test.count) == (10_000, 2_000)
    assert train.labels.shape == (10_000, 10) and train.labels.dtype == np.uint8
    assert set(np.unique(train.labels)) == {0, 1}
    assert train.class_names == kl.data.load("fashion_mnist").class_names
    assert train.labels.sum(axis=1).min() == 1 and train.labels.sum(axis=1).max() == 4
    share = train.labels.mean(axis=0)
    assert share.min() > 0.2 and share.max() < 0.35
    element = as_numpy(test.take(1))[0]
    assert element["image"].shape == (32, 32, 1) and element["image"].dtype == np.uint8
    np.testing.assert_array_equal(element["label"], test.labels[0])


def test_arguments_and_name_give_the_same_scenes():
    named = kl.data.load("fashion_scenes:things=1,size=6-8,canvas=20,background=cloudy,colour=yes", "test")
    asked = kl.data.fashion_scenes("test", 1, (6, 8), canvas=20, background="cloudy", colour=True)
    np.testing.assert_array_equal(named.images.pixels, asked.images.pixels)
    assert asked.image_shape == (20, 20, 3)
    assert settings_of("fashion_scenes:colour=no") == SceneSettings(colour=False)


def test_garments_lie_in_the_picture_and_cover_no_other():
    scenes = draw_scenes(*garments(), 200, SceneSettings(things=(1, 4), size=(8, 14)), seed=3)
    present = scenes.boxes[..., 0] >= 0
    counts = present.sum(axis=1)
    assert set(counts) == {1, 2, 3, 4}
    for number, (boxes, classes) in enumerate(zip(scenes.boxes, scenes.classes, strict=True)):
        label, image = scenes.label[number], scenes.image[number]
        covered = np.zeros((32, 32), int)
        for top, left, bottom, right in boxes[boxes[:, 0] >= 0]:
            assert 0 <= top and 0 <= left and bottom <= 32 and right <= 32
            assert bottom - top == right - left and 8 <= bottom - top <= 14
            covered[top:bottom, left:right] += 1
        assert covered.max() == 1
        assert not image[covered == 0].any()  # a plain background is black
        assert set(np.flatnonzero(label)) == set(classes[classes >= 0])


def test_scenes_with_other_numbers_of_things_have_that_many():
    for things in (1, 8):
        scenes = draw_scenes(*garments(), 60, SceneSettings(things=things, size=8))
        assert ((scenes.boxes[..., 0] >= 0).sum(axis=1) == things).all()


def test_held_out_scenes_show_other_garments():
    images, labels = garments(50)
    scenes = draw_scenes(images, labels, 200, SceneSettings(things=2, size=14))
    brightest = scenes.image.reshape(200, -1).max(axis=1)  # tells the garment
    assert brightest[:160].max() < 190 <= brightest[160:].min()


def test_test_scenes_show_test_garments():
    settings = SceneSettings(things=1, size=28, canvas=28)
    for split in ("train", "test"):
        single = {image.tobytes() for image in kl.data.load("fashion_mnist", split).images.pixels}
        shown = drawn_scenes(split, settings).image[:200]
        # a dark pixel lets the black background through, and others are as they were
        dark = np.arange(256) * np.minimum(4 * np.arange(256), 255)
        through = ((dark + 127) // 255).astype(np.uint8)
        known = {through[np.frombuffer(image, np.uint8)].tobytes() for image in single}
        assert all(image.tobytes() in known for image in shown)


@pytest.mark.parametrize("side", [4, 7, 12, 14, 28])
def test_reduced_garments_have_the_mean_of_the_area(side):
    image = np.random.default_rng(0).integers(0, 256, (1, 28, 28), dtype=np.uint8)
    fine = image[0].repeat(side, axis=0).repeat(side, axis=1).astype(int)
    expected = np.zeros((side, side), int)
    for row in range(side):
        for column in range(side):
            part = fine[28 * row : 28 * row + 28, 28 * column : 28 * column + 28]
            expected[row, column] = (part.sum() + 28 * 28 // 2) // (28 * 28)
    np.testing.assert_array_equal(reduced(image, side)[0], expected)


def test_clouds_are_dark_and_soft_and_colours_are_drawn():
    images, labels = garments()
    cloudy = draw_scenes(images, labels, 50, SceneSettings(things=1, size=8, background="cloudy")).image
    assert 100 < cloudy[:, 0].max() and cloudy.min() < 20
    grey = draw_scenes(images, labels, 50, SceneSettings(things=1, size=8, colour=False)).image
    tinted = draw_scenes(images, labels, 50, SceneSettings(things=1, size=8, colour=True)).image
    assert grey.shape[-1] == 1 and tinted.shape[-1] == 3
    assert (tinted <= grey).all() and not (tinted[..., 0] == tinted[..., 1]).all()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"things": 0}, r"`things` must be a whole number >= 1. Received: things=0"),
        ({"things": (3, 2)}, r"`things` must be low and high with low <= high. Received: things=\(3, 2\)"),
        ({"things": (1, 2, 3)}, r"`things` must be a whole number, or two, low and high"),
        ({"size": 3}, r"`size` must be a whole number >= 4. Received: size=3"),
        ({"size": 40, "things": 1}, r"`size` must be at most `canvas`. Received: size=\(40, 40\), canvas=32"),
        ({"canvas": 500}, r"`canvas` must be at most 256. Received: canvas=500"),
        ({"things": 5, "size": 12}, r"must fit into `canvas` beside each other, at most 4 here"),
        ({"background": "sea"}, r'`background` must be "plain" or "cloudy". Received'),
        ({"colour": "yes"}, r"`colour` must be True or False. Received: colour='yes'"),
    ],
)
def test_wrong_settings_are_refused(settings, words):
    with pytest.raises(ValueError, match=words):
        kl.data.fashion_scenes("train", **settings)


def test_things_that_find_no_places_are_told():
    with pytest.raises(ValueError, match=r"must leave more of `canvas` free: no places were found for those"):
        draw_scenes(*garments(), 5, SceneSettings(things=16, size=8))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "fashion_scenes:",
            r"must be followed by settings such as `things=2-4,size=12`, once each of things,",
        ),
        ("fashion_scenes:thing=2", r"once each of things, size, canvas, background, colour. Received"),
        ("fashion_scenes:things=2,things=3", r"once each of"),
        ("fashion_scenes:things=2.5", r"`things` of `fashion_scenes` must be a number or two, such as 2-4"),
        ("fashion_scenes:canvas=32-40", r"must be a number. Received: canvas=32-40 in"),
        ("fashion_scenes:colour=true", r"must be yes or no. Received: colour=true in"),
        ("fashion_scenes:background=sea", r'`background` must be "plain" or "cloudy"'),
    ],
)
def test_wrong_settings_in_a_name_are_refused(name, words):
    with pytest.raises(ValueError, match=words):
        kl.data.load(name)


def test_other_splits_are_refused():
    with pytest.raises(ValueError, match='"fashion_scenes" must be "train" or "test", or a slice'):
        kl.data.load("fashion_scenes", "validation")
