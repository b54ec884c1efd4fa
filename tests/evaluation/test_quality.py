"""Alignment, uniformity, RankMe, corruptions: pure functions against their definitions."""

import numpy as np
import pytest
import tensorflow as tf

import keras_leoclr as kl
from keras_leoclr import evaluation
from keras_leoclr.evaluation import alignment, corruptions, feature_geometry, rankme, uniformity
from keras_leoclr.evaluation import quality as quality_module
from tests.case import random_images
from tests.evaluation.examples import VIEWS, pictures

pytestmark = pytest.mark.backend_free
SEED = (0, 1)


def unit(count, width, seed=0):
    features = np.random.default_rng(seed).standard_normal((count, width))
    return features / np.linalg.norm(features, axis=1, keepdims=True)


@pytest.mark.parametrize("alpha", [1, 2])
def test_alignment_follows_its_equation(alpha):
    x, y = unit(9, 4), unit(9, 4, seed=1)
    slow = np.mean([np.linalg.norm(a - b) ** alpha for a, b in zip(x, y, strict=True)])
    assert alignment(3 * x, 0.1 * y, alpha) == pytest.approx(slow, rel=1e-5)
    assert alignment(x, 5 * x) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("chunk", [4, 1024])
def test_uniformity_follows_its_equation(chunk, monkeypatch):
    monkeypatch.setattr(feature_geometry, "CHUNK", chunk)
    x = unit(11, 3)
    pairs = [np.exp(-2 * np.sum((x[i] - x[j]) ** 2)) for i in range(11) for j in range(i)]
    assert uniformity(7 * x) == pytest.approx(np.log(np.mean(pairs)), rel=1e-5)
    assert uniformity(np.ones((5, 3))) == pytest.approx(0, abs=1e-5)
    assert uniformity(np.zeros((5, 3))) == 0  # A network without any activity has collapsed, too.
    mixed = np.array([[0, 0], [0, 0], [3, 0]])  # distances 0, 1 and 1
    assert uniformity(mixed) == pytest.approx(np.log((1 + 2 * np.exp(-2)) / 3), rel=1e-5)


def test_rankme_counts_directions():
    basis = np.linalg.qr(np.random.default_rng(0).standard_normal((40, 8)))[0]
    assert rankme(basis) == pytest.approx(8, rel=1e-4)
    assert rankme(basis[:, :3] @ np.random.default_rng(1).standard_normal((3, 8))) < 3.01
    assert rankme(np.outer(np.ones(30), np.arange(5))) == pytest.approx(1, abs=1e-3)


# === Corruptions ===


def pixels(count=3, size=24):
    smooth = tf.image.resize(random_images(count, 6, 6), (size, size))
    return tf.cast(smooth, tf.float32)


@pytest.mark.parametrize("table", [corruptions.IMAGENET, corruptions.CIFAR])
@pytest.mark.parametrize("name", list(corruptions.IMAGENET))
def test_corruptions_grow_with_their_severity_and_stay_pictures(name, table):
    images = pixels()
    distances = []
    for strength in table[name]:
        damaged = corruptions.corrupt(images, name, strength, SEED).numpy()
        assert damaged.min() >= 0 and damaged.max() <= 255 and (damaged == damaged.round()).all()
        again = corruptions.corrupt(images, name, strength, SEED).numpy()
        np.testing.assert_array_equal(damaged, again)
        distances.append(np.abs(damaged - images).mean())
    assert distances[0] > 0.5 and distances == sorted(distances)


def test_corruptions_follow_their_definitions():
    images = pixels() / 255.0
    grey = tf.fill([2, 64, 64, 3], 0.5)
    noise = corruptions._gaussian_noise(grey, 0.08, SEED).numpy() - 0.5
    assert noise.std() == pytest.approx(0.08, rel=0.02) and abs(noise.mean()) < 2e-3
    # Poisson: the variance of n photons is n
    shot = corruptions._shot_noise(grey, 60, SEED).numpy()
    assert shot.mean() == pytest.approx(0.5, abs=2e-3) and shot.var() == pytest.approx(0.5 / 60, rel=0.05)
    mean = images.numpy().mean(axis=(1, 2), keepdims=True)
    contrast = corruptions._contrast(images, 0.3, SEED)
    np.testing.assert_allclose(contrast, (images - mean) * 0.3 + mean, atol=1e-6)
    import colorsys

    bright = corruptions._brightness(images, 0.2, SEED).numpy()
    for before, after in zip(images.numpy().reshape(-1, 3)[:50], bright.reshape(-1, 3)[:50], strict=True):
        hue, saturation, value = colorsys.rgb_to_hsv(*map(float, before))
        np.testing.assert_allclose(
            after, colorsys.hsv_to_rgb(hue, saturation, min(value + 0.2, 1)), atol=1e-4
        )


def test_blur_is_a_gaussian_filter():
    from scipy import ndimage

    images = pixels()
    blurred = corruptions._gaussian_blur(images, 1.5, SEED)
    slow = ndimage.gaussian_filter(images.numpy(), (0, 1.5, 1.5, 0), mode="nearest", truncate=4)
    np.testing.assert_allclose(blurred, slow, atol=0.05)


def test_occlusion_covers_its_area_at_another_place_of_each_image():
    images = tf.ones([8, 20, 20, 3])
    covered = corruptions.occlude(images, 0.25, SEED, (7.0, 8.0, 9.0)).numpy()
    hidden = (covered == (7.0, 8.0, 9.0)).all(-1)
    assert (hidden.sum(axis=(1, 2)) == 100).all()
    assert len({row.tobytes() for row in hidden}) > 4
    rows, columns = np.where(hidden[0])
    assert np.ptp(rows) == np.ptp(columns) == 9


def test_centre_crop_and_shrink_keep_the_middle():
    images = pixels(size=20)
    crop = corruptions.centre_crop(images, 0.25)
    np.testing.assert_allclose(crop, tf.image.resize(images[:, 5:15, 5:15], (20, 20)), atol=1e-4)
    small = corruptions.shrink(images, 0.25, (1.0, 2.0, 3.0)).numpy()
    np.testing.assert_allclose(
        small[:, 5:15, 5:15], tf.image.resize(images, (10, 10), antialias=True), atol=1e-3
    )
    np.testing.assert_allclose(small[:, 4], np.broadcast_to((1.0, 2.0, 3.0), (3, 20, 3)), atol=1e-4)


def test_strengths_depend_on_the_size():
    assert corruptions.strengths(32) == corruptions.CIFAR
    assert corruptions.strengths(224) == corruptions.IMAGENET


def test_the_rank_is_that_of_a_sample_of_all_images(monkeypatch):
    monkeypatch.setattr(quality_module, "RANKED", 12)
    test = pictures(seed=2)
    rows = np.argsort(test.labels, kind="stable")  # class after class
    images = next(iter(test.batch(len(rows))))["image"].numpy()[rows]
    by_class = kl.data.load({"image": images, "label": test.labels[rows]})
    features = np.eye(8, dtype="float32")[test.labels[rows]]
    backbone = kl.backbones.resnet_small((8, 8, 3), widths=(8,))
    known = (features, test.labels[rows])
    scores = dict(evaluation.Quality(backbone, *known, by_class, VIEWS, test_set=known, k=3).run())
    assert scores["quality/rankme"] > 2.5  # the first 12 are of one class, of rank 1
