"""The preprocessing that networks begin with: taken off, and told as mean and deviation."""

import keras
import numpy as np
import pytest
from keras import layers

import keras_leoclr as kl
from keras_leoclr.backbones.own_preprocessing import preprocessing_steps
from tests.case import to_numpy

SHAPE = (8, 8, 3)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def normalization(scale=1.0):
    mean, variance = [scale * m for m in MEAN], [(scale * s) ** 2 for s in STD]
    return layers.Normalization(mean=mean, variance=variance)


def network(*first):
    images = x = keras.Input(SHAPE)
    for layer in first:
        x = layer(x)
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3, name="stem")(x))
    return keras.Model(images, x, name="network")


BEGINNINGS = {
    "rescaling": (lambda: [layers.Rescaling(1 / 127.5, -1)], 1),
    "normalization": (lambda: [normalization(255.0)], 1),
    "EfficientNet": (
        lambda: [layers.Rescaling(1 / 255), normalization(), layers.Rescaling([2.0, 2.1, 2.2])],
        3,
    ),
    "a model first": (lambda: [keras.Sequential([keras.Input(SHAPE), normalization(255.0)])], 1),
    "arithmetic": (lambda: [lambda x: x / 127.5, lambda x: x - 1.0], 2),
}


@pytest.mark.parametrize("name", [*BEGINNINGS])
def test_a_network_without_its_preprocessing_computes_the_same_of_normalised_images(name):
    first, count = BEGINNINGS[name]
    backbone = network(*first())
    assert len(preprocessing_steps(backbone)) == count
    mean, std = (np.array(part) for part in kl.backbones.normalization_of(backbone))
    plain = kl.backbones.without_normalization(backbone)
    assert preprocessing_steps(plain) == [] and plain.get_layer("stem") is backbone.get_layer("stem")
    images = np.random.default_rng(0).uniform(0, 255, (2, *SHAPE)).astype("float32")
    normalised = ((images / 255 - mean) / std).astype("float32")
    expected, found = (to_numpy(m(x)) for m, x in ((backbone, images), (plain, normalised)))
    np.testing.assert_allclose(found, expected, atol=2e-5)
    again = kl.backbones.with_normalization(plain, mean, std)
    np.testing.assert_allclose(to_numpy(again(images)), expected, atol=2e-5)
    kl.LeOCLR(plain, projection_dim=4, queue_size=8)


def test_layers_that_describe_views_or_follow_padding_stay():
    describing = layers.Normalization(mean=(0.1, 0.0, 0.0), variance=(1.1, 1.0, 1.0))
    views = network(describing)
    assert preprocessing_steps(views) == [] and kl.backbones.without_normalization(views) is views
    raw = kl.backbones.with_normalization(views, MEAN, STD)
    assert kl.backbones.normalization_of(raw) == (MEAN, STD)
    assert describing in kl.backbones.without_normalization(raw).layers
    padded = network(layers.ZeroPadding2D(1), normalization(255.0))
    assert preprocessing_steps(padded) == []
    with pytest.raises(ValueError, match="Make it without its preprocessing"):
        kl.LeOCLR(padded, queue_size=8)


def test_the_advice_on_a_network_with_two_such_layers_can_be_followed():
    backbone = network(layers.Rescaling(1 / 255), normalization())
    with pytest.raises(
        ValueError, match=r"without_normalization\(backbone\)`, and the views the mean"
    ) as error:
        kl.LeOCLR(backbone, queue_size=8)
    assert str(error.value).endswith("'network', which begins with Rescaling, Normalization")
    views = kl.LeOCLRViews(8, mean=MEAN, std=STD)
    assert kl.backbones.normalization_of(backbone)[0] == pytest.approx(views.key_view.mean)
    kl.LeOCLR(kl.backbones.without_normalization(backbone), projection_dim=4, queue_size=8)
