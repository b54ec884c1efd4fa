"""Images and features whose classes can be told apart, for the tests of evaluators."""

import numpy as np

import keras_leoclr as kl

VIEWS = kl.LeOCLRViews(8, jit_compile=False)


def pictures(per_class=12, classes=3, seed=0, noise=60):
    """A source of noisy images whose colour tells their class."""
    rng = np.random.default_rng(seed)
    labels = np.tile(np.arange(classes), per_class)
    colours = np.array([(200, 60, 60), (60, 200, 60), (60, 60, 200), (200, 200, 60)])[labels]
    images = np.clip(colours[:, None, None] + rng.normal(0, noise, (len(labels), 10, 10, 3)), 0, 255)
    return kl.data.load({"image": images.astype("uint8"), "label": labels})


def blobs(per_class=40, classes=4, width=6, spread=1.0, seed=0):
    """Features around one random centre per class, and their labels."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).standard_normal((classes, width)) * 1.5
    labels = np.repeat(np.arange(classes), per_class)
    features = centres[labels] + spread * rng.standard_normal((len(labels), width))
    return features.astype("float32"), labels


def overlapping(count=200, classes=5, width=8, noise=1.0, seed=0):
    """Features that are sums of the directions of an image's classes, and labels (N, C) of several."""
    rng = np.random.default_rng(seed)
    labels = (rng.random((count, classes)) < 0.35).astype("uint8")
    directions = np.random.default_rng(99).standard_normal((classes, width)) * 1.5
    features = labels @ directions + noise * rng.standard_normal((count, width))
    return features.astype("float32"), labels


def several_things(count=48, classes=3, seed=0):
    """A source of pictures with up to three coloured squares, one colour for each class; multi-hot labels."""
    rng = np.random.default_rng(seed)
    labels = (rng.random((count, classes)) < 0.5).astype("uint8")
    images = rng.integers(0, 60, (count, 12, 12, 3))
    for column in range(classes):
        images[:, 4 * column : 4 * column + 4, 2:8, column] += 180 * labels[:, column, None, None]
    return kl.data.load({"image": images.astype("uint8"), "label": labels})
