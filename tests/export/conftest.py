"""Backbones and a run, for all tests of what leaves the package."""

import dataclasses

import keras
import numpy as np
import pytest

import keras_leoclr as kl
from keras_leoclr.recipes import fashion_mnist, pretrain
from tests.export.raw_images import MEAN, STD


@pytest.fixture(scope="session")
def backbone():
    """A backbone of normalised images, whose BatchNorm layers are not the identity."""
    keras.utils.set_random_seed(3)
    made = kl.backbones.resnet_small((8, 8, 3), widths=(8, 16))
    norms = [layer for layer in made.layers if isinstance(layer, keras.layers.BatchNormalization)]
    for number, layer in enumerate(norms):  # not the identity
        layer.moving_mean.assign(0.1 * number * np.ones(layer.moving_mean.shape))
    return made


@pytest.fixture(scope="session")
def raw(backbone):
    """The backbone, with the normalisation within."""
    return kl.backbones.with_normalization(backbone, MEAN, STD)


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    """A finished run, small; tests that change it change it back."""
    recipe = dataclasses.replace(
        fashion_mnist.RECIPE.smoke(),
        widths=(8, 16),
        max_images=64,
        epochs=1,
        knn_every=0,
        evaluate=False,
    )
    workdir = tmp_path_factory.mktemp("run") / "small"
    pretrain(recipe, workdir, verbose=0)
    return workdir
